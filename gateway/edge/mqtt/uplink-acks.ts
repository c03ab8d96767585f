/**
 * Packet identifiers whose PUBACK or PUBREC waits until a worker processed the message. Seqs are consecutive, so a
 * position is enough. Made with the first one.
 */
export class UplinkAcks {
  #entries: number[] = []
  #head = 0
  /** Seq of the entry at #head. */
  #seq = 0

  get size(): number {
    return this.#entries.length - this.#head
  }

  /** @param reason what the acknowledgement will say */
  push(seq: number, packetId: number, qos: 1 | 2, reason: number): void {
    if (this.size === 0) {
      this.#entries = []
      this.#head = 0
      this.#seq = seq
    }
    this.#entries.push(packetId | (qos << 16) | (reason << 18))
  }

  /** Takes everything up to `seq`, oldest first. */
  upTo(seq: number, each: (packetId: number, qos: 1 | 2, reason: number) => void): void {
    while (this.#head < this.#entries.length && this.#seq <= seq) {
      const entry = this.#entries[this.#head++] as number
      this.#seq++
      each(entry & 0xffff, ((entry >> 16) & 3) as 1 | 2, (entry >> 18) & 0xff)
    }
    if (this.#head > 256 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head)
      this.#head = 0
    }
  }

  /** Makes the entry of this seq one that {@link upTo} shows with packet identifier 0. */
  forget(seq: number): void {
    if (this.at(seq) !== undefined) this.#entries[this.#head + seq - this.#seq] = 0
  }

  /** The entry of exactly this seq, without taking it. */
  at(seq: number): { packetId: number; qos: 1 | 2 } | undefined {
    const entry = this.#entries[this.#head + seq - this.#seq]
    if (entry === undefined || seq < this.#seq) return undefined
    return { packetId: entry & 0xffff, qos: ((entry >> 16) & 3) as 1 | 2 }
  }
}
