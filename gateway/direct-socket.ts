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

/** True for a socket that {@link readDirectly} and {@link DirectWriter} may be used with. */
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

/** Writes past the stream's queue where that can be; libuv keeps the order, also with what the stream itself writes. */
export class DirectWriter {
  readonly #socket: Socket
  readonly #direct: boolean
  /** Bytes that the kernel did not take at once, written past the stream's queue. */
  #waiting = 0
  /** Made with the first write; one for all of this socket's. */
  #written: ((error?: Error | null) => void) | undefined
  /** Set while a write is being made. */
  #writing = 0

  constructor(socket: Socket) {
    this.#socket = socket
    this.#direct = isDirect(socket)
  }

  /** Bytes that wait for the kernel. */
  get buffered(): number {
    return this.#waiting + this.#socket.writableLength
  }

  /** @returns true when the kernel took all of it: the memory is the caller's again. Else 'drain' follows on the socket */
  write(bytes: Uint8Array): boolean {
    const socket = this.#socket
    if (this.#direct && this.#waiting === 0 && socket.writableLength === 0 && !socket.destroyed && !socket.connecting)
      return this.#writeDirectly(bytes)
    socket.write(bytes)
    // libuv writes at once what the kernel takes; only the rest keeps the memory.
    return this.#waiting === 0 && socket.writableLength === 0
  }

  #writeDirectly(bytes: Uint8Array): boolean {
    this.#written ??= (error) => this.#onWritten(error)
    this.#writing = bytes.length
    // The typings want an encoding; net.Socket looks at it for strings only.
    this.#socket._write(bytes, 'buffer' as BufferEncoding, this.#written)
    this.#waiting = this.#writing
    this.#writing = 0
    return this.#waiting === 0
  }

  /** Called once for each write: before it returns when the kernel took everything. */
  #onWritten(error: Error | null | undefined): void {
    if (error) this.#socket.destroy(error)
    if (this.#writing > 0) {
      this.#writing = 0
      return
    }
    this.#waiting = 0
    // As the stream itself would have told it.
    if (!error && !this.#socket.destroyed) this.#socket.emit('drain')
  }
}

/** In the place of `Readable.push`. @returns false to have the reading stopped, as the original does */
function push(this: OwnedSocket, chunk: unknown, encoding?: BufferEncoding): boolean {
  if (!Buffer.isBuffer(chunk)) return Socket.prototype.push.call(this, chunk, encoding)
  this[OWNER]?.receive(chunk)
  return this[HELD] !== true
}
