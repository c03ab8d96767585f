/** Remembers the UTF-8 bytes of topics: a worker answers on few topics, many times. Bounded. */
export class TopicBytes {
  readonly #known = new Map<string, Uint8Array>()
  readonly #encoder = new TextEncoder()
  readonly #limit: number

  constructor(limit = 1024) {
    this.#limit = limit
  }

  of(topic: string): Uint8Array {
    const known = this.#known.get(topic)
    if (known !== undefined) return known
    // Starting over is cheaper than keeping an order of use, and as good while topics repeat.
    if (this.#known.size >= this.#limit) this.#known.clear()
    const bytes = this.#encoder.encode(topic)
    this.#known.set(topic, bytes)
    return bytes
  }
}
