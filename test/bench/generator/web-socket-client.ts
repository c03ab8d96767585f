import { LoadStream, type StreamReader } from './load-stream.js'

/** What the load does with one WebSocket connection. */
export interface WebSocketEvents {
  /** The handshake is through, and the frames to swallow have come. */
  ready(client: WebSocketClient): void
  message(client: WebSocketClient, bytes: Uint8Array, start: number, end: number): void
  lost(client: WebSocketClient, reason: string): void
}

export interface WebSocketTarget {
  readonly host: string
  readonly port: number
  readonly path: string
  /** Sent at once when the connection is open. */
  readonly first: Uint8Array | undefined
  readonly skip: number
}

const HEAD_END = Buffer.from('\r\n\r\n')

/** A client of RFC 6455 that masks with key 0 (legal, and the server still does its work) and trusts what it receives. */
export class WebSocketClient implements StreamReader {
  readonly number: number
  readonly stream: LoadStream
  readonly #target: WebSocketTarget
  readonly #events: WebSocketEvents
  #open = false
  #skip: number

  constructor(number: number, target: WebSocketTarget, events: WebSocketEvents) {
    this.number = number
    this.#target = target
    this.#events = events
    this.#skip = target.skip
    this.stream = new LoadStream(target.host, target.port, this)
  }

  /** Puts a binary message into the output. */
  send(payload: Uint8Array): void {
    const at = this.frame(payload.length)
    this.stream.bytes.set(payload, at)
  }

  /** Puts the head of a binary message into the output; returns where its `length` bytes go in `stream.bytes`. */
  frame(length: number, opcode = 2): number {
    const head = length < 126 ? 6 : 8
    const at = this.stream.room(head + length)
    const { bytes } = this.stream
    bytes[at] = 0x80 | opcode
    if (length < 126) bytes[at + 1] = 0x80 | length
    else {
      bytes[at + 1] = 0xfe
      bytes[at + 2] = length >> 8
      bytes[at + 3] = length & 0xff
    }
    bytes.fill(0, at + head - 4, at + head)
    return at + head
  }

  opened(): void {
    const { host, port, path } = this.#target
    const head = [
      `GET ${path.replaceAll('{i}', String(this.number))} HTTP/1.1`,
      `Host: ${host}:${port}`,
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      'Sec-WebSocket-Version: 13',
    ]
    this.stream.put(Buffer.from(`${head.join('\r\n')}\r\n\r\n`))
    this.stream.flush()
  }

  read(bytes: Uint8Array, end: number): number {
    let at = 0
    if (!this.#open) {
      const head = Buffer.from(bytes.buffer, bytes.byteOffset, end)
      const found = head.indexOf(HEAD_END)
      if (found < 0) return 0
      if (!head.toString('latin1', 0, 12).startsWith('HTTP/1.1 101')) {
        this.lost(head.toString('latin1', 0, 40))
        return end
      }
      at = found + HEAD_END.length
      this.#opened()
    }
    return this.#frames(bytes, at, end)
  }

  lost(reason: string): void {
    this.stream.end()
    this.#events.lost(this, reason)
  }

  #opened(): void {
    this.#open = true
    if (this.#target.first !== undefined) this.send(this.#target.first)
    if (this.#skip === 0) this.#events.ready(this)
  }

  #frames(bytes: Uint8Array, at: number, end: number): number {
    while (end - at >= 2) {
      let length = (bytes[at + 1] as number) & 0x7f
      let head = 2
      if (length === 126) {
        if (end - at < 4) break
        length = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)
        head = 4
      } else if (length === 127) {
        this.lost('a message above 64 KiB')
        return end
      }
      if (end - at < head + length) break
      const start = at + head
      at = start + length
      this.#frame((bytes[start - head] as number) & 15, bytes, start, at)
    }
    return at
  }

  #frame(opcode: number, bytes: Uint8Array, start: number, end: number): void {
    if (opcode === 9) {
      const at = this.frame(end - start, 10)
      this.stream.bytes.set(bytes.subarray(start, end), at)
    } else if (opcode === 8) this.lost('a close frame')
    else if (opcode > 2) return
    else if (this.#skip === 0) this.#events.message(this, bytes, start, end)
    else if (--this.#skip === 0) this.#events.ready(this)
  }
}
