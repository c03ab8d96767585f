/** The rhythm of a source: ask, wait as long as the answer says, ask again; back off while it is away, and say so once. */

import type { SourceContext } from './discovery.js'

/** Waits after failures, in milliseconds: half to whole of a doubling ceiling. */
const BACKOFF = { first: 500, most: 15_000 } as const

/** One question; resolves to the milliseconds until the next. Ends early, by an error, when the signal says so. */
export type Attempt = (signal: AbortSignal) => Promise<number>

/** Asks until it is closed. */
export class SourceLoop {
  readonly #name: string
  readonly #context: SourceContext
  readonly #attempt: Attempt
  readonly #stop = new AbortController()
  #failures = 0
  #problem: string | undefined
  #running: Promise<void> | undefined

  constructor(name: string, context: SourceContext, attempt: Attempt) {
    this.#name = name
    this.#context = context
    this.#attempt = attempt
  }

  /** Why the last attempt failed, undefined when it did not. */
  get problem(): string | undefined {
    return this.#problem
  }

  start(): void {
    this.#running ??= this.#run()
  }

  /** Resolves when nothing runs any more. */
  async close(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      const waitMs = await this.#once(signal)
      if (waitMs > 0 && !signal.aborted) await this.#sleep(waitMs, signal)
    }
  }

  async #once(signal: AbortSignal): Promise<number> {
    const { log, random } = this.#context
    try {
      const waitMs = await this.#attempt(signal)
      if (this.#failures > 0) log.info({ source: this.#name }, `${this.#name} answers again`)
      this.#failures = 0
      this.#problem = undefined
      return waitMs
    } catch (error) {
      if (signal.aborted) return 0
      const reason = reasonOf(error)
      this.#problem = reason
      if (this.#failures++ === 0) {
        log.warn({ source: this.#name, reason }, `${this.#name} gives no usable answer; the workers known from it stay`)
      }
      const ceiling = Math.min(BACKOFF.most, BACKOFF.first * 2 ** Math.min(this.#failures - 1, 10))
      return ceiling * (0.5 + random() / 2)
    }
  }

  #sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        signal.removeEventListener('abort', done)
        cancel()
        resolve()
      }
      const cancel = this.#context.clock.after(ms, done)
      signal.addEventListener('abort', done)
    })
  }
}

/** fetch says only "fetch failed"; the reason is its cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { cause } = error
  const inner =
    cause instanceof Error ? (cause.message === '' ? (cause as NodeJS.ErrnoException).code : cause.message) : undefined
  return inner === undefined ? error.message : `${error.message}: ${inner}`
}
