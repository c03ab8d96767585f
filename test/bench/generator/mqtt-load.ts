/** Publishers and subscribers in pairs, or one publisher to many: a message counts when its subscriber has it. */

import { Crowd } from './crowd.js'
import type { LoadOptions } from './load-options.js'
import type { Meter } from './meter.js'
import { MqttClient, type MqttEvents } from './mqtt-client.js'

interface Publisher {
  sent: number
  /** Deliveries, over all its subscribers. */
  delivered: number
  acked: number
}

export class MqttLoad implements MqttEvents {
  readonly crowd: Crowd<MqttClient>
  readonly #options: LoadOptions
  readonly #meter: Meter
  readonly #publishers: Publisher[]
  readonly #topics: Buffer[]
  readonly #fan: number
  #running = false
  answered = 0

  constructor(options: LoadOptions, meter: Meter) {
    this.#options = options
    this.#meter = meter
    const { host, port, pubs, subs, qos } = options
    this.#fan = Math.max(1, Math.floor(subs / pubs))
    this.#publishers = Array.from({ length: pubs }, () => ({ sent: 0, delivered: 0, acked: 0 }))
    this.#topics = Array.from({ length: pubs }, (_, i) => Buffer.from(`lg/${i}`))
    this.crowd = new Crowd(subs + pubs, options.conc, (number) => {
      const filter = number < subs ? `lg/${number % pubs}` : undefined
      return new MqttClient(number, { host, port, filter, qos }, this)
    })
  }

  get sent(): number {
    return this.#publishers.reduce((sum, { sent }) => sum + sent, 0) * this.#fan
  }

  start(): void {
    this.#running = true
    for (const number of this.#publishers.keys()) this.#fill(number)
  }

  stop(): void {
    this.#running = false
  }

  ready(): void {
    this.crowd.became(true)
  }

  lost(_client: MqttClient, reason: string): void {
    this.#meter.errors++
    if (this.#meter.errors < 5) process.stderr.write(`generator: a connection was lost: ${reason}\n`)
    if (!this.#running) this.crowd.became(false)
  }

  puback(client: MqttClient): void {
    const number = client.number - this.#options.subs
    const publisher = this.#publishers[number] as Publisher
    publisher.acked++
    if (this.#running) this.#fill(number)
  }

  publish(_client: MqttClient, bytes: Uint8Array, payloadStart: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset + payloadStart, 12)
    this.#meter.received(performance.now(), view.getFloat64(0))
    const number = view.getUint32(8)
    const publisher = this.#publishers[number] as Publisher
    publisher.delivered++
    this.answered++
    if (this.#running) this.#fill(number)
  }

  #fill(number: number): void {
    const { size, subs, qos, window } = this.#options
    const publisher = this.#publishers[number] as Publisher
    const client = this.crowd.members[subs + number] as MqttClient
    for (;;) {
      const done = Math.floor(publisher.delivered / this.#fan)
      const open = publisher.sent - (qos === 1 ? Math.min(publisher.acked, done) : done)
      if (open >= window) break
      publisher.sent++
      const at = client.publish(this.#topics[number] as Buffer, size)
      const { bytes } = client.stream
      const view = new DataView(bytes.buffer, bytes.byteOffset + at, 12)
      view.setFloat64(0, performance.now())
      view.setUint32(8, number)
    }
    client.stream.flush()
  }
}
