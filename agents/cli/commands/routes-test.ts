/** `sluice routes test FILE`: checks a routes file, and says where a frame would go, without a coordinator. */

import { Command, InvalidArgumentError, Option } from 'commander'
import { SLOTS } from '../../../proto/hash.js'
import { type Pool, type RoutingTable, UNOWNED } from '../../../proto/table.js'
import { CliError, ExitCode } from '../cli-error.js'
import { renderExplanation } from '../explanation.js'
import { outputWidth, print } from '../print.js'
import { readRoutesText } from '../routes-source.js'

interface TestFlags {
  readonly device?: string
  readonly topic: string
  readonly type: 'data' | 'publish'
  readonly protocol: string
  readonly region: string
  readonly gateway: string
  readonly header: Readonly<Record<string, string>>
  readonly json: boolean
}

export function routesTestCommand(): Command {
  return new Command('test')
    .description('check a routes file, and where the frames of a device would go by it, without a coordinator')
    .argument('<file>', 'routes file')
    .option('--device <id>', 'device id; the file is only checked unless given')
    .option('--topic <topic>', 'topic of the frame', '')
    .addOption(new Option('--type <type>', 'kind of frame').choices(['data', 'publish']).default('data'))
    .addOption(
      new Option('--protocol <name>', 'protocol of the device').choices(['websocket', 'mqtt']).default('websocket'),
    )
    .option('--region <name>', 'region of its gateway', 'local')
    .option('--gateway <id>', 'its gateway', '')
    .option('--header <name=value>', 'a header of the session; may be given more than once', header, {})
    .option('--json', 'print JSON', false)
    .action(test)
}

async function test(file: string, flags: TestFlags): Promise<void> {
  const { readRoutesFile, formatProblem } = await import('../../coordinator/routes-file.js')
  const text = await readRoutesText(file)
  const { spec, errors, warnings } = readRoutesFile(text)
  if (spec === undefined) {
    if (flags.json) process.stdout.write(`${JSON.stringify({ errors, warnings })}\n`)
    const lines = errors.map((problem) => formatProblem(problem, file))
    throw new CliError(lines.join('\n'), { exitCode: ExitCode.REFUSED })
  }
  for (const warning of warnings) process.stderr.write(`warning: ${formatProblem(warning, file)}\n`)
  if (flags.device === undefined) {
    const { pools, routes } = spec
    print(flags.json, { errors, warnings }, () => `${file} holds: ${routes.length} routes, ${pools.length} pools.`)
    return
  }
  const { explainRoute } = await import('../../../gateway/route/explain.js')
  const { device, protocol, region, gateway } = flags
  const attributes = { device, protocol, region, gateway, headers: flags.header }
  const explanation = explainRoute(tableOf(spec), attributes, flags.type, flags.topic)
  print(flags.json, explanation as unknown as Record<string, unknown>, (value) =>
    renderExplanation(value, outputWidth()),
  )
}

interface Spec {
  readonly routes: RoutingTable['routes']
  readonly pools: readonly Omit<Pool, 'members' | 'slots'>[]
}

/** The table that these routes lead to before any worker is there. */
function tableOf({ pools, routes }: Spec): RoutingTable {
  const entries = pools.map((pool) => {
    const slots = new Uint16Array(pool.policy === 'consistent_hash' ? SLOTS : 0).fill(UNOWNED)
    return [pool.name, { ...pool, members: [], slots }] as const
  })
  return { version: 0, routes, pools: new Map(entries), workers: new Map(), gateways: new Map() }
}

function header(text: string, given: Record<string, string>): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('Write it as NAME=VALUE.')
  return { ...given, [text.slice(0, at).toLowerCase()]: text.slice(at + 1) }
}
