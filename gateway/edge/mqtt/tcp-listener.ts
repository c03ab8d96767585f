/**
 * A TCP listener whose sockets are cheap to make. `net.Server` makes them with options that `net.Socket` copies and adds to,
 * and V8 gives each such copy a hidden class of its own: 8 µs a socket, 15 while the process is new, a third of a CONNECT.
 * Here they are made with every option named already, which takes a quarter of that (docs/benchmarks.md).
 */

import { createServer, type Server, Socket, type SocketConstructorOpts } from 'node:net'
import { SluiceError } from '../../../proto/errors.js'
import { type Listening, startListening } from '../server/listening.js'

/** A connection as libuv hands it on. */
interface TcpHandle {
  setNoDelay?(on: boolean): void
}

/** What listens, below `net.Server`; the names are Node's own. */
interface ListeningHandle {
  onconnection?: (this: ListeningHandle, error: number, client: TcpHandle | undefined) => void
}

export type ListenerOptions = Pick<Listening, 'shared' | 'failed'>

/**
 * @param port 0 for any free one
 * @param take gets each socket; Nagle's algorithm is off, and nothing was read yet
 * @returns the server, which counts none of these sockets
 * @throws SluiceError `conflict` with path `port` when the port is taken
 */
export async function listenTcp(
  host: string,
  port: number,
  take: (socket: Socket) => void,
  options: ListenerOptions,
): Promise<Server> {
  // Nagle's algorithm would hold back our one write per turn.
  const server = createServer({ noDelay: true }, take)
  await startListening(server, { host, port, ...options, refused: (error) => listenError(error, host, port) })
  takeHandles(server, take)
  return server
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
