/** `sluice routes apply` and `rollback`, and `sluice rollout`: routes on their way, gateway by gateway. */

import { Command } from 'commander'
import { type AdminClient, type AdminOptions, createAdminClient } from '../admin-client.js'
import { CliError, ExitCode } from '../cli-error.js'
import { integer, withAdminFlags } from '../flags.js'
import { print } from '../print.js'
import { renderOutcome } from '../propagation.js'
import { followRollout, followTable, type RolloutState, type Say } from '../routes-progress.js'
import { readRoutesText } from '../routes-source.js'
import { type PlanError, renderProblem, renderRollout } from '../routes-view.js'
import { printable } from '../table-view.js'

interface Flags extends AdminOptions {
  readonly json: boolean
  readonly message?: string
  readonly timeout: number
}

interface ApplyFlags extends Flags {
  readonly stages?: string
  readonly bake?: string
}

interface Applied {
  readonly version: number
  /** The routes were in force already. */
  readonly unchanged?: boolean
  readonly rollout?: RolloutState
  readonly warnings?: readonly PlanError[]
}

/** How long the coordinator may take for the change itself, in milliseconds. */
const CHANGE_LIMIT_MS = 30_000

export function applyCommand(): Command {
  const command = new Command('apply')
    .description('make a routes file the one that applies, and wait until every gateway serves it')
    .argument('<file>', 'routes file')
    .option('-m, --message <why>', 'why, for the history')
    .option('--stages <list>', 'gateways that get it first, as numbers or shares: 1,10%,100%')
    .option('--bake <time>', 'how long each stage is watched, such as 30s or 5m; 30s unless given')
  return withWaitFlags(command).action(apply)
}

export function rollbackCommand(): Command {
  const command = new Command('rollback')
    .description('go back to the routes of an earlier version')
    .argument('<version>', 'version, as `sluice routes history` lists it', integer(1, Number.MAX_SAFE_INTEGER))
    .option('-m, --message <why>', 'why, for the history')
  return withWaitFlags(command).action(async (version: number, flags: Flags) => {
    const client = createAdminClient({ timeoutMs: CHANGE_LIMIT_MS, ...flags })
    const body = { version, ...(flags.message === undefined ? {} : { message: flags.message }) }
    const answer = (await client.send('POST', '/v1/routes/rollback', body)) as Applied
    const told = answer.unchanged === true ? 'apply already: nothing changes. It is' : 'apply again, as'
    if (!flags.json) print(false, answer, () => `The routes of ${version} ${told} table ${answer.version}.`)
    await untilServed(client, answer, flags)
  })
}

/** `sluice rollout status|follow|abort`. */
export function rolloutCommand(): Command {
  const look = (client: AdminClient) => client.get('/v1/rollout') as Promise<{ rollout: RolloutState | null }>
  const status = new Command('status').description('the rollout that runs, or the last one')
  const follow = new Command('follow').description('show a running rollout until it ends')
  const abort = new Command('abort').description('withdraw the running rollout: every gateway goes back')
  return new Command('rollout')
    .description('routes that are applied in stages: see, follow, abort')
    .addCommand(
      withAdminFlags(status).action(async (flags: Flags) =>
        print(flags.json, await look(createAdminClient(flags)), ({ rollout }) => renderRollout(rollout)),
      ),
    )
    .addCommand(
      withWaitFlags(follow).action(async (flags: Flags) => {
        const client = createAdminClient(flags)
        const { rollout } = await look(client)
        if (rollout?.state === 'running') await untilServed(client, { version: rollout.version, rollout }, flags)
        else print(flags.json, { rollout }, () => renderRollout(rollout))
      }),
    )
    .addCommand(
      withAdminFlags(abort).action(async (flags: Flags) => {
        const answer = (await createAdminClient(flags).send('POST', '/v1/rollout/abort')) as { rollout: RolloutState }
        print(flags.json, answer, ({ rollout }) => renderRollout(rollout))
      }),
    )
}

function withWaitFlags(command: Command): Command {
  const limit = integer(0, 86_400)
  return withAdminFlags(command).option('--timeout <seconds>', 'how long gateways may take to serve it', limit, 10)
}

async function apply(file: string, flags: ApplyFlags): Promise<void> {
  if (flags.bake !== undefined && flags.stages === undefined) {
    throw new CliError('--bake says how long each stage is watched, and there are no stages', {
      exitCode: ExitCode.USAGE,
      fix: 'Name them too, for example --stages 1,10%,100%.',
    })
  }
  const client = createAdminClient({ timeoutMs: CHANGE_LIMIT_MS, ...flags })
  const query = new URLSearchParams({ file })
  for (const name of ['message', 'stages', 'bake'] as const) {
    if (flags[name] !== undefined) query.set(name, flags[name])
  }
  const answer = (await client.send('PUT', `/v1/routes?${query}`, await readRoutesText(file))) as Applied
  for (const warning of answer.warnings ?? []) process.stderr.write(`warning: ${renderProblem(warning, file)}\n`)
  if (answer.unchanged === true && !flags.json)
    print(false, answer, ({ version }) => `Nothing changes: these routes apply already, as table ${version}.`)
  await untilServed(client, answer, flags)
}

/** Shows the way to the gateways. @throws CliError (not served) when one refuses, is late, or the rollout goes back */
async function untilServed(client: AdminClient, answer: Applied, flags: Flags): Promise<void> {
  const say: Say = (line) => flags.json || process.stdout.write(`${printable(line)}\n`)
  const rollout = answer.rollout && (await rolledOut(client, answer.rollout, say))
  if (rollout?.state === 'withdrawn') {
    if (flags.json) print(true, { ...answer, rollout }, String)
    throw new CliError(`the rollout went back, and every gateway with it: ${rollout.reason ?? 'no reason given'}`, {
      exitCode: ExitCode.NOT_SERVED,
    })
  }
  const version = rollout?.version ?? answer.version
  const progress = await followTable(client, version, flags.timeout * 1000, rollout === undefined ? say : () => {})
  const { answers, behind } = progress
  const outcome = renderOutcome(version, progress)
  if (flags.json) {
    const ids = behind.map(({ id }) => id)
    print(true, { ...answer, version, ...(rollout && { rollout }), gateways: answers, behind: ids }, String)
  } else if (behind.length === 0) say(outcome)
  if (behind.length > 0) throw new CliError(outcome, { exitCode: ExitCode.NOT_SERVED })
}

async function rolledOut(client: AdminClient, first: RolloutState, say: Say): Promise<RolloutState> {
  const leave = () => {
    process.stderr.write(
      'The rollout goes on. `sluice rollout follow` shows it again, `sluice rollout abort` ends it.\n',
    )
    process.exit(ExitCode.FAILED)
  }
  process.once('SIGINT', leave)
  try {
    return await followRollout(client, first, say)
  } finally {
    process.off('SIGINT', leave)
  }
}
