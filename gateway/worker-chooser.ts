/**
 * Joins the routing table, the balancing policies and the links: which worker a binding belongs to right now.
 * The table says who should own it; the links say who can.
 */

import { slotOf } from '../proto/hash.js'
import type { RoutingTable } from '../proto/table.js'
import { PoolBalancer } from './balance/pool-balancer.js'
import type { LinkSet } from './link/link-set.js'
import type { Clock } from './ports.js'
import { type Affinity, compileAffinity } from './route/affinity.js'
import type { Binding } from './session/binding.js'
import type { SessionAttributes } from './session/routes.js'
import type { Chooser } from './session/session-table.js'
import type { WorkerPort } from './worker-port.js'

/** One pool of the table in force. */
interface PoolState {
  readonly balancer: PoolBalancer
  affinity: Affinity
  /** Bindings that each worker has too many, until they are asked to move. Only for the policies without slots. */
  surplus: Map<string, number>
}

export class WorkerChooser implements Chooser {
  readonly #links: LinkSet
  readonly #clock: Clock
  readonly #random: () => number
  readonly #pools = new Map<string, PoolState>()
  #poolOf: ReadonlyMap<string, { readonly pool: string }> = new Map()

  /** @param random 0 to just below 1 */
  constructor(links: LinkSet, clock: Clock, random: () => number) {
    this.#links = links
    this.#clock = clock
    this.#random = random
  }

  /** Follows a new table. */
  useTable({ pools, workers }: RoutingTable): void {
    this.#poolOf = workers
    for (const name of this.#pools.keys()) if (!pools.has(name)) this.#pools.delete(name)
    for (const pool of pools.values()) {
      const state = this.#pools.get(pool.name)
      if (state === undefined) {
        const balancer = new PoolBalancer(pool, workers)
        this.#pools.set(pool.name, { balancer, affinity: compileAffinity(pool.key), surplus: new Map() })
        for (const id of pool.members) balancer.linked(id, this.#links.get(id)?.up === true)
      } else {
        state.balancer.use(pool, workers, this.#clock.now())
        state.affinity = compileAffinity(pool.key)
      }
    }
  }

  /** The worker's link came up or went down. */
  linked(worker: string, up: boolean): void {
    const balancer = this.#balancerOf(worker)
    balancer?.linked(worker, up)
    if (up) balancer?.success(worker)
  }

  /** The worker said how many sessions it holds. */
  reported(worker: string, sessions: number): void {
    this.#balancerOf(worker)?.reported(worker, sessions)
  }

  /** A binding was given to a worker (+1), or left it (-1). */
  held(worker: string, change: 1 | -1): void {
    this.#balancerOf(worker)?.held(worker, change)
  }

  accepted(worker: string): void {
    this.#balancerOf(worker)?.success(worker)
  }

  /** The worker refused or timed out. */
  failed(worker: string): void {
    this.#balancerOf(worker)?.failure(worker, this.#clock.now())
  }

  slotFor(pool: string, attributes: SessionAttributes, topic: string): number {
    const state = this.#pools.get(pool)
    if (state === undefined || state.balancer.pool.slots.length === 0) return -1
    return slotOf(state.affinity.keyOf(attributes, topic))
  }

  keyedByTopic(pool: string): boolean {
    const state = this.#pools.get(pool)
    return state?.affinity.byTopic === true && state.balancer.pool.slots.length > 0
  }

  portOf(worker: string): WorkerPort | undefined {
    return this.#links.get(worker)
  }

  choose(binding: Binding, avoid: string | undefined, anyone: boolean): WorkerPort | undefined {
    const state = this.#pools.get(binding.pool)
    if (state === undefined) return undefined
    const id = state.balancer.choose(binding.slot, avoid, anyone, this.#clock.now(), this.#random())
    const link = id === undefined ? undefined : this.#links.get(id)
    return link?.up ? link : undefined
  }

  misplaced({ state: stage, pool, slot, worker }: Binding): boolean {
    const state = this.#pools.get(pool)
    if (stage !== 'bound' || state === undefined) return false
    const { balancer, surplus } = state
    if (balancer.misplaced(worker, slot, this.#clock.now())) {
      // A slot's new owner is waited for; without slots anybody else will do.
      const owner = balancer.ownerOf(slot)
      if (owner !== undefined) return this.#links.get(owner)?.up === true
      return balancer.choose(slot, worker, true, this.#clock.now(), 0) !== worker
    }
    const left = surplus.get(worker) ?? 0
    if (left <= 0) return false
    surplus.set(worker, left - 1)
    return true
  }

  /** Works out anew how many bindings each worker of the pools without slots should hand over; {@link misplaced} names them. */
  evenOut(): void {
    for (const state of this.#pools.values()) state.surplus = state.balancer.surplus(this.#random())
  }

  #balancerOf(worker: string): PoolBalancer | undefined {
    const pool = this.#poolOf.get(worker)?.pool
    return pool === undefined ? undefined : this.#pools.get(pool)?.balancer
  }
}
