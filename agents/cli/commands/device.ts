/** `sluice device`: simulated devices in this process. */

import { Command } from 'commander'
import { withConfigFlag } from '../config-flag.js'
import { integer } from '../flags.js'
import { runRole, tellSupervisor } from '../role-process.js'

interface DeviceFlags {
  readonly bootstrap: string
  readonly count: number
  readonly rate: number
  readonly prefix: string
  readonly token?: string
  readonly json: boolean
}

const STATS_EVERY_MS = 1000

export function deviceCommand(): Command {
  const command = new Command('device')
    .description('run simulated devices, half WebSocket, half MQTT')
    .option(
      '--bootstrap <urls>',
      'gateways or coordinators to ask for the nearest gateway, separated by commas',
      'http://127.0.0.1:8080',
    )
    .option('--count <n>', 'number of devices', integer(1, 100_000), 1)
    .option('--rate <n>', 'messages that each one sends in a second', Number, 1)
    .option('--prefix <text>', 'what device ids begin with', 'device')
    .option('--token <secret>', 'token that the devices present')
    .option('--json', 'print one line of JSON when they run', false)
  return withConfigFlag(command).action((flags: DeviceFlags) =>
    runRole(() => start(flags), {
      json: flags.json,
      describe: ({ count }) => `${count} devices run. Ctrl-C stops them.`,
    }),
  )
}

async function start(flags: DeviceFlags) {
  const { simulateDevices } = await import('../../device/simulate.js')
  const { count, rate, prefix, token } = flags
  const devices = await simulateDevices({
    ...{ count, rate, prefix, bootstrap: flags.bootstrap.split(',') },
    ...(token === undefined ? {} : { token }),
  })
  const timer = setInterval(() => tellSupervisor({ stats: { ...devices.stats() } }), STATS_EVERY_MS)
  return {
    ready: { count },
    close: () => {
      clearInterval(timer)
      return devices.close()
    },
  }
}
