import { createConnection, type Socket } from 'node:net'

/** What a protocol does with the bytes of its connection. */
export interface StreamReader {
  /** Connected: say hello. */
  opened(): void
  /** @returns how many of `bytes[0, end)` were used; the rest comes again with more behind it */
  read(bytes: Uint8Array, end: number): number
  lost(reason: string): void
}

const FIRST_SIZE = 1024

/** A TCP connection that writes once per {@link flush}, however many messages were put in. */
export class LoadStream {
  readonly #socket: Socket
  readonly #reader: StreamReader
  #out = new Uint8Array(FIRST_SIZE)
  #used = 0
  #rest: Uint8Array | undefined
  #gone = false

  constructor(host: string, port: number, reader: StreamReader) {
    this.#reader = reader
    this.#socket = createConnection({ host, port, noDelay: true })
    this.#socket.once('connect', () => reader.opened())
    this.#socket.on('data', (chunk: Buffer) => this.#take(chunk))
    this.#socket.on('error', (error) => this.#lose(error.message))
    this.#socket.on('close', () => this.#lose('closed by the server'))
  }

  /** Room for `size` bytes in the output: the array to write to and where. */
  room(size: number): number {
    if (this.#used + size > this.#out.length) {
      const grown = new Uint8Array(Math.max(2 * this.#out.length, this.#used + size))
      grown.set(this.#out.subarray(0, this.#used))
      this.#out = grown
    }
    const at = this.#used
    this.#used += size
    return at
  }

  /** The output; valid until the next {@link room}. */
  get bytes(): Uint8Array {
    return this.#out
  }

  put(bytes: Uint8Array): void {
    const at = this.room(bytes.length)
    this.#out.set(bytes, at)
  }

  flush(): void {
    if (this.#used === 0 || this.#gone) return
    const bytes = this.#out.subarray(0, this.#used)
    this.#used = 0
    this.#socket.write(bytes)
    if (this.#socket.writableLength > 0) this.#out = new Uint8Array(FIRST_SIZE)
  }

  end(): void {
    this.#gone = true
    this.#socket.destroy()
  }

  #take(chunk: Uint8Array): void {
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk])
    const used = this.#reader.read(bytes, bytes.length)
    this.#rest = used === bytes.length ? undefined : bytes.subarray(used)
    this.flush()
  }

  #lose(reason: string): void {
    if (this.#gone) return
    this.#gone = true
    this.#reader.lost(reason)
  }
}
