/**
 * Routing tables as bytes: whole (`packTable`) and as the change from one to the next (`packDelta`).
 * Both are one msgpack value; readers trust nothing and throw a SluiceError that names the part at fault.
 */

import { packControl, unpackControl } from './control.js'
import { SluiceError } from './errors.js'
import { malformed, readBytes, readCount, readList, readNumber, readObject, readText } from './fields.js'
import {
  applySlotDelta,
  editMembers,
  type MemberEdits,
  memberEdits,
  packSlotDelta,
  packSlots,
  unpackSlots,
} from './slot-delta.js'
import type { GatewayEntry, Pool, Route, RoutingTable, WorkerEntry } from './table.js'
import { readGateway, readKey, readPolicy, readRoute, readWorker } from './table-fields.js'

/** Number of the packed form; a reader refuses another one. */
const FORMAT = 1

/** What a table may hold at most; far above what one fleet has, low enough that a hostile one cannot fill memory. */
const MAX_ROUTES = 10_000
const MAX_POOLS = 2_000
const MAX_WORKERS = 65_000
const MAX_GATEWAYS = 20_000

interface WholePool extends Omit<Pool, 'slots'> {
  readonly slots: Uint8Array
}

/** A pool that changed: its settings, how its members changed, and the slots whose owner changed. */
interface PoolChange extends Omit<Pool, 'slots' | 'members'>, MemberEdits {
  readonly moved: Uint8Array
}

/** Routes `[at, at + removed)` of the old list give way to `added`. */
interface RouteSplice {
  readonly at: number
  readonly removed: number
  readonly added: readonly Route[]
}

/** The whole table as bytes. */
export function packTable(table: RoutingTable): Uint8Array {
  return packControl({
    format: FORMAT,
    version: table.version,
    routes: table.routes,
    pools: [...table.pools.values()].map(wholePool),
    workers: [...table.workers.values()],
    gateways: [...table.gateways.values()],
  })
}

/** @throws SluiceError `bad_request` when `bytes` are not a table; whether it makes sense is `checkTable`'s question. */
export function unpackTable(bytes: Uint8Array): RoutingTable {
  const fields = readObject(unpackControl(bytes), 'table')
  if (fields.format !== FORMAT) malformed('format', `${FORMAT}`)
  return {
    version: readVersion(fields.version, 'version'),
    routes: readList(fields.routes, 'routes', MAX_ROUTES).map((route, i) => readRoute(route, `routes[${i}]`)),
    pools: readAll(fields.pools, 'pools', MAX_POOLS, readWholePool, (pool) => pool.name),
    workers: readAll(fields.workers, 'workers', MAX_WORKERS, readWorker, idOf),
    gateways: readAll(fields.gateways, 'gateways', MAX_GATEWAYS, readGateway, idOf),
  }
}

/** What turns `from` into `to`; small when little changed. */
export function packDelta(from: RoutingTable, to: RoutingTable): Uint8Array {
  const pools = [...to.pools.values()].filter((pool) => !samePool(from.pools.get(pool.name), pool))
  const changes = pools.map((pool) => poolChange(from.pools.get(pool.name), pool))
  return packControl({
    format: FORMAT,
    from: from.version,
    to: to.version,
    routes: spliceRoutes(from.routes, to.routes),
    pools: changes.filter((change) => 'slots' in change),
    changedPools: changes.filter((change) => 'moved' in change),
    gonePools: gone(from.pools, to.pools),
    workers: changed(from.workers, to.workers, sameWorker),
    goneWorkers: gone(from.workers, to.workers),
    gateways: changed(from.gateways, to.gateways, sameGateway),
    goneGateways: gone(from.gateways, to.gateways),
  })
}

/**
 * The table that `bytes` lead to from `table`.
 * @throws SluiceError `conflict` when they start from another version, `bad_request` when they are no delta.
 */
export function applyDelta(table: RoutingTable, bytes: Uint8Array): RoutingTable {
  const fields = readObject(unpackControl(bytes), 'delta')
  if (fields.format !== FORMAT) malformed('format', `${FORMAT}`)
  const from = readVersion(fields.from, 'from')
  if (from !== table.version) {
    throw new SluiceError('conflict', `the delta starts from version ${from}, this table is version ${table.version}`)
  }
  return {
    version: readVersion(fields.to, 'to'),
    routes: applySplice(table.routes, fields.routes),
    pools: applyPools(table.pools, fields),
    workers: merge(
      table.workers,
      readAll(fields.workers, 'workers', MAX_WORKERS, readWorker, idOf),
      readNames(fields.goneWorkers, 'goneWorkers', MAX_WORKERS),
    ),
    gateways: merge(
      table.gateways,
      readAll(fields.gateways, 'gateways', MAX_GATEWAYS, readGateway, idOf),
      readNames(fields.goneGateways, 'goneGateways', MAX_GATEWAYS),
    ),
  }
}

const idOf = (entry: { readonly id: string }): string => entry.id

function readVersion(value: unknown, path: string): number {
  return readCount(value, path, 0, Number.MAX_SAFE_INTEGER)
}

function readNames(value: unknown, path: string, max: number): string[] {
  return readList(value, path, max).map((name, i) => readText(name, `${path}[${i}]`))
}

function readAll<T>(
  value: unknown,
  path: string,
  max: number,
  read: (value: unknown, path: string) => T,
  nameOf: (entry: T) => string,
): Map<string, T> {
  const all = new Map<string, T>()
  for (const [i, item] of readList(value, path, max).entries()) {
    const entry = read(item, `${path}[${i}]`)
    if (all.has(nameOf(entry))) malformed(`${path}[${i}]`, 'named differently from those before it')
    all.set(nameOf(entry), entry)
  }
  return all
}

function wholePool({ name, policy, key, maxLoad, members, slots }: Pool): WholePool {
  return { name, policy, key, maxLoad, members, slots: packSlots(slots) }
}

function readSettings(fields: Readonly<Record<string, unknown>>, path: string): Omit<Pool, 'members' | 'slots'> {
  return {
    name: readText(fields.name, `${path}.name`),
    policy: readPolicy(fields.policy, `${path}.policy`),
    key: readKey(fields.key, `${path}.key`),
    maxLoad: readNumber(fields.maxLoad, `${path}.maxLoad`, 1, 1e6),
  }
}

function readWholePool(value: unknown, path: string): Pool {
  const fields = readObject(value, path)
  const members = readNames(fields.members, `${path}.members`, MAX_WORKERS)
  const slots = unpackSlots(readBytes(fields.slots, `${path}.slots`), members.length, `${path}.slots`)
  return { ...readSettings(fields, path), members, slots }
}

function poolChange(from: Pool | undefined, to: Pool): WholePool | PoolChange {
  const edits = from?.slots.length === to.slots.length ? memberEdits(from.members, to.members) : undefined
  if (from === undefined || edits === undefined) return wholePool(to)
  const { name, policy, key, maxLoad } = to
  return { name, policy, key, maxLoad, ...edits, moved: packSlotDelta(from, to) }
}

function applyPools(
  pools: ReadonlyMap<string, Pool>,
  fields: Readonly<Record<string, unknown>>,
): ReadonlyMap<string, Pool> {
  const whole = readAll(fields.pools, 'pools', MAX_POOLS, readWholePool, (pool) => pool.name)
  const read = (value: unknown, path: string): Pool => applyPoolChange(pools, value, path)
  const edited = readAll(fields.changedPools, 'changedPools', MAX_POOLS, read, (pool) => pool.name)
  return merge(pools, new Map([...whole, ...edited]), readNames(fields.gonePools, 'gonePools', MAX_POOLS))
}

function applyPoolChange(pools: ReadonlyMap<string, Pool>, value: unknown, path: string): Pool {
  const fields = readObject(value, path)
  const settings = readSettings(fields, path)
  const from = pools.get(settings.name)
  if (from === undefined) malformed(`${path}.name`, 'a pool of the table')
  const removed = readList(fields.removed, `${path}.removed`, MAX_WORKERS).map((index) =>
    readCount(index, `${path}.removed`, 0, from.members.length - 1),
  )
  const added = readList(fields.added, `${path}.added`, MAX_WORKERS).map((edit): [number, string] => {
    const [index, id] = readList(edit, `${path}.added`, 2)
    return [readCount(index, `${path}.added`, 0, MAX_WORKERS), readText(id, `${path}.added`)]
  })
  const members = editMembers(from.members, { removed, added }, path)
  const slots = applySlotDelta(from, members, readBytes(fields.moved, `${path}.moved`), `${path}.moved`)
  return { ...settings, members, slots }
}

function spliceRoutes(from: readonly Route[], to: readonly Route[]): RouteSplice {
  const shorter = Math.min(from.length, to.length)
  let at = 0
  while (at < shorter && sameValue(from[at], to[at])) at++
  let tail = 0
  while (tail < shorter - at && sameValue(from.at(-1 - tail), to.at(-1 - tail))) tail++
  return { at, removed: from.length - at - tail, added: to.slice(at, to.length - tail) }
}

function applySplice(routes: readonly Route[], value: unknown): readonly Route[] {
  const fields = readObject(value, 'routes')
  const at = readCount(fields.at, 'routes.at', 0, routes.length)
  const removed = readCount(fields.removed, 'routes.removed', 0, routes.length - at)
  const added = readList(fields.added, 'routes.added', MAX_ROUTES).map((route, i) =>
    readRoute(route, `routes.added[${i}]`),
  )
  // The same list again tells gateways that no compiled route changed.
  return removed === 0 && added.length === 0 ? routes : routes.toSpliced(at, removed, ...added)
}

function gone(from: ReadonlyMap<string, unknown>, to: ReadonlyMap<string, unknown>): string[] {
  return [...from.keys()].filter((name) => !to.has(name))
}

function changed<T>(from: ReadonlyMap<string, T>, to: ReadonlyMap<string, T>, same: (a: T, b: T) => boolean): T[] {
  const all: T[] = []
  for (const [name, entry] of to) {
    const before = from.get(name)
    if (before === undefined || !same(before, entry)) all.push(entry)
  }
  return all
}

/** The very map where nothing changed: most deltas leave the workers alone, and there may be thousands. */
function merge<T>(
  from: ReadonlyMap<string, T>,
  changes: ReadonlyMap<string, T>,
  names: readonly string[],
): ReadonlyMap<string, T> {
  if (changes.size === 0 && names.length === 0) return from
  const merged = new Map(from)
  for (const name of names) merged.delete(name)
  for (const [name, entry] of changes) merged.set(name, entry)
  return merged
}

/** True when both say the same, whatever the version. Unchanged parts are usually the same objects, which is quick. */
export function sameTable(a: RoutingTable, b: RoutingTable): boolean {
  if (a.pools.size !== b.pools.size || a.workers.size !== b.workers.size || a.gateways.size !== b.gateways.size)
    return false
  if (changed(a.workers, b.workers, sameWorker).length > 0 || changed(a.gateways, b.gateways, sameGateway).length > 0)
    return false
  for (const [name, pool] of b.pools) if (!samePool(a.pools.get(name), pool)) return false
  return sameValue(a.routes, b.routes)
}

function samePool(a: Pool | undefined, b: Pool): boolean {
  if (a === b) return true
  if (a === undefined || a.policy !== b.policy || a.key !== b.key || a.maxLoad !== b.maxLoad) return false
  return sameItems(a.members, b.members) && sameItems(a.slots, b.slots)
}

function sameItems<T>(a: ArrayLike<T>, b: ArrayLike<T>): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

function sameWorker(a: WorkerEntry, b: WorkerEntry): boolean {
  return a === b || (a.pool === b.pool && a.link === b.link && a.weight === b.weight && a.state === b.state)
}

function sameGateway(a: GatewayEntry, b: GatewayEntry): boolean {
  return a === b || sameValue(a, b)
}

/** Deep equality of plain values, whatever the order of their keys. */
function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  const keys = Object.keys(a)
  if (keys.length !== Object.keys(b).length) return false
  return keys.every((key) => sameValue((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]))
}
