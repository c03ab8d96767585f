/** Frames that wait, in order, until their binding has an owner again. */

interface Held {
  readonly bytes: Uint8Array
  /** 0: fire and forget. */
  readonly seq: number
}

export class HeldFrames {
  #frames: Held[] = []
  #bytes = 0

  get count(): number {
    return this.#frames.length
  }

  get bytes(): number {
    return this.#bytes
  }

  push(bytes: Uint8Array, seq: number): void {
    this.#frames.push({ bytes, seq })
    this.#bytes += bytes.length
  }

  /** Visits all, in order. */
  each(visit: (bytes: Uint8Array, seq: number) => void): void {
    for (const { bytes, seq } of this.#frames) visit(bytes, seq)
  }

  /**
   * Drops what is fire and forget. Acknowledged frames stay: nobody acknowledged them, so nobody may forget them.
   * @returns how many were dropped
   */
  dropUnacknowledged(): number {
    const before = this.#frames.length
    this.#frames = this.#frames.filter(({ seq }) => seq > 0)
    this.#bytes = this.#frames.reduce((sum, { bytes }) => sum + bytes.length, 0)
    return before - this.#frames.length
  }
}
