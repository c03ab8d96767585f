/** Acknowledged frames to a device that it has not confirmed yet. Made on the first such frame of a session. */

interface Kept {
  readonly seq: number
  readonly bytes: Uint8Array
}

export class DownlinkWindow {
  #frames: Kept[] = []
  #head = 0
  #bytes = 0

  get size(): number {
    return this.#frames.length - this.#head
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Keeps an encoded frame; `seq` must be above all earlier ones. */
  push(seq: number, bytes: Uint8Array): void {
    this.#frames.push({ seq, bytes })
    this.#bytes += bytes.length
  }

  /** Forgets everything up to `seq`. */
  ack(seq: number): void {
    const frames = this.#frames
    while (this.#head < frames.length) {
      const { seq: at, bytes } = frames[this.#head] as Kept
      if (at > seq) break
      this.#bytes -= bytes.length
      this.#head++
    }
    if (this.#head === frames.length || this.#head >= 64) {
      frames.splice(0, this.#head)
      this.#head = 0
    }
  }

  /** Visits, in order, what is kept above `seq`. */
  visitAfter(seq: number, visit: (bytes: Uint8Array, seq: number) => void): void {
    for (let i = this.#head; i < this.#frames.length; i++) {
      const kept = this.#frames[i] as Kept
      if (kept.seq > seq) visit(kept.bytes, kept.seq)
    }
  }
}
