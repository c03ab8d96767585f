/** The shared store in memory, with the failures that a real one has. */

import type { SharedKeys, SharedValue } from '../../../../agents/coordinator/ha/shared-keys.js'
import { SluiceError } from '../../../../proto/errors.js'

export class MemoryKeys implements SharedKeys {
  readonly maxBytes: number
  readonly values = new Map<string, SharedValue>()
  /** Every call fails while it is true. */
  away = false
  /** The next write is made, and its answer lost. */
  losesAnswer = false
  #revision = 0

  constructor(maxBytes = 1024 * 1024) {
    this.maxBytes = maxBytes
  }

  async get(key: string): Promise<SharedValue | undefined> {
    this.#check()
    return this.values.get(key)
  }

  async put(key: string, value: Uint8Array, revision?: number): Promise<number> {
    this.#check()
    if (value.length > this.maxBytes + 1024) throw new Error(`a value of ${value.length} bytes is too large`)
    if (revision !== undefined && (this.values.get(key)?.revision ?? 0) !== revision)
      throw new SluiceError('conflict', `${key} was changed`)
    this.values.set(key, { value: Uint8Array.from(value), revision: ++this.#revision })
    if (this.losesAnswer) {
      this.losesAnswer = false
      throw new SluiceError('unavailable', 'no answer', { retryAfterMs: 1000 })
    }
    return this.#revision
  }

  async remove(prefix: string): Promise<void> {
    this.#check()
    for (const key of this.values.keys()) if (key.startsWith(`${prefix}.`)) this.values.delete(key)
  }

  #check(): void {
    if (this.away) throw new SluiceError('unavailable', 'the store is away', { retryAfterMs: 1000 })
  }
}
