/** `sluice gateway`: one gateway in this process. */

import { Command, Option } from 'commander'
import { coordinatorFlag, integer, location, port, tokenFlag, withListenFlags } from '../flags.js'
import { requireAuthBeyondLoopback, requireFreePorts } from '../listen-guard.js'
import { runRole } from '../role-process.js'

interface GatewayFlags {
  readonly id?: string
  readonly region: string
  readonly location?: { lat: number; lon: number }
  readonly host: string
  readonly port: number
  readonly mqttPort: number
  readonly coordinator: string
  readonly data?: string
  readonly config?: string
  readonly nats?: string
  readonly token?: string
  readonly insecure: boolean
  readonly http: 'auto' | 'uws' | 'node'
  readonly threads: number
  readonly capacity: number
  readonly json: boolean
}

export function gatewayCommand(): Command {
  const command = new Command('gateway')
    .description('run one gateway; SIGTERM asks its devices to move first')
    .option('--id <id>', 'name, unique in the fleet (a random one unless given)')
    .option('--region <name>', 'region, for routes and for finding the nearest', 'local')
    .option('--location <lat,lon>', 'coordinates in degrees, for finding the nearest', location)
    .option('--port <port>', 'HTTP and WebSocket port', port, 8080)
    .option('--mqtt-port <port>', 'MQTT port', port, 1883)
    .addOption(coordinatorFlag())
    .option('--data <dir>', 'directory for the last table, sessions and retained messages')
    .option('--config <file>', 'configuration file, YAML or JSON')
    .option('--nats <url>', 'NATS server for fan-out across machines')
    .option('--threads <n>', 'threads that share the ports', integer(1, 64), 1)
    .option('--capacity <n>', 'sessions it is meant to hold at most; 0: no stated limit', integer(0, 10_000_000), 0)
    .addOption(
      new Option('--http <server>', 'HTTP server: uws where its native part loads, else node')
        .choices(['auto', 'uws', 'node'])
        .default('auto')
        .env('SLUICE_HTTP'),
    )
    .addOption(tokenFlag('secret of the fleet'))
    .option('--json', 'print one line of JSON when it is ready', false)
  return withListenFlags(command).action((flags: GatewayFlags) =>
    runRole(() => start(flags), {
      json: flags.json,
      describe: ({ id, ws, mqtt }) =>
        `Gateway ${id}: ${ws}?device=ID and ${mqtt}. Ctrl-C stops it, SIGTERM drains it first.`,
    }),
  )
}

async function start(flags: GatewayFlags) {
  requireAuthBeyondLoopback('gateway', flags)
  const who = flags.id ?? 'the gateway'
  await requireFreePorts(flags.host, [
    { port: flags.port, who: `${who} (HTTP and WebSocket)`, flag: '--port' },
    { port: flags.mqttPort, who: `${who} (MQTT)`, flag: '--mqtt-port' },
  ])
  const { runGateway } = await import('../../../gateway/main.js')
  const { json: _json, ...options } = flags
  const gateway = await runGateway(options)
  const { id, http, ws, mqtt } = gateway
  return { ready: { id, http, ws, mqtt }, close: () => gateway.close(), drain: () => gateway.drain() }
}
