/** What follows from the gateways' heartbeats: slots for uneven sessions, ends of drains, how full everybody is. */

import type { FleetLoad } from '../../proto/control.js'
import type { Pool, RoutingTable } from '../../proto/table.js'
import { DrainWatch, type WatchedGateway } from './drain-watch.js'
import type { Fleet } from './fleet.js'
import type { LoadBook } from './load-book.js'
import { Rebalancer } from './rebalancer.js'

/** Pure: it says what to do, the control plane does it. */
export class Housekeeping {
  readonly #fleet: Fleet
  readonly #loads: LoadBook
  readonly #rebalancer = new Rebalancer()
  readonly #drains = new DrainWatch()
  /** Pools with other slots, for the next build. */
  #rebalanced: readonly Pool[] = []
  #seen = -1
  #told = ''

  constructor(fleet: Fleet, loads: LoadBook) {
    this.#fleet = fleet
    this.#loads = loads
  }

  /** The table to build the next one from: with slots as sessions want them. */
  evened(table: RoutingTable): RoutingTable {
    if (this.#rebalanced.length === 0) return table
    const pools = new Map(table.pools)
    for (const pool of this.#rebalanced) if (pools.has(pool.name)) pools.set(pool.name, pool)
    return { ...table, pools }
  }

  /**
   * Pools whose slots ought to move for even sessions; the next {@link evened} has them. None while a gateway of the
   * table has not been heard: a part of the sessions always looks uneven.
   */
  balance(table: RoutingTable, now: number): readonly Pool[] {
    if (this.#loads.revision === this.#seen) return []
    for (const id of table.gateways.keys()) if (this.#loads.heartbeatOf(id) === undefined) return []
    this.#seen = this.#loads.revision
    const pools = this.#rebalancer.due(table, (pool) => this.#loads.slotLoad(pool), now)
    if (pools.length > 0) this.#rebalanced = pools
    return pools
  }

  /** Draining workers that nothing is bound to any more; each is named once. */
  drained(table: RoutingTable, gateways: readonly WatchedGateway[]): string[] {
    const draining = [...this.#fleet.workers.values()].filter((worker) => this.#fleet.isDraining(worker))
    const ids = draining.map(({ id }) => id)
    return this.#drains.finished(ids, table, gateways, this.#loads)
  }

  /** How full each gateway is, when that changed since the last call. Gateways answer `nearest` with it. */
  news(): FleetLoad | undefined {
    const gateways: Record<string, number> = {}
    for (const id of this.#fleet.gateways.keys()) gateways[id] = this.#loads.sessionsOf(id)
    const text = JSON.stringify(gateways)
    if (text === this.#told) return undefined
    this.#told = text
    return { t: 'fleet_load', gateways }
  }

  /** A gateway came that was told nothing yet. */
  forgetNews(): void {
    this.#told = ''
  }

  /** A new table is out. */
  published(table: RoutingTable, previous: RoutingTable, now: number): void {
    for (const pool of table.pools.values()) {
      if (previous.pools.get(pool.name)?.slots !== pool.slots) this.#rebalancer.touched(pool.name, now)
    }
    this.#rebalanced = []
    this.#drains.published(table)
  }
}
