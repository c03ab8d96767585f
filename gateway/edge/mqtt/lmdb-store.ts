/**
 * {@link Store} on LMDB. Measured on two cores of the development machine, entries of 120 bytes in batches of
 * 1 / 16 / 256, thousand a second: LMDB without fsync 37 / 195 / 317, LMDB with fsync 0.2 / 1.4 / 30, LevelDB
 * (classic-level) without 14 / 36 / 70, with 2 / 17 / 37. A kill -9 of the process loses nothing that was committed
 * either way, since the pages are the kernel's; only a crash of the machine needs fsync.
 */

import { open } from 'lmdb'
import type { Store } from './store.js'

export interface LmdbStoreOptions {
  /**
   * True: every commit waits for the disk (5 to 10 ms here), and a crash of the machine loses nothing either.
   * False: a crash of the machine may lose the last seconds, and in the worst case the store.
   */
  readonly fsync?: boolean
}

/** Opens, or makes, the store at `path`. What nobody commits, it commits itself at the end of the next turn. */
export function createLmdbStore(path: string, options: LmdbStoreOptions = {}): Store {
  return new LmdbStore(path, options.fsync ?? false)
}

class LmdbStore implements Store {
  readonly #db: ReturnType<typeof openDatabase>
  /** undefined: to be deleted. */
  #pending = new Map<string, Uint8Array | undefined>()
  /** A turn later: who commits for an acknowledgement has noted all that belongs together by then. */
  readonly #later = (): void => void setImmediate(() => this.commit())

  constructor(path: string, fsync: boolean) {
    this.#db = openDatabase(path, fsync)
  }

  put(key: string, value: Uint8Array): void {
    this.#note(key, value)
  }

  delete(key: string): void {
    this.#note(key, undefined)
  }

  #note(key: string, value: Uint8Array | undefined): void {
    if (this.#pending.size === 0) setImmediate(this.#later)
    this.#pending.set(key, value)
  }

  commit(): void {
    if (this.#pending.size === 0) return
    const pending = this.#pending
    this.#pending = new Map()
    this.#db.transactionSync(() => {
      for (const [key, value] of pending) {
        if (value === undefined) this.#db.removeSync(key)
        else this.#db.putSync(key, value)
      }
    })
  }

  *entries(prefix: string): Iterable<readonly [string, Uint8Array]> {
    for (const { key, value } of this.#db.getRange({ start: prefix, end: `${prefix}\u{10ffff}` })) {
      yield [key, Uint8Array.from(value)]
    }
  }

  async close(): Promise<void> {
    this.commit()
    await this.#db.close()
  }
}

function openDatabase(path: string, fsync: boolean) {
  return open<Uint8Array, string>({ path, encoding: 'binary', noSync: !fsync, overlappingSync: false })
}
