import type { Socket } from 'node:net'

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

  constructor(socket: Socket) {
    this.#socket = socket
  }

  get remoteAddress(): string {
    return this.#socket.remoteAddress ?? ''
  }

  write(bytes: Uint8Array): boolean {
    this.#socket.write(bytes)
    // libuv writes at once what the kernel takes; only the rest keeps the memory.
    return this.#socket.writableLength === 0
  }

  get buffered(): number {
    return this.#socket.writableLength
  }

  end(): void {
    const socket = this.#socket
    socket.end()
    // What still comes is read and thrown away: unread bytes would turn our goodbye into a reset.
    socket.resume()
    socket.setTimeout(LINGER_MS, () => socket.destroy())
  }

  destroy(): void {
    this.#socket.destroy()
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }
}
