/**
 * A TCP listener whose sockets are cheap to make. `net.Server` makes them with options that `net.Socket` copies and adds to,
 * and V8 gives each such copy a hidden class of its own: 8 µs a socket, 15 while the process is new, a third of a CONNECT.
 * Here they are made with every option named already, which takes a quarter of that (docs/benchmarks.md).
 */

import { createServer, type Server, Socket, type SocketConstructorOpts } from 'node:net'
import { SluiceError } from '../../../proto/errors.js'
import { sharedPort } from '../server/shared-port.js'

/** A connection as libuv hands it on. */
interface TcpHandle {
  setNoDelay?(on: boolean): void
}

/** What listens, below `net.Server`; the names are Node's own. */
interface ListeningHandle {
  onconnection?: (this: ListeningHandle, error: number, client: TcpHandle | undefined) => void
}

export interface ListenerOptions {
  /** Several threads listen at this port; see {@link sharedPort}. */
  readonly shared: boolean
  /** A connection could not be taken; the next one may be. */
  failed(error: Error): void
}

/**
 * @param port 0 for any free one
 * @param take gets each socket; Nagle's algorithm is off, and nothing was read yet
 * @returns the server, which counts none of these sockets
 * @throws SluiceError `conflict` with path `port` when the port is taken
 */
export function listenTcp(
  host: string,
  port: number,
  take: (socket: Socket) => void,
  { shared, failed }: ListenerOptions,
): Promise<Server> {
  // Nagle's algorithm would hold back our one write per turn.
  const server = createServer({ noDelay: true }, take)
  return new Promise((resolve, reject) => {
    const refused = (error: NodeJS.ErrnoException): void => reject(listenError(error, host, port))
    server.once('error', refused)
    server.listen({ host, port, backlog: 4096, ...sharedPort(shared) }, () => {
      server.off('error', refused)
      server.on('error', failed)
      takeHandles(server, take)
      resolve(server)
    })
  })
}

/** From here on the connections of `server` come to `take` by way of {@link socketOf}. Where Node is made otherwise nothing changes. */
function takeHandles(server: Server, take: (socket: Socket) => void): void {
  const handle = (server as { _handle?: ListeningHandle | null })._handle
  const original = handle?.onconnection
  if (handle == null || typeof original !== 'function') return
  handle.onconnection = function (error, client) {
    if (error !== 0 || client === undefined) original.call(this, error, client)
    else take(socketOf(client))
  }
}

function socketOf(handle: TcpHandle): Socket {
  handle.setNoDelay?.(true)
  const options = {
    handle,
    allowHalfOpen: false,
    pauseOnCreate: false,
    readable: true,
    writable: true,
    // What net.Socket would add.
    emitClose: false,
    autoDestroy: true,
    decodeStrings: false,
  }
  return new Socket(options as SocketConstructorOpts)
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  if (error.code !== 'EADDRINUSE') return error
  return new SluiceError('conflict', `MQTT port ${port} on ${host} is taken`, { path: 'port', cause: error })
}
