/** `sluice coordinator`: one coordinator in this process. */

import { Command } from 'commander'
import type { DiscoverySettings } from '../../coordinator/discovery/mod.js'
import { withConfigFlag } from '../config-flag.js'
import { integer, logFlag, port, tokenFlag, withListenFlags, withPlaceFlags } from '../flags.js'
import { requireAuthBeyondLoopback, requireFreePorts } from '../listen-guard.js'
import { askSupervisor, isSupervised, runRole } from '../role-process.js'

interface CoordinatorFlags {
  readonly host: string
  readonly port: number
  readonly data?: string
  readonly routes?: string
  readonly token?: string
  readonly insecure: boolean
  readonly nats?: string
  readonly natsPrefix: string
  readonly advertise?: string
  readonly id?: string
  readonly movesPerSecond?: number
  readonly movesInFlight?: number
  readonly discover?: readonly string[]
  readonly geoDatabase?: string
  readonly trustedProxy?: readonly string[]
  readonly checkInterval: number
  readonly checkTimeout: number
  readonly checkHealthy: number
  readonly checkUnhealthy: number
  readonly logLevel: string
  readonly json: boolean
}

export function coordinatorCommand(): Command {
  const command = new Command('coordinator')
    .description('run one coordinator')
    .option('--port <port>', 'HTTP port', port, 7000)
    .option('--data <dir>', 'directory for its state (nothing is kept unless given)')
    .option('--routes <file>', 'routes file to begin with, YAML or JSON')
    .option('--nats <url>', 'NATS servers that several coordinators share their state in; commas between them')
    .option(
      '--nats-prefix <name>',
      'start of the names in NATS: fleets that share a NATS need different ones',
      'sluice',
    )
    .option(
      '--advertise <url>',
      'base URL that the other coordinators reach this one by, when it is not --host and --port',
    )
    .option('--id <name>', 'name of this coordinator (a random one unless given)')
    .option('--moves-per-second <n>', 'sessions that may move in a second', integer(1, 1_000_000))
    .option('--moves-in-flight <n>', 'sessions that may be on the move at once', integer(1, 1_000_000))
    .option('--discover <source...>', 'find workers that cannot register: static:, dns:, srv:, consul: or etcd:')
    .option('--check-interval <ms>', 'time between health checks of a discovered worker', integer(50, 3_600_000), 1000)
    .option('--check-timeout <ms>', 'time that such a check may take', integer(10, 60_000), 800)
    .option('--check-healthy <n>', 'checks in a row that bring a worker back', integer(1, 100), 2)
    .option('--check-unhealthy <n>', 'failed checks in a row that put a worker out', integer(1, 100), 2)
    .addOption(tokenFlag('secret that roles and admin calls must present'))
    .addOption(logFlag())
    .option('--json', 'print one line of JSON when it is ready', false)
  return withConfigFlag(withListenFlags(withPlaceFlags(command))).action((flags: CoordinatorFlags) =>
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
  const {
    json: _json,
    insecure: _insecure,
    logLevel: level,
    discover,
    checkInterval,
    checkTimeout,
    checkHealthy,
    checkUnhealthy,
    ...rest
  } = flags
  const coordinator = await createCoordinator({
    ...rest,
    ...(discover === undefined ? {} : { discovery: discoveryOf(discover, flags) }),
    processes: { pid: process.pid, alive },
    log: pino({ level, base: {} }, pino.destination({ dest: 2, sync: true })),
    ...(isSupervised() ? { scale: (pool: string, workers: number) => askSupervisor('scale', { pool, workers }) } : {}),
  })
  return { ready: { url: coordinator.url }, close: () => coordinator.close() }
}

/** True for processes of other users too, which must not be signalled. */
function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function discoveryOf(sources: readonly string[], flags: CoordinatorFlags): DiscoverySettings {
  const { CONSUL_HTTP_TOKEN: consulToken, ETCDCTL_USER: etcdUser } = process.env
  return {
    sources,
    health: {
      intervalMs: flags.checkInterval,
      timeoutMs: flags.checkTimeout,
      healthy: flags.checkHealthy,
      unhealthy: flags.checkUnhealthy,
    },
    // Under the names that the tools of Consul and etcd read them from; a command line is no place for them.
    secrets: {
      ...(consulToken === undefined ? {} : { consulToken }),
      ...(etcdUser === undefined ? {} : { etcdUser }),
    },
  }
}
