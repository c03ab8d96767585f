/**
 * The way out for messages that must not be lost (nats-outbox.ts), in order: they go out at once while NATS is there. After
 * it was away they wait until the gateways that were there before have spoken again, since NATS keeps nothing for those
 * that are not subscribed; and a gateway that says that it was away gets again what it missed.
 */

import type { Clock } from '../ports.js'
import type { FanoutCounters } from './counters.js'
import type { Log } from './log.js'
import { Outbox, type OutboxLimits } from './nats-outbox.js'

export interface LanePort {
  readonly clock: Clock
  readonly counters: FanoutCounters
  readonly log: Log
  /** Publishes below the prefix; false when that has to be tried again later. */
  readonly publish: (subject: string, data: Uint8Array) => boolean
  readonly limits?: Partial<OutboxLimits>
}

/** Longest that the gateways which were there before are waited for. */
export const AWAIT_MS = 1500
/** A gateway that was not heard of for so long before NATS went away is not waited for. */
const RECENT_MS = 10_000
/** Several gateways that come back together get what they missed together. */
const GATHER_MS = 50
/** What was on its way when a gateway heard something last. */
const SLACK_MS = 500

export class NatsLane {
  readonly #port: LanePort
  readonly #outbox: Outbox
  /** When each gateway was heard of last. */
  readonly #heard = new Map<string, number>()
  /** Gateways that have not spoken since NATS is back. */
  readonly #awaited = new Set<string>()
  #up = false
  /** Ends the wait, where there is one. */
  #held: (() => void) | undefined

  constructor(port: LanePort) {
    this.#port = port
    this.#outbox = new Outbox(port.limits)
  }

  /** To be given to {@link taken} when the server has taken what was published so far. */
  get mark(): number {
    return this.#outbox.next
  }

  get waiting(): number {
    return this.#outbox.waiting
  }

  send(subject: string, data: Uint8Array): void {
    const { counters, clock, log } = this.#port
    const late = this.#outbox.waiting > 0
    const dropped = this.#outbox.add({ subject, data, at: clock.now() })
    if (dropped > 0) {
      if (counters.busDroppedQueue === 0) log.warn({}, 'too much waits for NATS: the oldest messages are dropped')
      counters.busDroppedQueue += dropped
    }
    this.#pump(late)
  }

  /** The server took everything before `mark`, and takes more. */
  taken(mark: number): void {
    this.#outbox.confirm(mark)
    this.#pump(true)
  }

  connected(): void {
    this.#up = true
    if (this.#awaited.size > 0) this.#hold(AWAIT_MS)
    else this.#pump(true)
  }

  disconnected(): void {
    this.#up = false
    this.#release()
    this.#outbox.disconnected()
    const recent = this.#port.clock.now() - RECENT_MS
    this.#awaited.clear()
    for (const [gateway, at] of this.#heard) if (at >= recent) this.#awaited.add(gateway)
    this.#count()
  }

  /** A gateway is connected to NATS, and subscribed; `awayMs` when it heard nothing for so long before. */
  spoke(gateway: string, awayMs: number | undefined): void {
    const now = this.#port.clock.now()
    this.#heard.set(gateway, now)
    if (awayMs !== undefined) this.#missed(gateway, awayMs, now)
    if (this.#awaited.delete(gateway) && this.#awaited.size === 0) this.#go()
  }

  /** A gateway is gone for good. */
  left(gateway: string): void {
    this.#heard.delete(gateway)
    if (this.#awaited.delete(gateway) && this.#awaited.size === 0) this.#go()
  }

  #missed(gateway: string, awayMs: number, now: number): void {
    if (!this.#outbox.rewind(now - awayMs - SLACK_MS))
      this.#port.log.warn({ gateway, awayMs }, 'it was away for longer than messages are kept: it misses some')
    if (this.#up && this.#held === undefined) this.#hold(GATHER_MS)
  }

  #hold(ms: number): void {
    this.#held = this.#port.clock.after(ms, () => this.#go())
  }

  #release(): void {
    this.#held?.()
    this.#held = undefined
  }

  #go(): void {
    this.#release()
    this.#awaited.clear()
    this.#pump(true)
  }

  #pump(late: boolean): void {
    const { publish, counters } = this.#port
    while (this.#up && this.#held === undefined) {
      const next = this.#outbox.take()
      if (next === undefined) break
      if (!publish(next.subject, next.data)) {
        this.#outbox.giveBack()
        break
      }
      if (late) counters.busSentLate++
    }
    this.#count()
  }

  #count(): void {
    this.#port.counters.busQueued = this.#outbox.waiting
  }
}
