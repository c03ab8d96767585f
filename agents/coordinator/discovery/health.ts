/** When checks of a worker make it healthy, and when unhealthy. Pure. */

/** How workers are checked. */
export interface HealthOptions {
  /** From the end of a check to the next, in milliseconds. While a change is in the air it is a quarter of it. */
  readonly intervalMs: number
  /** From dialling to the answer of the PING, in milliseconds. */
  readonly timeoutMs: number
  /** Checks in a row that have to pass before an unhealthy worker is healthy. */
  readonly healthy: number
  /** Checks in a row that have to fail before a healthy worker is unhealthy. */
  readonly unhealthy: number
}

/**
 * A hung worker is found within 2.9 s (1000 + 800 + 250 + 800), under the promise of 3 s. One that was killed is checked
 * as soon as a gateway's link to it breaks, and found 250 ms later.
 */
export const DEFAULT_HEALTH: HealthOptions = { intervalMs: 1000, timeoutMs: 800, healthy: 2, unhealthy: 2 }

/** `unknown` until the first check is over. */
export type HealthState = 'unknown' | 'healthy' | 'unhealthy'

/** Counts in a row. The first check decides alone, so that a coordinator that starts has its workers at once. */
export class Health {
  state: HealthState = 'unknown'
  readonly #thresholds: Pick<HealthOptions, 'healthy' | 'unhealthy'>
  #against = 0

  constructor(thresholds: Pick<HealthOptions, 'healthy' | 'unhealthy'>) {
    this.#thresholds = thresholds
  }

  /** True between the first check that speaks against the state and the one that changes it. */
  get inDoubt(): boolean {
    return this.#against > 0
  }

  passed(): void {
    this.#count('healthy')
  }

  failed(): void {
    this.#count('unhealthy')
  }

  /** What was counted belonged to somebody else: unhealthy, until enough checks pass. */
  distrust(): void {
    this.state = 'unhealthy'
    this.#against = 0
  }

  #count(to: 'healthy' | 'unhealthy'): void {
    if (this.state === to) this.#against = 0
    else if (this.state === 'unknown' || ++this.#against >= this.#thresholds[to]) {
      this.state = to
      this.#against = 0
    }
  }
}
