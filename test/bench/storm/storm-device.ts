/** The least of a WebSocket client: ten thousand of them fit beside what they measure. */

import { connect, type Socket } from 'node:net'
import { FrameView } from '../../../proto/frame.js'

const HEAD_END = Buffer.from('\r\n\r\n')

/** One device. */
export class StormDevice {
  readonly #id: string
  #socket: Socket | undefined
  #buffered: Buffer = Buffer.alloc(0)
  #open = false
  session = ''
  readonly #events: DeviceEvents

  constructor(id: string, events: DeviceEvents) {
    this.#id = id
    this.#events = events
  }

  connect(url: URL): void {
    this.#open = false
    this.#buffered = Buffer.alloc(0)
    const resume = this.session === '' ? '' : `&resume=${this.session}&ack=0`
    const socket = connect(Number(url.port), url.hostname)
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('close', () => this.#socket === socket && this.#events.closed(this))
    socket.on('data', (bytes) => this.#socket === socket && this.#read(bytes))
    socket.write(
      `GET ${url.pathname}?device=${this.#id}${resume} HTTP/1.1\r\nHost: ${url.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    )
  }

  /** Masked with key 0, up to 125 bytes. */
  send(payload: Uint8Array): void {
    this.#socket?.write(Buffer.concat([Buffer.from([0x82, 0x80 | payload.length, 0, 0, 0, 0]), payload]))
  }

  destroy(): void {
    const socket = this.#socket
    this.#socket = undefined
    socket?.destroy()
  }

  #read(bytes: Buffer): void {
    this.#buffered = this.#buffered.length === 0 ? bytes : Buffer.concat([this.#buffered, bytes])
    if (!this.#open) {
      const end = this.#buffered.indexOf(HEAD_END)
      if (end === -1) return
      const head = this.#buffered.toString('latin1', 0, end)
      if (!head.startsWith('HTTP/1.1 101')) {
        this.destroy()
        this.#events.refused(this, Number(/^retry-after: *(\d+)/im.exec(head)?.[1] ?? 1) * 1000)
        return
      }
      this.#open = true
      this.#buffered = this.#buffered.subarray(end + HEAD_END.length)
    }
    this.#frames()
  }

  #frames(): void {
    for (;;) {
      const [first, length] = [this.#buffered[0], this.#buffered[1]]
      if (first === undefined || length === undefined || length > 125 || this.#buffered.length < 2 + length) return
      const payload = this.#buffered.subarray(2, 2 + length)
      this.#buffered = this.#buffered.subarray(2 + length)
      const view = new FrameView()
      if (first === 0x82 && view.read(payload)) this.#events.frame(this, view)
    }
  }
}

export interface DeviceEvents {
  frame(device: StormDevice, view: FrameView): void
  refused(device: StormDevice, retryMs: number): void
  closed(device: StormDevice): void
}
