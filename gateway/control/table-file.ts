/**
 * The last good routing table on disk, so that a gateway boots and serves without its coordinator.
 *
 *     8 bytes   "SLUICETB"
 *     32 bytes  SHA-256 of what follows
 *     8 bytes   f64 LE, wall clock when a coordinator last stood behind it, milliseconds since 1970
 *     ...       `packTable`
 */

import { createHash } from 'node:crypto'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { SluiceError } from '../../proto/errors.js'
import type { RoutingTable } from '../../proto/table.js'
import { checkTable } from '../../proto/table-check.js'
import { packTable, unpackTable } from '../../proto/table-delta.js'

const MAGIC = Buffer.from('SLUICETB', 'latin1')
const HEAD = MAGIC.length + 32

/** Encodes a table as the file's bytes. */
export function encodeTableFile(table: RoutingTable, wall: number): Buffer {
  const stamp = Buffer.alloc(8)
  stamp.writeDoubleLE(wall)
  const body = Buffer.concat([stamp, packTable(table)])
  return Buffer.concat([MAGIC, createHash('sha256').update(body).digest(), body])
}

/** @throws SluiceError `table_rejected` when the bytes were cut off, tampered with, or hold a table that does not hold together */
export function decodeTableFile(bytes: Buffer): { table: RoutingTable; savedAt: number } {
  if (bytes.length < HEAD + 8 || !bytes.subarray(0, MAGIC.length).equals(MAGIC))
    throw new SluiceError('table_rejected', 'not a routing table file')
  const body = bytes.subarray(HEAD)
  if (!createHash('sha256').update(body).digest().equals(bytes.subarray(MAGIC.length, HEAD)))
    throw new SluiceError('table_rejected', 'its checksum does not hold: half-written or changed by hand')
  const table = unpackTable(body.subarray(8))
  const problems = checkTable(table)
  if (problems.length > 0) throw new SluiceError('table_rejected', problems.join('; '))
  return { table, savedAt: body.readDoubleLE(0) }
}

/** Keeps one table file up to date. Writes are atomic and never overlap; only the newest of several waiting tables is written. */
export class TableFile {
  readonly #path: string
  #next: { readonly table: RoutingTable; readonly wall: number } | undefined
  #writing: Promise<void> | undefined

  constructor(path: string) {
    this.#path = path
  }

  /**
   * The table that was saved last.
   * @returns undefined when there is none
   * @throws SluiceError `table_rejected` naming the file
   */
  async load(): Promise<{ table: RoutingTable; savedAt: number } | undefined> {
    let bytes: Buffer
    try {
      bytes = await readFile(this.#path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
    try {
      return decodeTableFile(bytes)
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new SluiceError('table_rejected', `${this.#path}: ${why}`, { cause })
    }
  }

  /** Saves in the background; resolves when this table or a newer one is on disk. */
  save(table: RoutingTable, wall: number): Promise<void> {
    this.#next = { table, wall }
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined
    })
    return this.#writing
  }

  async #writeAll(): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true })
    for (let next = this.#next; next !== undefined; next = this.#next) {
      this.#next = undefined
      await this.#writeOne(encodeTableFile(next.table, next.wall))
    }
  }

  async #writeOne(bytes: Buffer): Promise<void> {
    const temporary = `${this.#path}.tmp`
    const file = await open(temporary, 'w', 0o600)
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, this.#path)
  }
}
