import { SluiceError } from '../../../proto/errors.js'
import type { Clock } from '../../ports.js'

export interface AdmissionOptions {
  /** Connections at the same time; no limit when absent. */
  readonly maxConnections?: number
  /** Sustained rate; up to one second's worth may come at once. No limit when absent. */
  readonly connectsPerSecond?: number
  /**
   * Milliseconds that the event loop may lag before a storm of connects is held back; 1000 when absent. It keeps the
   * gateway's other devices served, whatever the machine can take.
   */
  readonly maxLagMs?: number
}

/** Longest wait that a refused device is told, milliseconds. */
const MAX_RETRY_MS = 30_000
const FULL_RETRY_MS = 5_000
/** Fewer connects within a second are no storm, however slow the machine is at the moment. */
const STORM_CONNECTS = 500
/** How many devices a second come back when a storm was held back: about half of what one core was measured to take. */
const STORM_RATE = 2_000
const TICK_MS = 20

/**
 * Who may connect now: a bucket of tokens that fills at the permitted rate. After a gateway or a network comes back, its
 * devices come all at once; those that are refused come again spread over the time that the queue takes.
 */
export class Admission {
  readonly #clock: Clock
  readonly #random: () => number
  readonly #max: number
  readonly #rate: number
  #tokens: number
  #refilled: number
  /** Connects that were refused and are expected again. */
  #waiting = 0
  readonly #maxLagMs: number
  /** Connects admitted within the last second or so. */
  #recent = 0
  #recentSince: number
  /** When the loop last came round, and how late; measured while devices connect. */
  #tickAt = 0
  #lag = 0
  #ticking = false
  #seen = false
  connections = 0

  /** @param random in [0, 1) */
  constructor(options: AdmissionOptions, clock: Clock, random: () => number) {
    this.#clock = clock
    this.#random = random
    this.#max = options.maxConnections ?? Number.POSITIVE_INFINITY
    this.#rate = options.connectsPerSecond ?? Number.POSITIVE_INFINITY
    this.#maxLagMs = options.maxLagMs ?? 1000
    this.#recentSince = clock.now()
    this.#tokens = this.#rate
    this.#refilled = clock.now()
  }

  /** @throws SluiceError `overloaded` with a jittered `retryAfterMs` */
  admit(): void {
    const refusal = this.refusal()
    if (refusal !== undefined) {
      this.#waiting++
      throw refusal
    }
    this.#tokens--
    this.#recent++
  }

  /** What a device that came now would be told; undefined when it would be admitted. */
  refusal(): SluiceError | undefined {
    if (this.connections >= this.#max)
      return this.#refusal(`this gateway holds ${this.#max} connections already`, FULL_RETRY_MS)
    this.#refill()
    this.#watch()
    if (this.#tokens < 1) return this.#later(`more than ${this.#rate} connects a second`, this.#rate)
    if (this.#recent >= STORM_CONNECTS && this.#lagNow() > this.#maxLagMs)
      return this.#later('more devices connect than this gateway can take now', STORM_RATE)
    return undefined
  }

  #later(message: string, perSecond: number): SluiceError {
    const queueMs = ((this.#waiting + 1) / perSecond) * 1000
    return this.#refusal(message, Math.min(MAX_RETRY_MS, 1000 + queueMs))
  }

  #lagNow(): number {
    return Math.max(this.#lag, this.#clock.now() - this.#tickAt - TICK_MS)
  }

  /** Measures the lag of the loop for as long as devices connect. */
  #watch(): void {
    this.#seen = true
    if (this.#ticking) return
    this.#ticking = true
    this.#lag = 0
    const tick = () => {
      this.#tickAt = this.#clock.now()
      this.#seen = false
      this.#clock.after(TICK_MS, () => {
        this.#lag = Math.max(0, this.#clock.now() - this.#tickAt - TICK_MS)
        this.#ticking = this.#seen
        if (this.#seen) tick()
      })
    }
    tick()
  }

  #refill(): void {
    const now = this.#clock.now()
    const seconds = (now - this.#refilled) / 1000
    this.#waiting = Math.max(
      0,
      this.#waiting - seconds * (this.#rate < Number.POSITIVE_INFINITY ? this.#rate : STORM_RATE),
    )
    // Without a rate there are as many tokens as anybody wants.
    if (this.#rate < Number.POSITIVE_INFINITY) this.#tokens = Math.min(this.#rate, this.#tokens + seconds * this.#rate)
    this.#refilled = now
    if (now - this.#recentSince >= 1000) {
      this.#recent = 0
      this.#recentSince = now
    }
  }

  /** Between half of `ms` and one and a half, so that those who came together do not come back together. */
  #refusal(message: string, ms: number): SluiceError {
    return new SluiceError('overloaded', message, { retryAfterMs: Math.round(ms * (0.5 + this.#random())) })
  }
}
