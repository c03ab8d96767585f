/** Round trips: each connection keeps a window of messages on their way, or all together keep a rate. */

import { appendAck, appendSeq, FrameView } from '../../../proto/frame.js'
import { Crowd } from './crowd.js'
import type { LoadOptions } from './load-options.js'
import type { Meter } from './meter.js'
import { WebSocketClient, type WebSocketEvents } from './web-socket-client.js'

/** Most bytes that seq and ack add to a frame. */
const SEQ_AND_ACK = 18
const ACK_TYPE = Uint8Array.of(0x08, 4)

interface Lane {
  /** When each message on its way was sent, oldest first; a ring. */
  sentAt: Float64Array
  head: number
  tail: number
  seq: number
  /** Last seq of the other end, and the last that it was told of. */
  heard: number
  told: number
}

export class EchoLoad implements WebSocketEvents {
  readonly crowd: Crowd<WebSocketClient>
  readonly #options: LoadOptions
  readonly #meter: Meter
  readonly #payload: Uint8Array
  readonly #lanes: Lane[] = []
  readonly #view = new FrameView()
  /** Messages sent so far, in total. */
  sent = 0
  answered = 0
  #running = false
  #due = 0

  constructor(options: LoadOptions, meter: Meter) {
    this.#options = options
    this.#meter = meter
    this.#payload = options.hex ?? Buffer.alloc(options.size, 'x')
    const { host, port, path, skip } = options
    const target = { host, port, path, skip, first: undefined }
    this.crowd = new Crowd(options.conns, options.conc, (number) => {
      this.#lanes.push(createLane(options.window))
      return new WebSocketClient(number, target, this)
    })
  }

  start(): void {
    this.#running = true
    if (this.#options.rate > 0) this.#pace(performance.now())
    else for (const client of this.crowd.members) this.#send(client, this.#options.window, performance.now())
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

  message(client: WebSocketClient, bytes: Uint8Array, start: number, end: number): void {
    const lane = this.#lanes[client.number] as Lane
    if (this.#options.acked && !this.#isAnswer(lane, bytes, start, end)) return
    const { sentAt } = lane
    const now = performance.now()
    this.#meter.received(now, sentAt[lane.tail++ % sentAt.length] as number)
    this.answered++
    // What it puts here leaves when all that was read is worked off.
    if (this.#running && this.#options.rate === 0) this.#put(client, lane, now)
    else if (this.#options.acked) this.#acknowledge(client, lane)
  }

  /** True for the echo of a frame; false for a bare acknowledgement. */
  #isAnswer(lane: Lane, bytes: Uint8Array, start: number, end: number): boolean {
    const view = this.#view
    if (!view.read(bytes, start, end) || view.type !== 0) return false
    if (view.seq > 0 && view.seq !== lane.heard + 1) this.#meter.errors++
    lane.heard = view.seq
    return true
  }

  #send(client: WebSocketClient, count: number, at: number): void {
    for (let i = 0; i < count; i++) this.#put(client, this.#lanes[client.number] as Lane, at)
    client.stream.flush()
  }

  #put(client: WebSocketClient, lane: Lane, at: number): void {
    lane.sentAt[lane.head++ % lane.sentAt.length] = at
    this.sent++
    if (!this.#options.acked) client.send(this.#payload)
    else this.#putNumbered(client, lane)
  }

  #putNumbered(client: WebSocketClient, lane: Lane): void {
    const { length } = this.#payload
    const bytes = new Uint8Array(length + SEQ_AND_ACK)
    bytes.set(this.#payload)
    let end = appendSeq(bytes, length, ++lane.seq)
    if (lane.heard > 0) end = appendAck(bytes, end, lane.heard)
    lane.told = lane.heard
    client.send(bytes.subarray(0, end))
  }

  #acknowledge(client: WebSocketClient, lane: Lane): void {
    if (lane.told === lane.heard) return
    lane.told = lane.heard
    const bytes = new Uint8Array(ACK_TYPE.length + SEQ_AND_ACK)
    bytes.set(ACK_TYPE)
    client.send(bytes.subarray(0, appendAck(bytes, ACK_TYPE.length, lane.heard)))
  }

  /** Sends what is due by now; the clock of each message starts when it was due, not when it got its turn. */
  #pace(from: number): void {
    if (!this.#running) return
    const { rate, window } = this.#options
    const clients = this.crowd.members
    const now = performance.now()
    for (let at = from + (this.#due * 1000) / rate; at <= now; at = from + (++this.#due * 1000) / rate) {
      const client = clients[this.#due % clients.length] as WebSocketClient
      const lane = this.#lanes[client.number] as Lane
      if (lane.head - lane.tail < window) this.#send(client, 1, at)
    }
    setImmediate(() => this.#pace(from))
  }
}

function createLane(window: number): Lane {
  return { sentAt: new Float64Array(window), head: 0, tail: 0, seq: 0, heard: 0, told: 0 }
}
