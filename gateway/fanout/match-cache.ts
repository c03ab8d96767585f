/**
 * What was matched lately, bounded. Two generations: a full young one becomes the old one, whatever is asked for again
 * moves to the young one. Evicting the oldest key of a single Map instead would scan its deleted entries each time.
 */
export class MatchCache<V> {
  #young = new Map<string, V>()
  #old = new Map<string, V>()
  readonly #limit: number
  readonly #longest: number

  /**
   * @param limit entries of both generations together
   * @param longest keys above this length are not kept: the cache must not become a store of 64 KiB topics
   */
  constructor(limit: number, longest: number) {
    this.#limit = limit >> 1
    this.#longest = longest
  }

  get(key: string): V | undefined {
    const young = this.#young.get(key)
    if (young !== undefined || this.#old.size === 0) return young
    const old = this.#old.get(key)
    if (old !== undefined) this.set(key, old)
    return old
  }

  set(key: string, value: V): void {
    if (key.length > this.#longest || this.#limit === 0) return
    if (this.#young.size >= this.#limit) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, value)
  }

  delete(key: string): void {
    this.#young.delete(key)
    this.#old.delete(key)
  }

  clear(): void {
    if (this.#young.size > 0) this.#young = new Map()
    if (this.#old.size > 0) this.#old = new Map()
  }
}
