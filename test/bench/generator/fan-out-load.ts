/** One publisher, many subscribers: the next message leaves when all have the one before it, up to the window. */

import { Crowd } from './crowd.js'
import type { LoadOptions } from './load-options.js'
import type { Meter } from './meter.js'
import { WebSocketClient, type WebSocketEvents } from './web-socket-client.js'

export class FanOutLoad implements WebSocketEvents {
  readonly crowd: Crowd<WebSocketClient>
  readonly #options: LoadOptions
  readonly #meter: Meter
  readonly #payload: Buffer
  #running = false
  #messages = 0
  answered = 0

  constructor(options: LoadOptions, meter: Meter) {
    this.#options = options
    this.#meter = meter
    this.#payload = Buffer.from(options.hex ?? Buffer.alloc(options.size, 'x'))
    const { host, port } = options
    const subscriber = { host, port, path: options.pathSub, skip: options.skipSub, first: options.openHexSub }
    const publisher = { host, port, path: options.path, skip: options.skip, first: undefined }
    this.crowd = new Crowd(
      options.conns + 1,
      options.conc,
      (number) => new WebSocketClient(number, number < options.conns ? subscriber : publisher, this),
    )
  }

  get sent(): number {
    return this.#messages * this.#options.conns
  }

  start(): void {
    this.#running = true
    this.#fill()
  }

  stop(): void {
    this.#running = false
  }

  ready(): void {
    this.crowd.became(true)
  }

  lost(_client: WebSocketClient, reason: string): void {
    this.#meter.errors++
    if (this.#meter.errors < 5) process.stderr.write(`generator: a connection was lost: ${reason}\n`)
    if (!this.#running) this.crowd.became(false)
  }

  message(_client: WebSocketClient, bytes: Uint8Array, start: number): void {
    const at = start + this.#options.tsOff
    this.#meter.received(performance.now(), new DataView(bytes.buffer, bytes.byteOffset + at, 8).getFloat64(0))
    this.answered++
    if (this.#running) this.#fill()
  }

  #fill(): void {
    const publisher = this.crowd.members.at(-1) as WebSocketClient
    const { conns, window, tsOff } = this.#options
    while (this.#messages - Math.floor(this.answered / conns) < window) {
      this.#messages++
      this.#payload.writeDoubleBE(performance.now(), tsOff)
      publisher.send(this.#payload)
    }
    publisher.stream.flush()
  }
}
