/** Joins routes, pools and who is there to the next routing table. Pure; the version is the caller's business. */

import {
  DEFAULT_POOL,
  type GatewayEntry,
  type Pool,
  type Route,
  type RoutingTable,
  type WorkerEntry,
} from '../../proto/table.js'
import { type Member, place } from './placement.js'

/** What a routes file says of a pool. */
export type PoolSpec = Pick<Pool, 'name' | 'policy' | 'key' | 'maxLoad'>

/** What people decided: the content of a routes file. */
export interface RouteSpec {
  readonly pools: readonly PoolSpec[]
  readonly routes: readonly Route[]
}

/** What holds when nobody gave routes: one pool, one route. */
export const DEFAULT_ROUTES: RouteSpec = {
  pools: [defaultPool(DEFAULT_POOL)],
  routes: [{ name: 'default', match: {}, to: [{ pool: DEFAULT_POOL, weight: 1 }] }],
}

/** A pool that no routes file describes. */
export function defaultPool(name: string): PoolSpec {
  return { name, policy: 'consistent_hash', key: 'device', maxLoad: 1.25 }
}

/** Sessions per slot of a pool, where they are known. */
export type SlotLoads = (pool: string) => Uint32Array | undefined

/**
 * The table after `previous`, with the same version. Parts that did not change are the same objects.
 * Slots move only when the workers of their pool or their weights did.
 * @param load lets the slots that move be chosen so that sessions end even
 */
export function buildTable(
  previous: RoutingTable,
  spec: RouteSpec,
  workers: readonly WorkerEntry[],
  gateways: readonly GatewayEntry[],
  load: SlotLoads,
): RoutingTable {
  const specs = new Map(spec.pools.map((pool) => [pool.name, pool]))
  for (const { pool } of workers) if (!specs.has(pool)) specs.set(pool, defaultPool(pool))
  const byPool = groupByPool(workers)
  const pools = new Map<string, Pool>()
  for (const name of [...specs.keys()].sort()) {
    const next = buildPool(previous, specs.get(name) as PoolSpec, byPool.get(name) ?? [], load)
    pools.set(name, next)
  }
  return {
    version: previous.version,
    routes: spec.routes,
    pools,
    workers: new Map(sortById(workers).map((worker) => [worker.id, worker])),
    gateways: new Map(sortById(gateways).map((gateway) => [gateway.id, gateway])),
  }
}

/** Weights for placement: draining and ejected workers weigh nothing, unless nobody else is there to take over. */
export function placementMembers(workers: readonly WorkerEntry[]): Member[] {
  const someoneTakesOver = workers.some(({ state, weight }) => state === 'up' && weight > 0)
  return workers.map(({ id, weight, state }) => ({ id, weight: someoneTakesOver && state !== 'up' ? 0 : weight }))
}

function buildPool(previous: RoutingTable, spec: PoolSpec, workers: readonly WorkerEntry[], load: SlotLoads): Pool {
  const { name, policy, key, maxLoad } = spec
  const before = previous.pools.get(name)
  if (policy !== 'consistent_hash') {
    const members = sortById(workers).map(({ id }) => id)
    return { name, policy, key, maxLoad, members, slots: new Uint16Array(0) }
  }
  const members = placementMembers(workers)
  if (before !== undefined && before.slots.length > 0 && sameMembers(previous, before, members)) {
    return { name, policy, key, maxLoad, members: before.members, slots: before.slots }
  }
  const placed = place(before, members, before === undefined ? undefined : load(name))
  return { name, policy, key, maxLoad, members: placed.members, slots: placed.slots }
}

/** True when `members` weigh what those of the previous table did: then its slots stand, rebalanced as they may be. */
function sameMembers(previous: RoutingTable, pool: Pool, members: readonly Member[]): boolean {
  if (members.length !== pool.members.length) return false
  const before = pool.members.flatMap((id) => previous.workers.get(id) ?? [])
  const weights = new Map(placementMembers(before).map(({ id, weight }) => [id, weight]))
  return members.every(({ id, weight }) => weights.get(id) === weight)
}

function groupByPool(workers: readonly WorkerEntry[]): Map<string, WorkerEntry[]> {
  const groups = new Map<string, WorkerEntry[]>()
  for (const worker of workers) {
    const group = groups.get(worker.pool)
    if (group === undefined) groups.set(worker.pool, [worker])
    else group.push(worker)
  }
  return groups
}

function sortById<T extends { readonly id: string }>(entries: readonly T[]): T[] {
  return [...entries].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0))
}
