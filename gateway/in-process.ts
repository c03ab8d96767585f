/** A gateway, or one thread of one, in this process: what the machine provides is joined to the options here. */

import { pino } from 'pino'
import { Gateway } from './gateway.js'
import type { GatewayOptions } from './gateway-options.js'
import { createIdMaker } from './random-id.js'
import type { RunGatewayOptions } from './run-options.js'
import { createSystemClock } from './system-clock.js'

/** Starts it; it runs until {@link Gateway.close}. */
export async function startInProcess(options: RunGatewayOptions & Pick<GatewayOptions, 'thread'>): Promise<Gateway> {
  const { logLevel = 'warn', ...rest } = options
  const { thread } = options
  return Gateway.start({
    ...rest,
    clock: createSystemClock(),
    log: createLog(logLevel, { gateway: options.id, ...(thread === undefined ? {} : { thread: thread.index }) }),
    random: Math.random,
    newId: createIdMaker(),
    pid: process.pid,
  })
}

/**
 * Logs go to standard error, so that output stays a program's own, and synchronously: they are few, and an asynchronous
 * one spins when its reader is gone.
 */
export function createLog(level: string, base: Readonly<Record<string, unknown>>) {
  return pino({ level, base: { ...base } }, pino.destination({ dest: 2, sync: true }))
}
