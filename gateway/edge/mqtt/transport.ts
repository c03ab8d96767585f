import type { Socket } from 'node:net'
import { hold, isDirect, release } from './direct-socket.js'
import type { SharedBytes } from './shared-bytes.js'
import {
  awaitWrite,
  handleOf,
  type StreamHandle,
  TAKEN,
  unsentBytes,
  WAITS,
  writeError,
  writeSharedTo,
  writeTo,
} from './socket-handle.js'

/** A connection's byte stream, be it TCP, TLS or the messages of a WebSocket. */
export interface ByteTransport {
  /** For logs. */
  readonly remoteAddress: string
  /**
   * Hands bytes on: one system call, or one WebSocket message.
   * @returns true when the caller may use the memory again
   */
  write(bytes: Uint8Array): boolean
  /** Hands on what others get too. */
  writeShared(shared: SharedBytes): void
  /** Bytes that wait in this process. */
  readonly buffered: number
  /** Closes after what was written is out. */
  end(): void
  /** Closes now. */
  destroy(): void
  /** Stops and restarts reading. */
  pause(): void
  resume(): void
}

/** How long a client may take to read some of what is left, and then to close its side, in milliseconds; and how often. */
const LINGER_MS = 1000
const MOST_LINGERS = 30

/** {@link ByteTransport} over a TCP or TLS socket of Node. */
export class SocketTransport implements ByteTransport {
  readonly #socket: Socket
  readonly #direct: boolean
  /** Where it is written past the stream. */
  readonly #handle: StreamHandle | undefined
  /** Bytes that the kernel did not take at once, past the stream. */
  #waiting = 0

  constructor(socket: Socket) {
    this.#socket = socket
    this.#direct = isDirect(socket)
    this.#handle = handleOf(socket)
  }

  get remoteAddress(): string {
    return this.#socket.remoteAddress ?? ''
  }

  write(bytes: Uint8Array): boolean {
    const handle = this.#handle
    if (handle === undefined) return this.#writeAsStream(bytes)
    if (bytes.length === 0) return true
    return this.#wrote(writeTo(handle, bytes), bytes)
  }

  writeShared(shared: SharedBytes): void {
    const handle = this.#handle
    if (handle === undefined) this.#writeAsStream(shared.bytes)
    else this.#wrote(writeSharedTo(handle, shared), shared.bytes)
  }

  get buffered(): number {
    return this.#handle === undefined ? this.#socket.writableLength : this.#waiting
  }

  end(): void {
    const socket = this.#socket
    socket.end()
    // What still comes is read and thrown away: unread bytes would turn our goodbye into a reset.
    this.resume()
    socket.resume()
    this.#linger(unsentBytes(socket), MOST_LINGERS)
  }

  destroy(): void {
    this.#socket.destroy()
  }

  pause(): void {
    if (this.#direct) hold(this.#socket)
    else this.#socket.pause()
  }

  resume(): void {
    if (this.#direct) release(this.#socket)
    else this.#socket.resume()
  }

  /** @returns true when the memory is free */
  #wrote(outcome: number, bytes: Uint8Array): boolean {
    if (outcome === TAKEN) return true
    if (outcome === WAITS) this.#await(bytes)
    else this.#socket.destroy(writeError(outcome))
    return false
  }

  /** Waits for the client to read what is left and to close its side, as long as it goes on reading. */
  #linger(unsent: number, more: number): void {
    const timer = setTimeout(() => {
      this.#socket.off('close', stop)
      const left = unsentBytes(this.#socket)
      if (left < unsent && more > 0) this.#linger(left, more - 1)
      else this.#socket.destroy()
    }, LINGER_MS)
    const stop = () => clearTimeout(timer)
    this.#socket.once('close', stop)
  }

  #writeAsStream(bytes: Uint8Array): boolean {
    const socket = this.#socket
    socket.write(bytes)
    // libuv writes at once what the kernel takes; only the rest keeps the memory.
    return socket.writableLength === 0
  }

  /** What waits goes out in its order, behind it whatever is written meanwhile. */
  #await(bytes: Uint8Array): void {
    const { length } = bytes
    this.#waiting += length
    awaitWrite(bytes, (status) => {
      this.#waiting -= length
      const socket = this.#socket
      if (status !== 0) socket.destroy(writeError(status))
      // As the stream itself would have told it.
      else if (this.#waiting === 0 && !socket.destroyed) socket.emit('drain')
    })
  }
}
