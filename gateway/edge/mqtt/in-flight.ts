/** Messages at QoS 1 and 2 that were sent to a client, by packet identifier and in order (MQTT 5.0 section 4.3, 4.4). */

import type { Qos } from '../../../proto/mqtt/packet.js'
import type { Message } from '../../ports.js'

/** Where a delivery stands. */
export const Stage = { QUEUED: 0, PUBACK: 1, PUBREC: 2, PUBCOMP: 3, DONE: 4 } as const

/** One message on its way to one client. */
export class Delivery {
  /** Undefined once PUBREC came: from then on only the identifier matters. */
  message: Message | undefined
  readonly qos: Qos
  readonly retain: boolean
  readonly ids: readonly number[] | undefined
  /** Downlink seq of a worker's frame that the client's acknowledgement confirms; 0 for none. */
  seq: number
  stage: number = Stage.QUEUED
  packetId = 0
  /** Sent on an earlier connection, so that DUP is set [MQTT-3.3.1-1]. */
  sent = false
  /** Its place in the session's store, 0 for none. */
  stored = 0

  constructor(
    message: Message | undefined,
    qos: Qos,
    retain: boolean,
    ids: readonly number[] | undefined,
    seq: number,
  ) {
    this.message = message
    this.qos = qos
    this.retain = retain
    this.ids = ids
    this.seq = seq
  }
}

const LAST_ID = 65535

/**
 * A ring that is indexed by packet identifier: identifiers are given out one after the other, so the place of one
 * follows from its distance to the oldest. Made when a session first needs it.
 */
export class InFlight {
  #ring: (Delivery | undefined)[] = new Array(8).fill(undefined)
  /** Places, counting up; the ring's index is the place modulo its length. */
  #head = 0
  #tail = 0
  #headId = 1
  /** Deliveries that are not done: what the client's receive maximum limits. */
  size = 0

  /** True when no identifier is free: the oldest one is still in use after all others were given out. */
  get exhausted(): boolean {
    return this.#tail - this.#head >= LAST_ID
  }

  /** Gives the delivery the next packet identifier; the caller checks {@link exhausted}. */
  add(delivery: Delivery): void {
    const span = this.#tail - this.#head
    delivery.packetId = ((this.#headId - 1 + span) % LAST_ID) + 1
    this.#append(delivery)
  }

  /** Puts a delivery back that has its identifier already, in order: what a store kept. */
  restore(delivery: Delivery): void {
    if (this.#tail === this.#head) this.#headId = delivery.packetId
    while (((this.#headId - 1 + this.#tail - this.#head) % LAST_ID) + 1 !== delivery.packetId) this.#append(undefined)
    this.#append(delivery)
  }

  find(packetId: number): Delivery | undefined {
    const offset = (packetId - this.#headId + LAST_ID) % LAST_ID
    if (offset >= this.#tail - this.#head) return undefined
    const found = this.#ring[(this.#head + offset) & (this.#ring.length - 1)]
    return found?.stage === Stage.DONE ? undefined : found
  }

  /** The exchange is over; the identifier is free once no older one is in use. */
  finish(delivery: Delivery): void {
    delivery.stage = Stage.DONE
    delivery.message = undefined
    this.size--
    const mask = this.#ring.length - 1
    while (this.#head < this.#tail) {
      const oldest = this.#ring[this.#head & mask]
      if (oldest !== undefined && oldest.stage !== Stage.DONE) break
      this.#ring[this.#head & mask] = undefined
      this.#head++
      this.#headId = (this.#headId % LAST_ID) + 1
    }
  }

  /** What is not done, oldest first. */
  *[Symbol.iterator](): Iterable<Delivery> & Iterator<Delivery> {
    for (let place = this.#head; place < this.#tail; place++) {
      const delivery = this.#ring[place & (this.#ring.length - 1)]
      if (delivery !== undefined && delivery.stage !== Stage.DONE) yield delivery
    }
  }

  #append(delivery: Delivery | undefined): void {
    if (this.#tail - this.#head === this.#ring.length) this.#grow()
    this.#ring[this.#tail++ & (this.#ring.length - 1)] = delivery
    if (delivery !== undefined) this.size++
  }

  #grow(): void {
    const { length } = this.#ring
    const grown: (Delivery | undefined)[] = new Array(length * 2).fill(undefined)
    for (let place = this.#head; place < this.#tail; place++)
      grown[place & (length * 2 - 1)] = this.#ring[place & (length - 1)]
    this.#ring = grown
  }
}

/** A first-in first-out queue of deliveries. */
export class DeliveryQueue {
  #items: Delivery[] = []
  #head = 0
  bytes = 0

  get size(): number {
    return this.#items.length - this.#head
  }

  push(delivery: Delivery): void {
    this.#items.push(delivery)
    this.bytes += delivery.message?.payload.length ?? 0
  }

  peek(): Delivery | undefined {
    return this.#items[this.#head]
  }

  shift(): Delivery | undefined {
    const first = this.#items[this.#head]
    if (first === undefined) return undefined
    this.#items[this.#head++] = undefined as unknown as Delivery
    this.bytes -= first.message?.payload.length ?? 0
    if (this.#head === this.#items.length) {
      this.#items = []
      this.#head = 0
    } else if (this.#head > 64 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return first
  }

  /** Keeps those that `keep` says to, in order. */
  filter(keep: (delivery: Delivery) => boolean): void {
    this.#items = this.#items.slice(this.#head).filter(keep)
    this.#head = 0
    this.bytes = this.#items.reduce((sum, { message }) => sum + (message?.payload.length ?? 0), 0)
  }

  *[Symbol.iterator](): Iterator<Delivery> {
    for (let i = this.#head; i < this.#items.length; i++) yield this.#items[i] as Delivery
  }
}
