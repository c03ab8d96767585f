/** Who holds what on this gateway, as heartbeats report it: placement and least-connections feed on it. */

import type { GatewayHeartbeat } from '../../proto/control.js'
import type { Session } from './session.js'

/** Counts the bindings of all sessions by pool, worker and slot. One pass, no allocation per session. */
export function countBindings(sessions: Iterable<Session>): GatewayHeartbeat['pools'] {
  const pools: Record<string, { workers: Record<string, number>; bySlot: Map<number, number> }> = {}
  for (const session of sessions) {
    for (const binding of session.bindings()) {
      let pool = pools[binding.pool]
      if (pool === undefined) {
        pool = { workers: {}, bySlot: new Map() }
        pools[binding.pool] = pool
      }
      const { worker, slot } = binding
      if (worker !== '') pool.workers[worker] = (pool.workers[worker] ?? 0) + 1
      if (slot >= 0) pool.bySlot.set(slot, (pool.bySlot.get(slot) ?? 0) + 1)
    }
  }
  const report: GatewayHeartbeat['pools'] = {}
  for (const [name, { workers, bySlot }] of Object.entries(pools)) {
    const slots: number[] = []
    for (const [slot, count] of bySlot) slots.push(slot, count)
    report[name] = { workers, slots }
  }
  return report
}
