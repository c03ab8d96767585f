/**
 * What several coordinators share, as the election and the store see it: a few small values, each replaced by
 * compare-and-set. NATS JetStream KV is behind it (`nats-store.ts`); etcd would fit as well.
 */

/** A value, and the number of the write that made it. */
export interface SharedValue {
  readonly value: Uint8Array
  /** Above 0; grows with every write. */
  readonly revision: number
}

/** Values by key. Keys are words of letters and digits with dots between. */
export interface SharedKeys {
  /** Largest value, in bytes. */
  readonly maxBytes: number
  /**
   * The newest value, undefined when there is none.
   * @throws SluiceError `unavailable` while the store elects or cannot be reached: trying again can help
   */
  get(key: string): Promise<SharedValue | undefined>
  /**
   * @param revision what it replaces; 0: nothing. Without it: whatever is there
   * @returns the new revision
   * @throws SluiceError `conflict` when something else is there; `unavailable` as {@link get}, and then the write may
   * have been made all the same, or be made later
   */
  put(key: string, value: Uint8Array, revision?: number): Promise<number>
  /** Removes every key that begins with these words. @throws SluiceError `unavailable` */
  remove(prefix: string): Promise<void>
}

/**
 * A store that coordinators share. Lease and state are keys of the same one: whoever could renew the lease just now can write
 * the state as well, also while a store of several servers elects.
 */
export interface SharedStore {
  readonly keys: SharedKeys
  /** False while it is known not to be reachable: a write would fail. */
  readonly up: boolean
  close(): Promise<void>
}
