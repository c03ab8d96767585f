/** Who holds what on this gateway, as heartbeats report it: placement and least-connections feed on it. */

import type { GatewayHeartbeat } from '../../proto/control.js'
import type { Binding } from './binding.js'
import type { Session } from './session.js'

/**
 * What one pool's sessions are counted into. A heartbeat counts every session there is, so slots are listed, sorted and
 * counted natively: a Map would look each of them up twice, an array of all slots would weigh 64 KiB for the smallest pool.
 */
class PoolCount {
  readonly #workers = new Map<string, number>()
  readonly #slots: number[] = []

  add({ worker, slot }: Binding): void {
    if (worker !== '') this.#workers.set(worker, (this.#workers.get(worker) ?? 0) + 1)
    if (slot >= 0) this.#slots.push(slot)
  }

  report(): GatewayHeartbeat['pools'][string] {
    const sorted = Uint16Array.from(this.#slots).sort()
    const slots: number[] = []
    for (let from = 0, to = 0; from < sorted.length; from = to) {
      const slot = sorted[from] as number
      while (sorted[to] === slot) to++
      slots.push(slot, to - from)
    }
    return { workers: Object.fromEntries(this.#workers), slots }
  }
}

/** Counts the bindings of all sessions by pool, worker and slot. One pass, no allocation per session. */
export function countBindings(sessions: Iterable<Session>): GatewayHeartbeat['pools'] {
  const pools = new Map<string, PoolCount>()
  for (const { primary, others } of sessions) {
    // Not by an iterator over both: it would be 10,000 objects every heartbeat.
    if (primary !== undefined) poolOf(pools, primary.pool).add(primary)
    if (others !== undefined) for (const binding of others.values()) poolOf(pools, binding.pool).add(binding)
  }
  return Object.fromEntries([...pools].map(([name, count]) => [name, count.report()]))
}

function poolOf(pools: Map<string, PoolCount>, name: string): PoolCount {
  let pool = pools.get(name)
  if (pool === undefined) {
    pool = new PoolCount()
    pools.set(name, pool)
  }
  return pool
}
