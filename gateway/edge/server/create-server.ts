import { SluiceError } from '../../../proto/errors.js'
import type { Clock } from '../../ports.js'
import { NodeServer } from './node-server.js'
import type { HttpServer, ServerLog, ServerTls } from './server.js'
import { loadUws, UwsServer } from './uws-server.js'

export interface HttpServerOptions {
  /** `auto` takes uWebSockets.js where it loads. The others force one (the gateway passes SLUICE_HTTP on). */
  readonly prefer?: 'auto' | 'uws' | 'node'
  readonly log: ServerLog
  readonly clock: Clock
  readonly tls?: ServerTls
  /** Several threads of this process listen on the same port. */
  readonly shared?: boolean
  /** Told of each connection, by a server that takes one in a turn of the event loop. */
  readonly accepted?: () => void
  /** Loads the native part; tests pass one that fails. */
  readonly load?: typeof loadUws
}

/**
 * The fastest server that runs here.
 * @throws SluiceError `unavailable` when uWebSockets.js is forced and does not load; `bad_request` for TLS files
 */
export async function createHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { prefer = 'auto', load = loadUws, log } = options
  if (prefer === 'node') return new NodeServer(options)
  let uws: Awaited<ReturnType<typeof loadUws>>
  try {
    uws = await load()
  } catch (error) {
    const why = lastLine(error)
    if (prefer === 'uws')
      throw new SluiceError('unavailable', `uWebSockets.js does not load here: ${why}`, { path: 'http', cause: error })
    log.warn(
      { node: process.version },
      `uWebSockets.js does not load here (${why}); going on with ws, which is slower. It needs macOS, Windows, or Linux with ` +
        'glibc: 2.38 or newer on Node 22 and later, 2.27 on Node 20 (Debian 12 has 2.36, Alpine has musl). ' +
        'SLUICE_HTTP=node chooses ws without this line.',
    )
    return new NodeServer(options)
  }
  return new UwsServer(uws, options)
}

/** The module's message is a page; its last line is the reason. */
function lastLine(error: unknown): string {
  const lines = String(error instanceof Error ? error.message : error)
    .trim()
    .split('\n')
  return (lines.at(-1) ?? '').trim()
}
