/** What the sessions of this gateway would do under a table that is only planned: the gateway's part of `routes plan`. */

import type { PlanView, PoolPlanView } from '../proto/control.js'
import { slotOf } from '../proto/hash.js'
import { type Pool, type RoutingTable, UNOWNED } from '../proto/table.js'
import { compileAffinity } from './route/affinity.js'
import { compileRoutes } from './route/router.js'
import type { Session } from './session/session.js'
import { poolUnder } from './session/session-table.js'

/**
 * Counts, by pool, the bindings as they are and as they would be.
 * @throws SluiceError when the planned table's routes cannot be compiled
 */
export function planSessions(sessions: Iterable<Session>, planned: RoutingTable): PlanView {
  const router = compileRoutes(planned)
  const view: PlanView = {}
  for (const session of sessions) {
    const routes = router.forSession(session)
    for (const { pool, slot, worker } of session.bindings()) {
      if (worker !== '') add(poolOf(view, pool).before, worker)
      const next = poolUnder(routes, pool, session.routes, router.byHeaders && planned.pools.has(pool))
      const target = planned.pools.get(next)
      if (target === undefined) continue
      const entry = poolOf(view, target.name)
      const after =
        next === pool ? ownerAfter(planned, target, slot, worker, entry) : newOwner(planned, target, session, entry)
      if (after === undefined) continue
      add(entry.after, after)
      if (after !== worker || next !== pool) entry.moved++
    }
  }
  return view
}

/** A binding that stays in its pool: its slot's owner, or where it is, unless that worker takes no sessions any more. */
function ownerAfter(
  planned: RoutingTable,
  pool: Pool,
  slot: number,
  worker: string,
  entry: PoolPlanView,
): string | undefined {
  if (pool.slots.length > 0 && slot >= 0) return slotOwner(pool, slot)
  const kept = planned.workers.get(worker)
  return kept?.state === 'up' && kept.weight > 0 && kept.pool === pool.name ? worker : leastLoaded(planned, pool, entry)
}

/** A binding that comes from another pool. */
function newOwner(planned: RoutingTable, pool: Pool, session: Session, entry: PoolPlanView): string | undefined {
  if (pool.slots.length === 0) return leastLoaded(planned, pool, entry)
  return slotOwner(pool, slotOf(compileAffinity(pool.key).keyOf(session, '')))
}

function slotOwner({ slots, members }: Pool, slot: number): string | undefined {
  return members[slots[slot] ?? UNOWNED]
}

function leastLoaded({ workers }: RoutingTable, pool: Pool, { after }: PoolPlanView): string | undefined {
  let best: string | undefined
  let least = Number.POSITIVE_INFINITY
  for (const id of pool.members) {
    const worker = workers.get(id)
    if (worker?.state !== 'up' || worker.weight <= 0) continue
    const load = ((after[id] ?? 0) + 1) / worker.weight
    if (load >= least) continue
    least = load
    best = id
  }
  return best
}

function poolOf(view: PlanView, name: string): PoolPlanView {
  let entry = view[name]
  if (entry === undefined) {
    entry = { moved: 0, before: {}, after: {} }
    view[name] = entry
  }
  return entry
}

function add(counts: Record<string, number>, worker: string): void {
  counts[worker] = (counts[worker] ?? 0) + 1
}
