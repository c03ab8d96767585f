/**
 * A TCP socket without the queues of Node's streams. A stream spends two `nextTick`s, several objects and about 2 µs on a
 * message in and a message out (docs/benchmarks.md), and its queues are of no use here: input is taken at once, and output
 * comes as one buffer a turn, which the kernel takes whole as a rule. What is replaced is what streams are made to have
 * replaced: `push` on one side, and `_write` called with our own callback on the other. TLS sockets keep their queues.
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

/** True for a socket that {@link readDirectly} and {@link writeDirectly} may be used with. */
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

/**
 * Writes past the stream's queue; libuv keeps the order, also with what the stream itself writes.
 * @param done called once, with the error if there is one: before this returns when the kernel took everything
 */
export function writeDirectly(socket: Socket, bytes: Uint8Array, done: (error?: Error | null) => void): void {
  // The typings want an encoding; net.Socket looks at it for strings only.
  socket._write(bytes, 'buffer' as BufferEncoding, done)
}

/** In the place of `Readable.push`. @returns false to have the reading stopped, as the original does */
function push(this: OwnedSocket, chunk: unknown, encoding?: BufferEncoding): boolean {
  if (!Buffer.isBuffer(chunk)) return Socket.prototype.push.call(this, chunk, encoding)
  this[OWNER]?.receive(chunk)
  return this[HELD] !== true
}
