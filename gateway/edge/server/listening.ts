import type { Server } from 'node:net'

/** Where Node knows how to share a port (libuv's UV_TCP_REUSEPORT); elsewhere it refuses to listen when it is asked to. */
const CAN_SHARE = new Set<string>(['linux', 'freebsd', 'sunos', 'aix'])

/**
 * What a listener of `node:net` is asked for at a port that several threads listen at: SO_REUSEPORT, by which the kernel spreads
 * connections. Node before 22.12 does not look at it, and has the process that forked the threads take all and hand them on.
 */
export function sharedPort(shared: boolean): { reusePort?: true } {
  return shared && CAN_SHARE.has(process.platform) ? { reusePort: true } : {}
}

/** Where a listener of `node:net` stands, and what it tells. */
export interface Listening {
  readonly host: string
  /** 0 for any free one. */
  readonly port: number
  /** Several threads listen there. */
  readonly shared: boolean
  /** Why it does not come to listen. */
  refused(error: Error): Error
  /** It runs, and could not take a connection; the next one may be. */
  failed(error: Error): void
}

/** Resolves once `server` listens; rejects with what {@link Listening.refused} makes of the reason. */
export function startListening(server: Server, { host, port, shared, refused, failed }: Listening): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error): void => reject(refused(error))
    server.once('error', onError)
    server.listen({ host, port, backlog: 4096, ...sharedPort(shared) }, () => {
      server.off('error', onError)
      server.on('error', failed)
      resolve()
    })
  })
}
