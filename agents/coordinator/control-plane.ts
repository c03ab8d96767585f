/**
 * The coordinator without its sockets: messages of gateways and workers go in, tables and answers come out.
 * `control-server.ts` brings the connections, `api/` the people.
 */

import type {
  FromCoordinator,
  LinkReport,
  MoveReport,
  RegisterGateway,
  RegisterWorker,
  ToCoordinator,
} from '../../proto/control.js'
import { EMPTY_TABLE, type RoutingTable } from '../../proto/table.js'
import type { Clock, Log } from './clock.js'
import { EventHub } from './event-hub.js'
import type { Feed } from './feed.js'
import { Fleet, type Intents } from './fleet.js'
import { Housekeeping } from './housekeeping.js'
import { LoadBook } from './load-book.js'
import type { MembershipTimes, Transition } from './membership.js'
import { BudgetSplitter } from './move-budget.js'
import { Moves } from './moves.js'
import { Outliers } from './outliers.js'
import { Publisher } from './publisher.js'
import { Queries } from './queries.js'
import { buildTable, type RouteSpec } from './table-builder.js'

/** Registered members heartbeat at this interval. */
export const HEARTBEAT_MS = 500
/** Facts are looked at this often; closed connections and link reports are looked at when they come. */
const TICK_MS = 100

/** How long a coordinator without memory lets a fleet with a newer table register before it sends one of its own. */
const RELEARN_MS = 3000
/** A tick that is later than this was held up: by load, or by a stopped process. */
const STALL_MS = 100

/** One registered connection, as the control plane sees it. */
export interface Peer {
  send(message: FromCoordinator): void
  /** Tells why, then closes. */
  refuse(code: string, message: string): void
}

/** What the control plane does with a connection's later messages. */
export interface PeerPort {
  message(message: Exclude<ToCoordinator, RegisterWorker | RegisterGateway>): void
  /** @param left the peer closed in order, it did not just vanish */
  closed(left: boolean): void
}

interface GatewayPeer {
  readonly peer: Peer
  readonly feed: Feed
  /** When its last heartbeat came. */
  heardAt: number
}

/** What the control plane is built from. */
export interface ControlPlaneOptions {
  /** Name of this coordinator, told to those who register. */
  readonly id: string
  readonly clock: Clock
  readonly log: Log
  readonly spec: RouteSpec
  readonly intents: Intents
  /** The last table before a restart. */
  readonly table?: RoutingTable
  readonly times?: MembershipTimes
  /** Called after each new table, to keep it. */
  readonly onTable: (table: RoutingTable) => void
}

/** Joins membership, placement and the feeds. */
export class ControlPlane {
  readonly fleet: Fleet
  readonly loads = new LoadBook()
  readonly moves = new Moves()
  readonly events: EventHub
  readonly publisher: Publisher
  readonly budget: BudgetSplitter
  readonly #options: ControlPlaneOptions
  readonly #clock: Clock
  readonly #queries: Queries
  readonly #house: Housekeeping
  readonly #outliers = new Outliers()
  readonly #workers = new Map<string, Peer>()
  readonly #gateways = new Map<string, GatewayPeer>()
  #spec: RouteSpec
  #cause = 'start'
  #cancelTick: (() => void) | undefined
  #tickDue = Number.POSITIVE_INFINITY
  /** Gateways that registered here before: a version that they name is one of ours. */
  readonly #met = new Set<string>()

  constructor(options: ControlPlaneOptions) {
    const { clock, log } = options
    this.#options = options
    this.#clock = clock
    this.#spec = options.spec
    this.fleet = new Fleet(options.intents, options.times)
    this.#house = new Housekeeping(this.fleet, this.loads)
    this.events = new EventHub(() => clock.wall())
    this.#queries = new Queries(clock)
    this.budget = new BudgetSplitter((gateway, message) => this.#gateways.get(gateway)?.peer.send(message))
    this.publisher = new Publisher({
      clock,
      log,
      table: options.table ?? EMPTY_TABLE,
      build: (previous) => this.preview(this.#spec, previous),
      onPublished: (table, previous) => this.#published(table, previous),
    })
    if (options.table !== undefined) this.fleet.restore(options.table, clock.now())
    this.fleet.poll(clock.now())
    this.publisher.publish()
    this.#tickLater()
  }

  get table(): RoutingTable {
    return this.publisher.table
  }

  /** The routes and pools that are in force. */
  get spec(): RouteSpec {
    return this.#spec
  }

  /** Gateways with a connection now. */
  get connectedGateways(): string[] {
    return [...this.#gateways.keys()]
  }

  isConnected(id: string): boolean {
    return this.#workers.has(id) || this.#gateways.has(id)
  }

  /** The table that these routes would lead to now. Changes nothing. */
  preview(spec: RouteSpec, previous: RoutingTable = this.table): RoutingTable {
    const workers = this.fleet.workerEntries(this.#outliers.ejected)
    const load = (pool: string): Uint32Array | undefined => this.loads.slotLoad(pool)
    return buildTable(this.#house.evened(previous), spec, workers, this.fleet.gatewayEntries(), load)
  }

  /** Puts other routes in force, at once. @returns the table that carries them */
  setSpec(spec: RouteSpec, cause: string): RoutingTable {
    const before = this.#spec
    this.#spec = spec
    this.#cause = cause
    try {
      return this.publisher.publish()
    } catch (error) {
      this.#spec = before
      throw error
    }
  }

  /** Some gateways get these routes ahead of the others. @returns the table that they get */
  stageSpec(spec: RouteSpec, gateways: ReadonlySet<string>): RoutingTable {
    // Slots of pools in both tables stay the same, so that a session's worker does not depend on the stage of its gateway.
    return this.publisher.stage((current) => this.preview(spec, current), gateways)
  }

  /** The staged routes are everybody's from now on. */
  promoteSpec(spec: RouteSpec, cause: string): RoutingTable {
    this.#spec = spec
    this.#cause = cause
    this.publisher.promote()
    return this.table
  }

  /** The staged routes are withdrawn. */
  withdrawSpec(cause: string): void {
    this.#cause = cause
    this.publisher.withdraw()
  }

  /** People decided something about a worker or gateway (`fleet.intents`): it shows in the next table. */
  intentsChanged(cause: string): void {
    this.#cause = cause
    this.publisher.changed()
  }

  /** Sends to a gateway that is connected; nothing otherwise. */
  sendToGateway(id: string, message: FromCoordinator): void {
    this.#gateways.get(id)?.peer.send(message)
  }

  /** Asks one gateway. @throws SluiceError `unavailable` */
  ask(gateway: string, what: Parameters<Queries['ask']>[2], deadlineMs: number): Promise<unknown> {
    return this.#queries.ask(gateway, (query) => this.sendToGateway(gateway, query), what, deadlineMs)
  }

  registerWorker(registration: RegisterWorker, peer: Peer): PeerPort {
    const { id } = registration
    this.#replace(this.#workers.get(id), 'worker', id)
    this.#workers.set(id, peer)
    this.fleet.registerWorker(registration, this.#clock.now())
    peer.send({ t: 'registered', id, coordinator: this.#options.id, heartbeatMs: HEARTBEAT_MS })
    this.#look()
    // Weight, pool or link may differ from what it registered with before.
    this.publisher.changed()
    return {
      message: (message) => {
        if (this.#workers.get(id) === peer) this.#fromWorker(id, message)
      },
      closed: (left) => {
        if (this.#workers.get(id) !== peer) return
        this.#workers.delete(id)
        this.fleet.workerMembership.closed(id, left, this.#clock.now())
        this.#look()
      },
    }
  }

  registerGateway(registration: RegisterGateway, peer: Peer): PeerPort {
    const { id, tableVersion } = registration
    const known = this.#gateways.get(id)
    this.#replace(known?.peer, 'gateway', id)
    if (known !== undefined) this.publisher.detach(id, known.feed)
    this.fleet.registerGateway(registration, this.#clock.now())
    peer.send({ t: 'registered', id, coordinator: this.#options.id, heartbeatMs: HEARTBEAT_MS })
    this.#reconcile(id, tableVersion)
    const feed = this.publisher.attach(id, tableVersion, (message) => peer.send(message))
    const gateway = { peer, feed, heardAt: 0 }
    this.#gateways.set(id, gateway)
    this.#house.forgetNews()
    this.budget.share(this.connectedGateways)
    if (this.fleet.intents.drainingGateways.has(id)) peer.send({ t: 'drain_gateway', draining: true, windowMs: 0 })
    this.#look()
    this.publisher.changed()
    return {
      message: (message) => {
        if (this.#gateways.get(id) === gateway) this.#fromGateway(id, gateway, message)
      },
      closed: (left) => {
        if (this.#gateways.get(id) === gateway) this.#gatewayClosed(id, gateway, left)
      },
    }
  }

  close(): void {
    this.#cancelTick?.()
    this.publisher.close()
    this.#queries.abandon()
  }

  /** A second registration with the same id goes before the first: the first may be a connection that is dead already. */
  #replace(peer: Peer | undefined, kind: string, id: string): void {
    if (peer === undefined) return
    this.#options.log.warn(
      { [kind]: id },
      `another ${kind} registered with the same id; the earlier connection is closed`,
    )
    peer.refuse('conflict', `another connection registered as ${kind} ${id}`)
  }

  /** A gateway may serve a table from a coordinator that lost its memory: ours must be above it, and know the fleet first. */
  #reconcile(id: string, serving: number): void {
    const { version } = this.table
    const known = this.#options.table !== undefined || this.#met.has(id)
    this.#met.add(id)
    if (serving === 0 || serving < version || (serving === version && known)) return
    if (this.#options.table === undefined) this.publisher.hold(this.#clock.now() + RELEARN_MS)
    this.publisher.outnumber(serving)
  }

  #gatewayClosed(id: string, gateway: GatewayPeer, left: boolean): void {
    this.#gateways.delete(id)
    this.publisher.detach(id, gateway.feed)
    this.#queries.abandon(id)
    this.fleet.gatewayMembership.closed(id, left, this.#clock.now())
    this.budget.share(this.connectedGateways)
    this.#look()
  }

  #fromWorker(id: string, message: Exclude<ToCoordinator, RegisterWorker | RegisterGateway>): void {
    const worker = this.fleet.workers.get(id)
    if (worker === undefined) return
    this.fleet.workerMembership.heard(id, this.#clock.now())
    if (message.t === 'worker_heartbeat') {
      worker.sessions = message.sessions
      worker.lagMs = message.lagMs
    } else if (message.t === 'drain') {
      // A worker asks for itself alone, whatever id it names.
      worker.leaving = true
      this.intentsChanged(`worker ${id} asked to be drained`)
    } else {
      this.#options.log.warn({ worker: id, message: message.t }, 'a worker sent a message that only gateways send')
    }
  }

  #fromGateway(
    id: string,
    gateway: GatewayPeer,
    message: Exclude<ToCoordinator, RegisterWorker | RegisterGateway>,
  ): void {
    const now = this.#clock.now()
    this.fleet.gatewayMembership.heard(id, now)
    this.fleet.workerMembership.witnessHeard(id, now)
    if (message.t === 'gateway_heartbeat') {
      gateway.heardAt = now
      this.loads.record(id, message)
    } else if (message.t === 'link_report') this.#linkReport(id, message, now)
    else if (message.t === 'ack') {
      gateway.feed.acked(message.version, now)
      this.events.emit('table_ack', { gateway: id, version: message.version })
    } else if (message.t === 'nack') {
      gateway.feed.nacked(message, this.#clock.wall())
      const { version, code, message: reason } = message
      this.#options.log.warn({ gateway: id, version, code, reason }, 'a gateway refused a routing table')
      this.events.emit('table_nack', { gateway: id, version, code, message: reason })
    } else if (message.t === 'answer') this.#queries.answered(id, message.id, message.body)
    else if (message.t === 'move_report') this.#moveReport(id, message)
    else if (message.t === 'drain') {
      this.fleet.gatewayLeaves(id)
      this.intentsChanged(`gateway ${id} asked to be drained`)
    }
  }

  #linkReport(gateway: string, report: LinkReport, now: number): void {
    const { worker, event, detail } = report
    if (event !== 'refused') this.fleet.workerMembership.link(gateway, worker, event === 'up', now)
    this.#outliers.report(worker, event, now)
    if (event !== 'up')
      this.events.emit('link', { gateway, worker, event, ...(detail === undefined ? {} : { detail }) })
    this.#look()
  }

  #moveReport(gateway: string, report: MoveReport): void {
    const { receipts, ...move } = this.moves.report(gateway, report, this.#clock.wall())
    this.events.emit('move', { ...move, gateway, receipts: receipts.length })
  }

  #tickLater(): void {
    this.#tickDue = this.#clock.now() + TICK_MS
    this.#cancelTick = this.#clock.after(TICK_MS, () => {
      this.#look()
      this.#keepHouse()
      this.#tickLater()
    })
  }

  /** Looks who came and who is gone; the table follows. */
  #look(): void {
    const now = this.#clock.now()
    const late = now - this.#tickDue
    if (late > STALL_MS) {
      this.#options.log.warn({ ms: Math.round(late) }, 'this coordinator stood still; nobody is blamed for it')
      this.fleet.stalled(late)
      this.#tickDue = now
    }
    const { workers, gateways } = this.fleet.poll(now)
    for (const transition of workers) this.#transition('worker', transition)
    for (const transition of gateways) {
      this.#transition('gateway', transition)
      if (transition.to !== 'gone') continue
      this.loads.forget(transition.id)
      this.moves.forget(transition.id, this.#clock.wall())
    }
    const ejected = this.#outliers.judge(this.table, (id) => this.fleet.workerMembership.unreachable(id), now)
    for (const { id, ejected: out, reason } of ejected) {
      this.events.emit(out ? 'worker_ejected' : 'worker_returned', { worker: id, reason })
      this.#cause = `worker ${id} ${out ? 'ejected' : 'returned'}: ${reason}`
    }
    if (workers.length + gateways.length + ejected.length > 0) this.publisher.changed()
  }

  #transition(kind: 'worker' | 'gateway', { id, from, to, reason }: Transition): void {
    this.#options.log.info({ [kind]: id, from, to, reason }, `${kind} ${id} is ${to}: ${reason}`)
    this.events.emit(`${kind}_${to}`, { [kind]: id, from, reason })
    if (to === 'gone' || to === 'up') this.#cause = `${kind} ${id} is ${to}: ${reason}`
    // Whoever is gone may still be connected, stopped or cut off; it may come back.
  }

  /** What follows from the heartbeats since the last tick. */
  #keepHouse(): void {
    const pools = this.publisher.held ? [] : this.#house.balance(this.table, this.#clock.now())
    if (pools.length > 0) {
      this.#cause = `sessions of pool ${pools.map(({ name }) => name).join(', ')} were uneven`
      this.publisher.changed()
    }
    // A gateway that is on its way back may hold bindings that nobody else knows of.
    const allHere = [...this.table.gateways.keys()].every((id) => this.#gateways.has(id))
    for (const id of allHere ? this.#house.drained(this.table, [...this.#gateways.values()]) : []) {
      this.#workers.get(id)?.send({ t: 'drained', id })
      this.events.emit('worker_drained', { worker: id })
    }
    const news = this.#house.news()
    if (news !== undefined) for (const { peer } of this.#gateways.values()) peer.send(news)
  }

  #published(table: RoutingTable, previous: RoutingTable): void {
    this.moves.cause(table.version, this.#cause)
    this.#house.published(table, previous, this.#clock.now())
    this.#options.log.info({ version: table.version, cause: this.#cause }, 'new routing table')
    this.events.emit('table', { version: table.version, cause: this.#cause, workers: table.workers.size })
    this.#options.onTable(table)
  }
}
