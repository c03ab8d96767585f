/** `sluice gateway`: one gateway in this process. */

import { randomUUID } from 'node:crypto'
import { Command, Option } from 'commander'
import type { RunGatewayOptions } from '../../../gateway/main.js'
import { MAX_THREADS } from '../../../proto/table.js'
import { createAdminClient } from '../admin-client.js'
import { CliError, ExitCode } from '../cli-error.js'
import type { SettingKind } from '../config-file.js'
import { withConfigFlag } from '../config-flag.js'
import {
  coordinatorFlag,
  integer,
  location,
  logFlag,
  port,
  tableAgeFlag,
  tokenFlag,
  withListenFlags,
  withPlaceFlags,
} from '../flags.js'
import { chooseFreePort, requireAuthBeyondLoopback, requireFreePorts } from '../listen-guard.js'
import { runRole } from '../role-process.js'

interface GatewayFlags {
  readonly id?: string
  readonly region: string
  readonly location?: { lat: number; lon: number }
  readonly host: string
  readonly port: number
  readonly mqttPort: number
  readonly advertise?: string
  readonly coordinator: string
  readonly data?: string
  readonly maxTableAge?: number
  readonly nats?: string
  readonly token?: string
  readonly insecure: boolean
  readonly http: 'auto' | 'uws' | 'node'
  readonly capacity: number
  readonly geoDatabase?: string
  readonly trustedProxy?: readonly string[]
  readonly threads: number
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly peerPort: number
  readonly logLevel: string
  readonly json: boolean
  readonly settings?: Pick<RunGatewayOptions, 'mqtt' | 'mqttRules' | 'websocket' | 'resumeWindowMs' | 'bridges'>
}

/** What a configuration file can set beside the flags; gateway/edge/ tells what each one means. */
export const GATEWAY_SETTINGS = {
  resumeWindowMs: 'number',
  mqtt: {
    maxPacket: 'number',
    receiveMaximum: 'number',
    maxInflight: 'number',
    topicAliasMaximum: 'number',
    outboundAliases: 'number',
    maxKeepAlive: 'number',
    connectTimeoutMs: 'number',
    maxQueued: 'number',
    maxQueuedBytes: 'number',
    queueQos0: 'boolean',
    maxBuffered: 'number',
    maxSessionExpiry: 'number',
    legacySessionExpiry: 'number',
    maxSubscriptions: 'number',
    maxTopicLevels: 'number',
    responseInformation: 'string',
    tellNoSubscribers: 'boolean',
    willOnTakeover: 'boolean',
    maxConnections: 'number',
    connectsPerSecond: 'number',
  },
  mqttRules: {
    publish: { allow: { listOf: 'string' }, deny: { listOf: 'string' }, reason: 'number' },
    subscribe: { allow: { listOf: 'string' }, deny: { listOf: 'string' }, reason: 'number' },
  },
  websocket: {
    maxFrame: 'number',
    dropAbove: 'number',
    disconnectAbove: 'number',
    idleSeconds: 'number',
    leaveMs: 'number',
    maxConnections: 'number',
    connectsPerSecond: 'number',
    maxLagMs: 'number',
  },
  bridges: {
    listOf: {
      name: 'string',
      url: 'string',
      username: 'string',
      password: 'string',
      clientId: 'string',
      protocolVersion: 'number',
      runs: 'string',
      maxQueued: 'number',
      maxQueuedBytes: 'number',
      sessionExpiry: 'number',
      tls: { caFile: 'string', certFile: 'string', keyFile: 'string', serverName: 'string', verify: 'boolean' },
      rules: {
        listOf: {
          topic: 'string',
          direction: 'string',
          localPrefix: 'string',
          remotePrefix: 'string',
          qos: 'number',
        },
      },
    },
  },
} as const satisfies Record<string, SettingKind>

/** How long a drain may take after SIGTERM, and how often it is looked at, in milliseconds. */
const DRAIN_LIMIT_MS = 30_000
const DRAIN_POLL_MS = 100

export function gatewayCommand(): Command {
  const command = new Command('gateway')
    .description('run one gateway; SIGTERM asks its devices to move first')
    .option('--id <id>', 'name, unique in the fleet (a random one unless given)')
    .option('--region <name>', 'region, for routes and for finding the nearest', 'local')
    .option('--location <lat,lon>', 'coordinates in degrees, for finding the nearest', location)
    .option('--port <port>', 'HTTP and WebSocket port', port, 8080)
    .option('--mqtt-port <port>', 'MQTT port', port, 1883)
    .option('--advertise <name>', 'host name or address that devices reach it by, when it is not --host')
    .addOption(coordinatorFlag())
    .option('--data <dir>', 'directory for the last table, sessions and retained messages')
    .addOption(tableAgeFlag())
    .option('--nats <url>', 'NATS servers for fan-out between gateways; without them they dial each other')
    .option('--capacity <n>', 'sessions it is meant to hold at most; 0: no stated limit', integer(0, 10_000_000), 0)
    .addOption(
      new Option('--http <server>', 'HTTP server: uws where its native part loads, else node')
        .choices(['auto', 'uws', 'node'])
        .default('auto')
        .env('SLUICE_HTTP'),
    )
    .option('--threads <n>', 'cores to run on: threads that share the ports', integer(1, MAX_THREADS), 1)
    .option('--peer-port <port>', 'first of one port per thread, for other threads and gateways', port, 0)
    .option('--tls-cert <file>', 'certificate of all its listeners with its chain, PEM; wants --tls-key')
    .option('--tls-key <file>', 'its private key, PEM')
    .addOption(tokenFlag('secret of the fleet'))
    .addOption(logFlag())
    .option('--json', 'print one line of JSON when it is ready', false)
  return withConfigFlag(withListenFlags(withPlaceFlags(command)), GATEWAY_SETTINGS).action((flags: GatewayFlags) =>
    runRole(() => start(flags), {
      json: flags.json,
      describe: ({ id, ws, mqtt }) =>
        `Gateway ${id}: ${ws}?device=ID and ${mqtt}. Ctrl-C stops it, SIGTERM drains it first.`,
    }),
  )
}

async function start(flags: GatewayFlags) {
  requireAuthBeyondLoopback('gateway', flags)
  const { threads, peerPort, host } = flags
  const who = flags.id ?? 'the gateway'
  await requireFreePorts(host, [
    { port: flags.port, who: `${who} (HTTP and WebSocket)`, flag: '--port' },
    { port: flags.mqttPort, who: `${who} (MQTT)`, flag: '--mqtt-port' },
    ...peerPorts(threads, peerPort).map((port, i) => ({ port, who: `thread ${i} of ${who}`, flag: '--peer-port' })),
  ])
  const { runGateway, runGatewayThreads } = await import('../../../gateway/main.js')
  const { collectStartGarbage, tendYoungGeneration } = await import('../../../gateway/heap.js')
  const {
    json: _json,
    insecure: _insecure,
    threads: _threads,
    peerPort: _peerPort,
    tlsCert,
    tlsKey,
    maxTableAge: maxTableAgeMs,
    http: prefer,
    settings,
    id = `gateway-${randomUUID().slice(0, 8)}`,
    ...rest
  } = flags
  const free = (port: number) => (port === 0 ? chooseFreePort(host, Math.random) : port)
  const age = maxTableAgeMs === undefined ? {} : { maxTableAgeMs }
  const options = {
    ...rest,
    ...settings,
    ...age,
    port: await free(flags.port),
    id,
    prefer,
    ...tlsFiles(tlsCert, tlsKey),
  }
  const gateway =
    threads === 1
      ? await runGateway(options)
      : await runGatewayThreads({
          ...options,
          // Threads that come one after the other have to take the same one.
          mqttPort: await free(flags.mqttPort),
          peerPorts: await Promise.all(peerPorts(threads, peerPort).map(free)),
        })
  collectStartGarbage()
  tendYoungGeneration()
  return {
    ready: { id, ...gateway.urls },
    close: () => gateway.close(),
    drain: () => drain(gateway, flags),
  }
}

/** @throws CliError when only one of the two was given */
function tlsFiles(cert: string | undefined, key: string | undefined): { tls?: { cert: string; key: string } } {
  if (cert !== undefined && key !== undefined) return { tls: { cert, key } }
  if (cert === undefined && key === undefined) return {}
  throw new CliError('--tls-cert and --tls-key go together', { exitCode: ExitCode.USAGE })
}

/** Ports for other gateways, by thread; 0 for any. A gateway with one thread needs none of its own. */
function peerPorts(threads: number, base: number): number[] {
  return threads === 1 ? [] : Array.from({ length: threads }, (_, i) => (base === 0 ? 0 : base + i))
}

/** Asks the coordinator to move the devices elsewhere, and waits until they have gone or the time is up. */
async function drain(gateway: { id: string; sessions: number }, flags: GatewayFlags): Promise<void> {
  const path = `/v1/gateways/${encodeURIComponent(gateway.id)}/drain`
  // With the coordinator away there is nobody to ask; the devices reconnect by themselves when this process ends.
  const asked = await createAdminClient({ timeoutMs: 2000, ...flags })
    .send('POST', path)
    .then(
      () => true,
      () => false,
    )
  for (let waited = 0; asked && gateway.sessions > 0 && waited < DRAIN_LIMIT_MS; waited += DRAIN_POLL_MS) {
    await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS))
  }
}
