/** Who holds what on this gateway, as heartbeats report it: placement and least-connections feed on it. */

import type { GatewayHeartbeat } from '../../proto/control.js'
import type { Binding } from './binding.js'
import type { Session } from './session.js'

interface PoolCount {
  readonly workers: Record<string, number>
  readonly bySlot: Map<number, number>
}

/** Counts the bindings of all sessions by pool, worker and slot. One pass, no allocation per session. */
export function countBindings(sessions: Iterable<Session>): GatewayHeartbeat['pools'] {
  const pools = new Map<string, PoolCount>()
  for (const { primary, others } of sessions) {
    // Not by an iterator over both: it would be 10,000 objects every heartbeat.
    if (primary !== undefined) count(pools, primary)
    if (others !== undefined) for (const binding of others.values()) count(pools, binding)
  }
  const report: GatewayHeartbeat['pools'] = {}
  for (const [name, { workers, bySlot }] of pools) {
    const slots: number[] = []
    for (const [slot, sessionsInSlot] of bySlot) slots.push(slot, sessionsInSlot)
    report[name] = { workers, slots }
  }
  return report
}

function count(pools: Map<string, PoolCount>, { pool: name, worker, slot }: Binding): void {
  let pool = pools.get(name)
  if (pool === undefined) {
    pool = { workers: {}, bySlot: new Map() }
    pools.set(name, pool)
  }
  if (worker !== '') pool.workers[worker] = (pool.workers[worker] ?? 0) + 1
  if (slot >= 0) pool.bySlot.set(slot, (pool.bySlot.get(slot) ?? 0) + 1)
}
