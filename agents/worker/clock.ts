/** Time, passed in so that tests own it. */
export interface Clock {
  /** Milliseconds that never go back. */
  now(): number
  /** Calls `fn` once after `ms`; the returned function cancels it. The wait never keeps the process alive. */
  after(ms: number, fn: () => void): () => void
}

/** The machine's own time. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, fn) {
    const timer = setTimeout(fn, ms)
    timer.unref()
    return () => clearTimeout(timer)
  },
}
