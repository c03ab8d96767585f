/** Decides when sessions are uneven enough to move slots for it, and how. Pure. */

import type { Pool, RoutingTable } from '../../proto/table.js'
import { diffSlots, rebalance } from './placement.js'
import { placementMembers } from './table-builder.js'

/** A pool is looked at most this often: the heartbeats must show what the last change did before the next one. */
const INTERVAL_MS = 2000
/** Below this many sessions per worker, unevenness is chance and a move helps nobody. */
const MIN_SESSIONS_PER_WORKER = 4

/** Keeps the bounded-load promise of consistent_hash pools. */
export class Rebalancer {
  readonly #lastAt = new Map<string, number>()

  /** A pool's slots changed for another reason: the sessions need time to follow. */
  touched(pool: string, now: number): void {
    this.#lastAt.set(pool, now)
  }

  /** The pools whose slots ought to change, already changed; usually none. */
  due(table: RoutingTable, loadOf: (pool: string) => Uint32Array | undefined, now: number): Pool[] {
    const changed: Pool[] = []
    for (const pool of table.pools.values()) {
      if (pool.policy !== 'consistent_hash' || pool.members.length < 2) continue
      if (now - (this.#lastAt.get(pool.name) ?? -Infinity) < INTERVAL_MS) continue
      const load = loadOf(pool.name)
      if (load === undefined) continue
      const next = evened(table, pool, load)
      if (next === undefined) continue
      this.#lastAt.set(pool.name, now)
      changed.push(next)
    }
    return changed
  }
}

function evened(table: RoutingTable, pool: Pool, load: Uint32Array): Pool | undefined {
  const members = placementMembers(pool.members.flatMap((id) => table.workers.get(id) ?? []))
  const active = members.filter(({ weight }) => weight > 0).length
  let total = 0
  for (const sessions of load) total += sessions
  if (active < 2 || total < active * MIN_SESSIONS_PER_WORKER) return undefined
  const placed = rebalance(pool, members, load, pool.maxLoad)
  if (placed === pool || diffSlots(pool, placed).moves.length === 0) return undefined
  return { ...pool, members: placed.members, slots: placed.slots }
}
