/** Runs one gateway in this process. The only file of the gateway that knows of the process, the wall clock and randomness. */

import { randomBytes } from 'node:crypto'
import { pino } from 'pino'
import { Gateway } from './gateway.js'
import type { GatewayOptions } from './gateway-options.js'
import { createSystemClock } from './system-clock.js'

/** {@link GatewayOptions} without what the process provides. */
export type RunGatewayOptions = Omit<GatewayOptions, 'clock' | 'log' | 'random' | 'newId' | 'pid'> & {
  /** pino's levels; `warn` when absent. */
  readonly logLevel?: string
}

/** Starts a gateway; it runs until {@link Gateway.close}. Logs go to standard error, so that output stays a
 * program's own, and synchronously: they are few, and an asynchronous one spins when its reader is gone. */
export async function runGateway(options: RunGatewayOptions): Promise<Gateway> {
  const { logLevel = 'warn', ...rest } = options
  const log = pino({ level: logLevel, base: { gateway: options.id } }, pino.destination({ dest: 2, sync: true }))
  const prefer = rest.prefer ?? preferredServer(process.env.SLUICE_HTTP)
  return Gateway.start({
    ...rest,
    ...(prefer === undefined ? {} : { prefer }),
    clock: createSystemClock(),
    log,
    random: Math.random,
    newId: () => randomBytes(12).toString('base64url'),
    pid: process.pid,
  })
}

function preferredServer(value: string | undefined): 'uws' | 'node' | undefined {
  return value === 'uws' || value === 'node' ? value : undefined
}
