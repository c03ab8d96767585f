/** When the state is written: soon after tables, at once where somebody waits for it. */

import type { Clock, Log } from './clock.js'
import { type CoordinatorState, Store } from './store.js'

/** Tables within this time are one write, in milliseconds. What a crash loses of them, gateways still have. */
const SOON_MS = 200

/** Writes to a directory, or nowhere. */
export class StateKeeper {
  readonly #store: Store | undefined
  readonly #clock: Clock
  readonly #log: Log
  #cancelTimer: (() => void) | undefined

  /** @param directory undefined keeps nothing */
  constructor(directory: string | undefined, snapshot: () => CoordinatorState, clock: Clock, log: Log) {
    this.#store = directory === undefined ? undefined : new Store(directory, snapshot)
    this.#clock = clock
    this.#log = log
  }

  /** Within a moment. A failure is logged; the next change tries again. */
  saveSoon(): void {
    if (this.#store === undefined || this.#cancelTimer !== undefined) return
    this.#cancelTimer = this.#clock.after(SOON_MS, () => {
      this.#cancelTimer = undefined
      this.save().catch((error: unknown) => this.#log.error({ error: String(error) }, 'the state could not be written'))
    })
  }

  /** Resolves when it is on disk. @throws the error of the file system */
  async save(): Promise<void> {
    await this.#store?.save()
  }

  /** Writes once more, behind any write that is under way: after it nothing touches the directory. */
  async close(): Promise<void> {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    await this.save()
  }
}
