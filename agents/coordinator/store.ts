/**
 * The coordinator's state on disk: one file, replaced as a whole.
 *
 *     sluice-state 1 SHA256\n      in ASCII; the digest is of what follows
 *     ...                          msgpack
 *
 * It is written beside, flushed, renamed over the old one, and the directory flushed: after a crash there is the old
 * state or the new one. What does not match its digest is refused, never repaired.
 */

import { createHash } from 'node:crypto'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { packControl, unpackControl } from '../../proto/control.js'
import { SluiceError } from '../../proto/errors.js'
import { readBytes, readList, readNumber, readObject, readText } from '../../proto/fields.js'
import type { RoutingTable } from '../../proto/table.js'
import { checkTable } from '../../proto/table-check.js'
import { packTable, unpackTable } from '../../proto/table-delta.js'
import { readKey, readPolicy, readRoute } from '../../proto/table-fields.js'
import type { Intents } from './fleet.js'
import type { HistoryEntry } from './route-book.js'
import { SaveQueue } from './save-queue.js'
import type { RouteSpec } from './table-builder.js'

/** Name of the file inside the data directory. */
export const STATE_FILE = 'coordinator.state'
const HEADER = /^sluice-state (\d+) ([0-9a-f]{64})\n/
const FORMAT = 1
const HEADER_BYTES = 'sluice-state 1 '.length + 64 + 1

/** Everything that outlives a coordinator. */
export interface CoordinatorState {
  readonly table: RoutingTable
  readonly history: readonly HistoryEntry[]
  readonly intents: Intents
}

/** Where the state is kept: a directory here, or a store that several coordinators share (`ha/`). */
export interface StateStore {
  /** Resolves when a state at least as new as now is kept. @throws the store's own error */
  save(): Promise<void>
}

/** Keeps the state in a directory. */
export class Store implements StateStore {
  readonly #directory: string
  /** Makes the state at the moment of writing. */
  readonly #snapshot: () => CoordinatorState
  readonly #queue = new SaveQueue(() => this.#write())

  constructor(directory: string, snapshot: () => CoordinatorState) {
    this.#directory = directory
    this.#snapshot = snapshot
  }

  /** Resolves when a state at least as new as now is on disk. Calls during a write share the next one. */
  save(): Promise<void> {
    return this.#queue.save()
  }

  async #write(): Promise<void> {
    const bytes = packState(this.#snapshot())
    const path = join(this.#directory, STATE_FILE)
    const beside = `${path}.new`
    const file = await open(beside, 'w', 0o600)
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(beside, path)
    const directory = await open(this.#directory, 'r')
    await directory.sync().finally(() => directory.close())
  }
}

/**
 * Reads the state, undefined when there is none. Makes the directory.
 * @throws SluiceError `bad_request` naming the file when it was damaged or changed by hand, with what to do
 */
export async function loadState(directory: string): Promise<CoordinatorState | undefined> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const path = join(directory, STATE_FILE)
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (bytes === undefined) return undefined
  try {
    return unpackState(bytes)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    const fix = 'Put a copy from a backup there, or move the file away to start with nothing.'
    throw new SluiceError('bad_request', `state file ${path} is not usable: ${why}. ${fix}`, { path, cause })
  }
}

/** The bytes of a state file. */
export function packState({ table, history, intents }: CoordinatorState): Uint8Array {
  const body = packControl({
    table: packTable(table),
    history,
    weights: [...intents.weights],
    drainingWorkers: [...intents.drainingWorkers],
    drainingGateways: [...intents.drainingGateways],
  })
  const header = `sluice-state ${FORMAT} ${createHash('sha256').update(body).digest('hex')}\n`
  return Buffer.concat([Buffer.from(header, 'ascii'), body])
}

/** Undoes {@link packState}. @throws SluiceError `bad_request` */
export function unpackState(bytes: Uint8Array): CoordinatorState {
  const header = HEADER.exec(Buffer.from(bytes.subarray(0, HEADER_BYTES)).toString('latin1'))
  if (header === null) throw new SluiceError('bad_request', 'it does not begin like a state file')
  if (Number(header[1]) !== FORMAT) {
    throw new SluiceError('bad_request', `it has format ${header[1]}, this version reads format ${FORMAT}`)
  }
  const body = bytes.subarray(HEADER_BYTES)
  if (createHash('sha256').update(body).digest('hex') !== header[2]) {
    throw new SluiceError(
      'bad_request',
      'its content does not match its digest: it was cut off, damaged or changed by hand',
    )
  }
  const fields = readObject(unpackControl(body), 'state')
  const table = unpackTable(readBytes(fields.table, 'table'))
  const problems = checkTable(table)
  if (problems.length > 0) throw new SluiceError('bad_request', `its table is not sound: ${problems[0]}`)
  return { table, history: readHistory(fields.history), intents: readIntents(fields) }
}

function readHistory(value: unknown): HistoryEntry[] {
  const history = readList(value, 'history', 10_000).map((item, i): HistoryEntry => {
    const path = `history[${i}]`
    const fields = readObject(item, path)
    return {
      version: readNumber(fields.version, `${path}.version`, 1, Number.MAX_SAFE_INTEGER),
      who: readText(fields.who, `${path}.who`),
      when: readText(fields.when, `${path}.when`),
      what: readText(fields.what, `${path}.what`, 4096),
      ...(fields.message === undefined ? {} : { message: readText(fields.message, `${path}.message`, 4096) }),
      diff: readList(fields.diff, `${path}.diff`, 10_000).map((line) => readText(line, `${path}.diff`, 65_536)),
      spec: readSpec(fields.spec, `${path}.spec`),
    }
  })
  if (history.length === 0) throw new SluiceError('bad_request', 'its history is empty')
  return history
}

function readSpec(value: unknown, path: string): RouteSpec {
  const fields = readObject(value, path)
  return {
    pools: readList(fields.pools, `${path}.pools`, 10_000).map((item, i) => {
      const at = `${path}.pools[${i}]`
      const { name, policy, key, maxLoad } = readObject(item, at)
      return {
        name: readText(name, `${at}.name`),
        policy: readPolicy(policy, `${at}.policy`),
        key: readKey(key, `${at}.key`),
        maxLoad: readNumber(maxLoad, `${at}.maxLoad`, 1, 1e6),
      }
    }),
    routes: readList(fields.routes, `${path}.routes`, 10_000).map((item, i) => readRoute(item, `${path}.routes[${i}]`)),
  }
}

function readIntents(fields: Readonly<Record<string, unknown>>): Intents {
  const ids = (name: string): Set<string> =>
    new Set(readList(fields[name], name, 100_000).map((id) => readText(id, name)))
  const weights = readList(fields.weights, 'weights', 100_000).map((pair): [string, number] => {
    const [id, weight] = readList(pair, 'weights', 2)
    return [readText(id, 'weights'), readNumber(weight, 'weights', 0, 1000)]
  })
  return {
    weights: new Map(weights),
    drainingWorkers: ids('drainingWorkers'),
    drainingGateways: ids('drainingGateways'),
  }
}
