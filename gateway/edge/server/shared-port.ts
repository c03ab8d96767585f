/** Where Node knows how to share a port (libuv's UV_TCP_REUSEPORT); elsewhere it refuses to listen when it is asked to. */
const CAN_SHARE = new Set<string>(['linux', 'freebsd', 'sunos', 'aix'])

/**
 * What a listener of `node:net` is asked for at a port that several threads listen at: SO_REUSEPORT, by which the kernel spreads
 * connections. Node before 22.12 does not look at it, and has the process that forked the threads take all and hand them on.
 */
export function sharedPort(shared: boolean): { reusePort?: true } {
  return shared && CAN_SHARE.has(process.platform) ? { reusePort: true } : {}
}
