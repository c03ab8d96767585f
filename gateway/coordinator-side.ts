/**
 * The side of a gateway that faces the coordinator: the table in force and its copy on disk, the feed that brings new
 * ones, and what the gateway tells about itself.
 */

import { join } from 'node:path'
import type { DrainGateway, FleetLoad, GatewayHeartbeat, MoveBudget, Query, ToCoordinator } from '../proto/control.js'
import { EMPTY_TABLE, type RoutingTable } from '../proto/table.js'
import { unpackTable } from '../proto/table-delta.js'
import { Feed, type FeedEvents } from './control/feed.js'
import { LastGoodTable } from './control/last-good-table.js'
import type { Counters } from './counters.js'
import type { GatewayUrls } from './device-side.js'
import type { Drain } from './drain.js'
import type { GatewayOptions } from './gateway-options.js'
import type { PeerSide } from './peer-side.js'
import { compileRoutes } from './route/router.js'
import { countBindings } from './session/occupancy.js'
import type { WorkerSide } from './worker-side.js'

export interface CoordinatorSideParts {
  readonly counters: Counters
  readonly workers: WorkerSide
  readonly peers: PeerSide
  readonly drain: Drain
}

export class CoordinatorSide implements FeedEvents {
  readonly #options: GatewayOptions
  readonly #parts: CoordinatorSideParts
  readonly #lastGood: LastGoodTable | undefined
  #feed: Feed | undefined
  #table: RoutingTable = EMPTY_TABLE
  #router = compileRoutes(EMPTY_TABLE)
  #load: FleetLoad['gateways'] = {}
  /** What was said last: each change is logged once. */
  #hasCoordinator: boolean | undefined

  constructor(options: GatewayOptions, parts: CoordinatorSideParts) {
    this.#options = options
    this.#parts = parts
    const { data, id, maxTableAgeMs: maxAgeMs, clock, log } = options
    if (data === undefined) return
    const age = maxAgeMs === undefined ? {} : { maxAgeMs }
    this.#lastGood = new LastGoodTable({ path: join(data, `${id}.table`), clock, log, ...age })
  }

  get table(): RoutingTable {
    return this.#table
  }

  /** Sessions on every gateway of the fleet, as the coordinator said last. */
  get load(): FleetLoad['gateways'] {
    return this.#load
  }

  /** True while the coordinator knows this gateway. */
  get up(): boolean {
    return this.#feed?.up === true
  }

  /** Takes the last good table from the disk, if there is one that is good and young enough. */
  async loadTable(): Promise<void> {
    await this.#lastGood?.load((table) => this.#swap(table))
  }

  /** Why there is no table, while there is none. */
  get missing(): string | undefined {
    if (this.#table.version > 0) return undefined
    const refused = this.#lastGood?.refusal !== undefined
    return refused ? 'no routing table yet: the one on disk is refused, the log says why' : 'no routing table yet'
  }

  /** Registers, from now on whenever the coordinator is there. Without one there is nothing to do. */
  register(urls: GatewayUrls): void {
    const { id, coordinator, region, location, capacity = 0, pid, newId, token, clock, random, thread } = this.#options
    if (coordinator === undefined) return
    const register = { id, region, ...urls, capacity, pid, incarnation: newId() }
    this.#feed = new Feed({
      coordinator,
      register: location === undefined ? register : { ...register, location },
      clock,
      random,
      events: this,
      ...(token === undefined ? {} : { token }),
      ...(thread === undefined ? {} : { dial: thread.dial }),
    })
  }

  /** Sends when the coordinator is there. */
  report(message: ToCoordinator): void {
    this.#feed?.send(message)
  }

  async close(): Promise<void> {
    this.#feed?.close()
    await this.#lastGood?.close()
  }

  useTable(table: RoutingTable): void {
    this.#swap(table)
    this.#lastGood?.keep(table)
  }

  fleetLoad(load: FleetLoad): void {
    this.#load = load.gateways
  }

  drain(order: DrainGateway): void {
    this.#parts.drain.follow(order)
  }

  budget(budget: MoveBudget): void {
    this.#parts.workers.budget(budget)
  }

  answer({ what, device, table }: Query): unknown {
    const { workers } = this.#parts
    if (what === 'plan' && table !== undefined) return workers.plan(unpackTable(table))
    return what === 'session' && device !== undefined ? workers.find(device) : undefined
  }

  heartbeat(): Omit<GatewayHeartbeat, 't' | 'lagMs'> {
    const { workers, counters } = this.#parts
    this.#lastGood?.confirm()
    workers.beat(this.#table.version)
    const { connects, disconnects, errors, framesUp, framesDown } = counters
    return {
      sessions: workers.sessions.size,
      pools: countBindings(workers.sessions.sessions()),
      counters: { connects, disconnects, errors, framesUp, framesDown },
      p99Ms: workers.takeP99(),
    }
  }

  connected(up: boolean, detail: string): void {
    if (up === this.#hasCoordinator) return
    this.#hasCoordinator = up
    this.#lastGood?.connected(up)
    const { log } = this.#options
    if (!up)
      log.warn(
        { reason: detail },
        `the coordinator is away; ${this.missing ?? 'serving the last table until it is back'}`,
      )
    else {
      log.info({ coordinator: detail }, 'registered with the coordinator')
      this.#parts.workers.vouch()
    }
  }

  #swap(table: RoutingTable): void {
    // Everything that can fail comes before the swap.
    // A delta that leaves the routes alone leaves the very list in place.
    const router = table.routes === this.#table.routes ? this.#router : compileRoutes(table)
    const { counters, workers, peers } = this.#parts
    this.#table = table
    this.#router = router
    workers.useTable(table, router)
    peers.useTable(table)
    counters.tablesApplied++
  }
}
