import type { Socket } from 'node:net'
import { hold, isDirect, release, writeDirectly } from './direct-socket.js'

/** A connection's byte stream, be it TCP, TLS or the messages of a WebSocket. */
export interface ByteTransport {
  /** For logs. */
  readonly remoteAddress: string
  /**
   * Hands bytes on: one system call, or one WebSocket message.
   * @returns true when the caller may use the memory again
   */
  write(bytes: Uint8Array): boolean
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

/** How long a client may take to close its side, in milliseconds. */
const LINGER_MS = 1000

/** {@link ByteTransport} over a TCP or TLS socket of Node. */
export class SocketTransport implements ByteTransport {
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

  get remoteAddress(): string {
    return this.#socket.remoteAddress ?? ''
  }

  write(bytes: Uint8Array): boolean {
    const socket = this.#socket
    if (bytes.length === 0) return true
    if (this.#direct && this.#waiting === 0 && socket.writableLength === 0 && !socket.destroyed)
      return this.#writeDirectly(bytes)
    socket.write(bytes)
    // libuv writes at once what the kernel takes; only the rest keeps the memory.
    return this.#waiting === 0 && socket.writableLength === 0
  }

  get buffered(): number {
    return this.#waiting + this.#socket.writableLength
  }

  end(): void {
    const socket = this.#socket
    socket.end()
    // What still comes is read and thrown away: unread bytes would turn our goodbye into a reset.
    this.resume()
    socket.resume()
    socket.setTimeout(LINGER_MS, () => socket.destroy())
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

  #writeDirectly(bytes: Uint8Array): boolean {
    this.#written ??= (error) => this.#onWritten(error)
    this.#writing = bytes.length
    writeDirectly(this.#socket, bytes, this.#written)
    this.#waiting = this.#writing
    this.#writing = 0
    return this.#waiting === 0
  }

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
