/** When the state is written: soon after tables, at once where somebody waits for it. */

import type { Clock, Log } from './clock.js'
import type { StateStore } from './store.js'

/** Tables within this time are one write, in milliseconds. What a crash loses of them, gateways still have. */
const SOON_MS = 200
/** Pause before what could not be written is tried again, in milliseconds. */
const RETRY_MS = 1000

/** Writes to a store, or nowhere. */
export class StateKeeper {
  readonly #store: StateStore | undefined
  readonly #clock: Clock
  readonly #log: Log
  #cancelTimer: (() => void) | undefined
  #closed = false

  /** @param store undefined keeps nothing */
  constructor(store: StateStore | undefined, clock: Clock, log: Log) {
    this.#store = store
    this.#clock = clock
    this.#log = log
  }

  /** Within a moment. A failure is logged, and it is tried again. */
  saveSoon(): void {
    this.#saveIn(SOON_MS)
  }

  #saveIn(ms: number): void {
    if (this.#store === undefined || this.#cancelTimer !== undefined || this.#closed) return
    this.#cancelTimer = this.#clock.after(ms, () => {
      this.#cancelTimer = undefined
      this.save().catch((error: unknown) => {
        this.#log.error({ error: String(error) }, 'the state could not be written')
        this.#saveIn(RETRY_MS)
      })
    })
  }

  /** Resolves when it is kept. @throws the error of the store */
  async save(): Promise<void> {
    await this.#store?.save()
  }

  /** Writes once more, behind any write that is under way: after it nothing touches the store. */
  async close(): Promise<void> {
    this.#closed = true
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    await this.save()
  }
}
