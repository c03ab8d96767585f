/**
 * Reading a TCP socket without the queue of Node's stream, which is of no use here: input is taken at once. What is replaced
 * is what streams are made to have replaced, `push`. TLS sockets keep their queues. Writing: socket-handle.ts.
 */

import { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/** Whoever takes the bytes of a socket. */
export interface SocketOwner {
  receive(bytes: Buffer): void
}

const OWNER = Symbol('owner')
const HELD = Symbol('held')

interface OwnedSocket extends Socket {
  [OWNER]?: SocketOwner
  [HELD]?: boolean
}

/** True for a socket that {@link readDirectly} may be used with. */
export function isDirect(socket: Socket): boolean {
  return !(socket instanceof TLSSocket) && socket.readableLength === 0
}

/** Hands everything that comes to `owner`, in the very call that brings it. To be called once, before anything came. */
export function readDirectly(socket: OwnedSocket, owner: SocketOwner): void {
  socket[OWNER] = owner
  // One function for all: it costs a field for each socket, not a closure.
  socket.push = push
}

/** Stops reading: what is under way still comes. */
export function hold(socket: OwnedSocket): void {
  socket[HELD] = true
}

/** Reads on. */
export function release(socket: OwnedSocket): void {
  if (socket[HELD] !== true) return
  socket[HELD] = false
  if (!socket.destroyed) socket._read(0)
}

/** In the place of `Readable.push`. @returns false to have the reading stopped, as the original does */
function push(this: OwnedSocket, chunk: unknown, encoding?: BufferEncoding): boolean {
  if (!Buffer.isBuffer(chunk)) return Socket.prototype.push.call(this, chunk, encoding)
  this[OWNER]?.receive(chunk)
  return this[HELD] !== true
}
