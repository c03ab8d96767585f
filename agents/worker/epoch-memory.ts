/** Epochs of sessions that left, so that a late ATTACH of a former gateway is still refused. Bounded: the oldest go first. */
export class EpochMemory {
  readonly #epochs = new Map<string, number>()
  readonly #limit: number

  /** @param limit most sessions that are remembered */
  constructor(limit = 65_536) {
    this.#limit = limit
  }

  /** The last epoch of `session`, 0 when it is not known. */
  get(session: string): number {
    return this.#epochs.get(session) ?? 0
  }

  remember(session: string, epoch: number): void {
    const last = Math.max(epoch, this.get(session))
    this.#epochs.delete(session)
    this.#epochs.set(session, last)
    if (this.#epochs.size <= this.#limit) return
    for (const oldest of this.#epochs.keys()) {
      this.#epochs.delete(oldest)
      return
    }
  }

  forget(session: string): void {
    this.#epochs.delete(session)
  }
}
