/**
 * Outlier ejection: a worker that fails again and again is passed over for a while, longer each time. Never more than a
 * set share of a pool at once, so that a fault they all have in common does not empty it.
 */

export interface OutlierOptions {
  /** Failures in a row that eject. */
  readonly consecutive: number
  /** Length of the first ejection, milliseconds; the n-th lasts n times as long. */
  readonly baseMs: number
  readonly maxMs: number
  /** Part of a pool that may be ejected at once, 0 to 1, rounded down. */
  readonly maxShare: number
  /** After this long without an ejection, one of the earlier ones is forgiven; milliseconds. */
  readonly forgiveMs: number
}

export const DEFAULT_OUTLIER: OutlierOptions = {
  consecutive: 5,
  baseMs: 5_000,
  maxMs: 300_000,
  maxShare: 0.5,
  forgiveMs: 60_000,
}

interface History {
  failures: number
  ejections: number
  /** When the present ejection ends, or the last one ended. */
  until: number
}

/** The histories of one pool's workers. Time is passed in. */
export class OutlierDetector {
  readonly #options: OutlierOptions
  readonly #histories = new Map<string, History>()

  constructor(options: Partial<OutlierOptions> = {}) {
    this.#options = { ...DEFAULT_OUTLIER, ...options }
  }

  /** A session was accepted, or answered: the row of failures ends. */
  success(id: string): void {
    const history = this.#histories.get(id)
    if (history !== undefined) history.failures = 0
  }

  /**
   * An attach timed out or was refused.
   * @param poolSize workers that the pool could use if none were ejected
   * @returns true when this failure ejects the worker
   */
  failure(id: string, now: number, poolSize: number): boolean {
    const history = this.#historyOf(id)
    // What arrives while it is ejected was sent before: it proves nothing new.
    if (history.until > now) return false
    history.failures++
    if (history.failures < this.#options.consecutive) return false
    if (this.ejectedCount(now) >= Math.floor(poolSize * this.#options.maxShare)) return false
    this.#forgive(history, now)
    history.failures = 0
    history.ejections++
    history.until = now + Math.min(this.#options.maxMs, this.#options.baseMs * history.ejections)
    return true
  }

  isEjected(id: string, now: number): boolean {
    return (this.#histories.get(id)?.until ?? 0) > now
  }

  ejectedCount(now: number): number {
    let count = 0
    for (const { until } of this.#histories.values()) if (until > now) count++
    return count
  }

  /** Forgets workers that the pool does not have any more. */
  keepOnly(ids: ReadonlySet<string>): void {
    for (const id of this.#histories.keys()) if (!ids.has(id)) this.#histories.delete(id)
  }

  #forgive(history: History, now: number): void {
    if (history.ejections === 0) return
    const calm = Math.floor((now - history.until) / this.#options.forgiveMs)
    history.ejections = Math.max(0, history.ejections - calm)
  }

  #historyOf(id: string): History {
    let history = this.#histories.get(id)
    if (history === undefined) {
      history = { failures: 0, ejections: 0, until: 0 }
      this.#histories.set(id, history)
    }
    return history
  }
}
