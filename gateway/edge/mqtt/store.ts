/**
 * A small ordered key-value store that outlives the process. Writes are noted and become durable together, with
 * {@link Store.commit}: one transaction for a turn of the event loop, however many sessions it touched.
 */
export interface Store {
  put(key: string, value: Uint8Array): void
  delete(key: string): void
  /** What was noted survives a kill -9 of the process when this returns. */
  commit(): void
  /** Committed entries whose key starts with `prefix`, in the order of their keys. */
  entries(prefix: string): Iterable<readonly [key: string, value: Uint8Array]>
  close(): Promise<void>
}

/** Where a fan-out keeps its retained messages; the shape that `gateway/fanout` asks for. */
export interface RetainedEntries {
  load(): Iterable<readonly [topic: string, envelope: Uint8Array]>
  put(topic: string, envelope: Uint8Array): void
  delete(topic: string): void
}

/** @param hash turns a topic that is too long for a key into a short text without collisions (SHA-256, for instance) */
export function createRetainedEntries(store: Store, hash: (topic: string) => string): RetainedEntries {
  const keyOf = (topic: string): string => (topic.length <= 400 ? `r/${topic}` : `R/${hash(topic)}`)
  return {
    *load() {
      for (const prefix of ['r/', 'R/']) {
        for (const [, value] of store.entries(prefix)) {
          const bytes = Buffer.from(value.buffer, value.byteOffset, value.length)
          const end = 2 + bytes.readUInt16BE(0)
          yield [bytes.toString('utf8', 2, end), Uint8Array.from(bytes.subarray(end))]
        }
      }
    },
    put(topic, envelope) {
      const length = Buffer.byteLength(topic)
      const value = Buffer.allocUnsafe(2 + length + envelope.length)
      value.write(topic, value.writeUInt16BE(length, 0))
      value.set(envelope, 2 + length)
      store.put(keyOf(topic), value)
    },
    delete(topic) {
      store.delete(keyOf(topic))
    },
  }
}
