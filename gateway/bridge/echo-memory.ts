/**
 * What was sent upstream a moment ago, for brokers that cannot leave out the sender's own messages (MQTT 3.1.1 has no
 * no-local): the first arrival of the same bytes on the same topic is our own, coming back.
 */

import { createHash } from 'node:crypto'

const KEPT_MS = 30_000
const MAX_KEPT = 20_000

interface Sent {
  count: number
  at: number
}

export class EchoMemory {
  readonly #now: () => number
  /** In the order of sending: the oldest first. */
  readonly #sent = new Map<string, Sent>()

  /** @param now milliseconds that never go back */
  constructor(now: () => number) {
    this.#now = now
  }

  remember(topic: string, payload: Uint8Array): void {
    const key = keyOf(topic, payload)
    const count = this.#sent.get(key)?.count ?? 0
    this.#sent.delete(key)
    this.#sent.set(key, { count: count + 1, at: this.#now() })
    this.#forgetOld()
  }

  /** True when this is our own: it is struck off. */
  isEcho(topic: string, payload: Uint8Array): boolean {
    this.#forgetOld()
    const key = keyOf(topic, payload)
    const sent = this.#sent.get(key)
    if (sent === undefined) return false
    if (--sent.count === 0) this.#sent.delete(key)
    return true
  }

  #forgetOld(): void {
    const limit = this.#now() - KEPT_MS
    for (const [key, { at }] of this.#sent) {
      if (at >= limit && this.#sent.size <= MAX_KEPT) return
      this.#sent.delete(key)
    }
  }
}

function keyOf(topic: string, payload: Uint8Array): string {
  return `${createHash('sha1').update(payload).digest('base64')} ${topic}`
}
