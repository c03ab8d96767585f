/**
 * How long to wait before the next attempt: full jitter under a ceiling that doubles, never shorter than a gateway
 * asked for. Pure; milliseconds throughout.
 */
export class Backoff {
  readonly #first: number
  readonly #most: number
  readonly #random: () => number
  #attempts = 0
  #atLeast = 0
  #skip = false

  /** @param random in [0, 1) */
  constructor(first: number, most: number, random: () => number) {
    this.#first = first
    this.#most = most
    this.#random = random
  }

  /** The last attempt was a success: the ceiling starts low again. */
  reset(): void {
    this.#attempts = 0
  }

  /** A gateway said when to come again; at most a minute is believed. */
  notBefore(ms: number): void {
    this.#atLeast = Math.min(60_000, ms)
  }

  /** The connection was given up for a better one: no reason to wait. */
  skipOnce(): void {
    this.#skip = true
  }

  next(): number {
    const skip = this.#skip
    this.#skip = false
    if (skip) return 0
    const ceiling = Math.min(this.#most, this.#first * 2 ** this.#attempts++)
    const wait = this.#atLeast + this.#random() * ceiling
    this.#atLeast = 0
    return wait
  }
}
