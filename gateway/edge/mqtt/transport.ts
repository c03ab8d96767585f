import type { Socket } from 'node:net'
import { DirectWriter, hold, isDirect, release } from '../../direct-socket.js'

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
  readonly #writer: DirectWriter

  constructor(socket: Socket) {
    this.#socket = socket
    this.#direct = isDirect(socket)
    this.#writer = new DirectWriter(socket)
  }

  get remoteAddress(): string {
    return this.#socket.remoteAddress ?? ''
  }

  write(bytes: Uint8Array): boolean {
    return bytes.length === 0 || this.#writer.write(bytes)
  }

  get buffered(): number {
    return this.#writer.buffered
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
}
