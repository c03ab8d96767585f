/** Checks that stand before any listening socket: who could reach it, and whether the port is free. */

import { createServer } from 'node:net'
import { CliError, ExitCode } from './cli-error.js'

/** True for addresses that only this machine reaches. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

/**
 * Refuses to listen beyond this machine without authentication.
 * @throws CliError that names the flags
 */
export function requireAuthBeyondLoopback(
  role: string,
  flags: { host: string; token?: string; insecure: boolean },
): void {
  if (isLoopback(flags.host) || flags.insecure || flags.token !== undefined) return
  throw new CliError(`${role} would listen on ${flags.host} (--host), beyond this machine, without authentication`, {
    exitCode: ExitCode.USAGE,
    fix: 'Set a secret with --token (or SLUICE_TOKEN), or say --insecure if the network is trusted.',
  })
}

/** A port that something is about to listen on, and how the user can choose another. */
export interface PortUse {
  readonly port: number
  /** Who wants it: `gateway-1 (MQTT)`. */
  readonly who: string
  /** The flag that moves it: `--mqtt-port`. */
  readonly flag: string
}

/**
 * Finds ports that are taken before anything starts. A listener that shares its ports (SO_REUSEPORT, as the WebSocket
 * edge sets it) would otherwise join a stranger silently.
 * @throws CliError naming every taken port, who wanted it and which flag moves it
 */
export async function requireFreePorts(host: string, uses: readonly PortUse[]): Promise<void> {
  const wanted = uses.filter(({ port }) => port !== 0)
  const isFirst = (use: PortUse) => wanted.find(({ port }) => port === use.port) === use
  const firsts = wanted.filter(isFirst)
  const doubles = wanted.filter((use) => !isFirst(use))
  const free = await Promise.all(firsts.map(({ port }) => isFree(host, port)))
  const taken = firsts.filter((_, i) => !free[i])
  const lines = [
    ...taken.map((use) => `port ${use.port} for ${use.who} is taken: choose another with ${use.flag}`),
    ...doubles.map((use) => `port ${use.port} for ${use.who} is wanted twice: choose another with ${use.flag}`),
  ]
  if (lines.length === 0) return
  throw new CliError(lines.join('\n'), { fix: 'Port 0 takes any free one.' })
}

/** Below the range that Linux takes outgoing connections' ports from, so that none of them can get in between. */
const CHOSEN_FROM = 20_000
const CHOSEN_TO = 32_767

/**
 * A free port. Better than listening on 0 for a server that has to come back on the same port: uWebSockets.js sets
 * SO_REUSEADDR only for ports that it is given, and without it connections in TIME_WAIT block a restart for a minute.
 * @param random 0 to 1, as `Math.random`
 */
export async function chooseFreePort(host: string, random: () => number): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = CHOSEN_FROM + Math.floor(random() * (CHOSEN_TO - CHOSEN_FROM + 1))
    if (await isFree(host, port)) return port
  }
  return 0
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false)
      else if (error.code === 'EACCES')
        reject(new CliError(`port ${port} may not be opened by this user (below 1024?)`))
      else reject(new CliError(`cannot listen on ${host}:${port}: ${error.code}`, { fix: 'Check --host.' }))
    })
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve(true)))
  })
}
