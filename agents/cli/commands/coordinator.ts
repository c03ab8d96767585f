/** `sluice coordinator`: one coordinator in this process. */

import { Command } from 'commander'
import { withConfigFlag } from '../config-file.js'
import { integer, port, tokenFlag, withListenFlags } from '../flags.js'
import { requireAuthBeyondLoopback, requireFreePorts } from '../listen-guard.js'
import { askSupervisor, isSupervised, runRole } from '../role-process.js'

interface CoordinatorFlags {
  readonly host: string
  readonly port: number
  readonly data?: string
  readonly routes?: string
  readonly token?: string
  readonly insecure: boolean
  readonly movesPerSecond?: number
  readonly movesInFlight?: number
  readonly json: boolean
}

export function coordinatorCommand(): Command {
  const command = new Command('coordinator')
    .description('run one coordinator')
    .option('--port <port>', 'HTTP port', port, 7000)
    .option('--data <dir>', 'directory for its state (nothing is kept unless given)')
    .option('--routes <file>', 'routes file to begin with, YAML or JSON')
    .option('--moves-per-second <n>', 'sessions that may move in a second', integer(1, 1_000_000))
    .option('--moves-in-flight <n>', 'sessions that may be on the move at once', integer(1, 1_000_000))
    .addOption(tokenFlag('secret that roles and admin calls must present'))
    .option('--json', 'print one line of JSON when it is ready', false)
  return withConfigFlag(withListenFlags(command)).action((flags: CoordinatorFlags) =>
    runRole(() => start(flags), {
      json: flags.json,
      describe: ({ url }) => `Coordinator at ${url}. Ctrl-C stops it.`,
    }),
  )
}

async function start(flags: CoordinatorFlags) {
  requireAuthBeyondLoopback('coordinator', flags)
  await requireFreePorts(flags.host, [{ port: flags.port, who: 'the coordinator', flag: '--port' }])
  const [{ createCoordinator }, { pino }] = await Promise.all([import('../../coordinator/mod.js'), import('pino')])
  const { json: _json, insecure: _insecure, ...rest } = flags
  const coordinator = await createCoordinator({
    ...rest,
    log: pino({ level: 'warn', base: {} }, pino.destination({ dest: 2, sync: true })),
    ...(isSupervised() ? { scale: (pool: string, workers: number) => askSupervisor('scale', { pool, workers }) } : {}),
  })
  return { ready: { url: coordinator.url }, close: () => coordinator.close() }
}
