/** One write at a time; who asks during a write shares the next one. */
export class SaveQueue {
  readonly #write: () => Promise<void>
  #writing: Promise<void> | undefined
  #next: Promise<void> | undefined

  /** @param write writes the state as it is when called */
  constructor(write: () => Promise<void>) {
    this.#write = write
  }

  /** Resolves when a state at least as new as now is written. */
  save(): Promise<void> {
    if (this.#writing === undefined) {
      this.#writing = this.#write().finally(() => {
        this.#writing = undefined
      })
      return this.#writing
    }
    this.#next ??= this.#writing
      .catch(() => {})
      .then(() => {
        this.#next = undefined
        return this.save()
      })
    return this.#next
  }
}
