import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** A TCP client that says exactly what a test wants, well-formed or not. */
export class RawClient {
  readonly socket: Socket
  #received = Buffer.alloc(0)
  #waiting: (() => void)[] = []
  closed = false

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk])
      this.#wake()
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.closed = true
      this.#wake()
    })
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return new RawClient(socket)
  }

  /** Connects and has the WebSocket upgrade behind it. */
  static async upgrade(port: number, path: string): Promise<RawClient> {
    const client = await RawClient.connect(port)
    client.socket.write(upgradeHead(path))
    await client.until((bytes) => bytes.includes('\r\n\r\n'))
    client.#received = client.#received.subarray(client.#received.indexOf('\r\n\r\n') + 4)
    return client
  }

  get received(): Buffer {
    return this.#received
  }

  get text(): string {
    return this.#received.toString('latin1')
  }

  /** Waits until `fits`, or the connection is closed. */
  async until(fits: (received: Buffer) => boolean): Promise<void> {
    while (!this.closed && !fits(this.#received)) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  async untilClosed(): Promise<void> {
    await this.until(() => false)
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}

export function upgradeHead(path: string, extra = ''): string {
  return (
    `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${extra}\r\n`
  )
}

/** A masked client frame; the mask is 0, which is legal and leaves the payload readable. */
export function clientFrame(opcode: number, payload: Uint8Array, fin = true): Buffer {
  const { length } = payload
  const head = [(fin ? 0x80 : 0) | opcode]
  if (length < 126) head.push(0x80 | length)
  else if (length < 0x10000) head.push(0x80 | 126, length >> 8, length & 0xff)
  else head.push(0x80 | 127, 0, 0, 0, 0, length >>> 24, (length >>> 16) & 0xff, (length >>> 8) & 0xff, length & 0xff)
  return Buffer.concat([Buffer.from(head), Buffer.alloc(4), payload])
}
