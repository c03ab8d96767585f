import { SluiceError } from '../../../proto/errors.js'
import type { Clock } from '../../ports.js'

export interface AdmissionOptions {
  /** Connections at the same time; no limit when absent. */
  readonly maxConnections?: number
  /** Sustained rate; up to one second's worth may come at once. No limit when absent. */
  readonly connectsPerSecond?: number
}

/** Longest wait that a refused device is told, milliseconds. */
const MAX_RETRY_MS = 30_000
const FULL_RETRY_MS = 5_000

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
  connections = 0

  /** @param random in [0, 1) */
  constructor(options: AdmissionOptions, clock: Clock, random: () => number) {
    this.#clock = clock
    this.#random = random
    this.#max = options.maxConnections ?? Number.POSITIVE_INFINITY
    this.#rate = options.connectsPerSecond ?? Number.POSITIVE_INFINITY
    this.#tokens = this.#rate
    this.#refilled = clock.now()
  }

  /** @throws SluiceError `overloaded` with a jittered `retryAfterMs` */
  admit(): void {
    if (this.connections >= this.#max)
      throw this.#refusal(`this gateway holds ${this.#max} connections already`, FULL_RETRY_MS)
    if (this.#rate === Number.POSITIVE_INFINITY) return
    this.#refill()
    if (this.#tokens < 1) {
      this.#waiting++
      const queueMs = (this.#waiting / this.#rate) * 1000
      throw this.#refusal(`more than ${this.#rate} connects a second`, Math.min(MAX_RETRY_MS, 1000 + queueMs))
    }
    this.#tokens--
  }

  #refill(): void {
    const now = this.#clock.now()
    const earned = ((now - this.#refilled) / 1000) * this.#rate
    this.#tokens = Math.min(this.#rate, this.#tokens + earned)
    this.#waiting = Math.max(0, this.#waiting - earned)
    this.#refilled = now
  }

  /** Between half of `ms` and one and a half, so that those who came together do not come back together. */
  #refusal(message: string, ms: number): SluiceError {
    return new SluiceError('overloaded', message, { retryAfterMs: Math.round(ms * (0.5 + this.#random())) })
  }
}
