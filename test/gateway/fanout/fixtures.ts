/** Parts that the fan-out's tests share: messages, subscribers that remember, a clock and a turn that the test owns. */

import type { Log } from '../../../gateway/fanout/log.js'
import type { Clock, Message, MessageProperties, Subscriber, SubscriptionOptions } from '../../../gateway/ports.js'

export const silent: Log = { info: () => {}, warn: () => {}, error: () => {} }

export function options(partial: Partial<SubscriptionOptions> = {}): SubscriptionOptions {
  return { qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0, ...partial }
}

interface MessageParts {
  qos?: 0 | 1 | 2
  retain?: boolean
  publisher?: string
  properties?: MessageProperties
  at?: number
}

export function message(topic: string, payload: string, parts: MessageParts = {}): Message {
  return {
    topic,
    payload: new TextEncoder().encode(payload),
    qos: parts.qos ?? 0,
    retain: parts.retain ?? false,
    publisher: parts.publisher ?? '',
    properties: parts.properties,
    at: parts.at ?? 1_700_000_000_000,
    encoded: new Map(),
  }
}

export interface Delivery {
  topic: string
  payload: string
  qos: number
  retain: boolean
  ids: readonly number[] | undefined
}

/** A subscriber that remembers what it got. */
export class Recorder implements Subscriber {
  readonly device: string
  available = true
  readonly got: Delivery[] = []
  #waiting: { count: number; resolve: () => void }[] = []

  constructor(device: string) {
    this.device = device
  }

  get payloads(): string[] {
    return this.got.map((delivery) => delivery.payload)
  }

  deliver(message: Message, qos: 0 | 1 | 2, retain: boolean, ids: readonly number[] | undefined): void {
    this.got.push({ topic: message.topic, payload: Buffer.from(message.payload).toString(), qos, retain, ids })
    for (const waiter of this.#waiting) if (this.got.length >= waiter.count) waiter.resolve()
  }

  /** Resolves when this many deliveries have come. */
  async reach(count: number): Promise<void> {
    if (this.got.length >= count) return
    await new Promise<void>((resolve) => this.#waiting.push({ count, resolve }))
  }
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after: (ms, fn) => {
    const timer = setTimeout(fn, ms)
    return () => clearTimeout(timer)
  },
}

/** Resolves when `check` holds; looks every 5 ms. Fails after `ms`. */
export async function until(check: () => boolean, what: string, ms = 5000): Promise<void> {
  const end = Date.now() + ms
  while (!check()) {
    if (Date.now() > end) throw new Error(`still waiting for: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Event-loop turns that happen when the test says so. */
export class ManualTurns {
  #next: (() => void)[] = []
  readonly turn = (fn: () => void): void => void this.#next.push(fn)

  get waiting(): boolean {
    return this.#next.length > 0
  }

  run(): void {
    const now = this.#next
    this.#next = []
    for (const fn of now) fn()
  }

  runAll(): number {
    let turns = 0
    while (this.waiting) {
      this.run()
      turns++
    }
    return turns
  }
}
