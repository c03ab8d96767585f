/** Node writes a longer text with an allocation. */
const MOST_TEXT = 16 * 1024

/** A packet that goes to many sockets as it is. */
export class SharedBytes {
  #text: string | undefined
  #asked = false

  /** @param bytes nobody changes them any more */
  constructor(readonly bytes: Buffer) {}

  /**
   * The bytes as characters of Latin-1, once a second socket asks: Node writes a string with less ado than a view
   * (docs/benchmarks.md). Undefined for the first one, and where a string is no cheaper.
   */
  get text(): string | undefined {
    if (this.#text === undefined && this.#asked && this.bytes.length <= MOST_TEXT)
      this.#text = this.bytes.toString('latin1')
    this.#asked = true
    return this.#text
  }
}
