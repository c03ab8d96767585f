import { createHistogram } from 'node:perf_hooks'

/** Milliseconds. */
export interface Quantiles {
  readonly p50: number
  readonly p99: number
  readonly max: number
  readonly count: number
}

/** Milliseconds, with a resolution of microseconds. */
export class Times {
  readonly #histogram = createHistogram()

  add(ms: number): void {
    this.#histogram.record(Math.max(1, Math.round(ms * 1000)))
  }

  get quantiles(): Quantiles {
    const at = (p: number) => Math.round(this.#histogram.percentile(p) / 10) / 100
    const { count, max } = this.#histogram
    return { p50: at(50), p99: at(99), max: Math.round(max / 10) / 100, count }
  }
}
