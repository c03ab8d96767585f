/**
 * Confirms workers' frames cumulatively although clients acknowledge out of order: a seq counts only when all before
 * it do.
 */
export class DownlinkAcks {
  readonly #open: number[] = []
  readonly #done = new Set<number>()
  #last = 0

  /** A frame is on its way to the client. Seqs rise. */
  sent(seq: number): void {
    this.#open.push(seq)
    this.#last = seq
  }

  /** @returns the seq up to which everything is confirmed now, 0 when that did not change */
  confirmed(seq: number): number {
    this.#done.add(seq)
    const before = this.#open.length
    while (this.#open.length > 0 && this.#done.delete(this.#open[0] as number)) this.#open.shift()
    if (this.#open.length === before) return 0
    return this.#open.length === 0 ? this.#last : (this.#open[0] as number) - 1
  }
}
