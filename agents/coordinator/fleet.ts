/** Everybody who registered: what they said of themselves, and what people decided about them. */

import type { RegisterGateway, RegisterWorker } from '../../proto/control.js'
import type { GatewayEntry, RoutingTable, WorkerEntry } from '../../proto/table.js'
import { MEMBERSHIP_TIMES, Membership, type MembershipTimes, type Transition } from './membership.js'

/** A worker as the coordinator knows it. */
export interface WorkerRecord {
  readonly id: string
  readonly pool: string
  readonly link: string
  /** As it registered; what people set goes before it. */
  readonly weight: number
  readonly pid: number
  readonly incarnation: string
  sessions: number
  lagMs: number
  /** It asked to be drained; ends with its process. */
  leaving: boolean
}

/** A gateway as the coordinator knows it. */
export interface GatewayRecord extends Omit<GatewayEntry, 'state'> {
  readonly pid: number
  readonly incarnation: string
  /** It asked to be drained; ends with its process. */
  readonly leaving: boolean
}

/** What people decided about workers and gateways by id; it outlives their processes. */
export interface Intents {
  readonly weights: Map<string, number>
  readonly drainingWorkers: Set<string>
  readonly drainingGateways: Set<string>
}

/** Workers and gateways, with their membership. Pure: every time is passed in. */
export class Fleet {
  readonly intents: Intents
  readonly workerMembership: Membership
  readonly gatewayMembership: Membership
  readonly #workers = new Map<string, WorkerRecord>()
  readonly #gateways = new Map<string, GatewayRecord>()

  constructor(intents: Intents, times: MembershipTimes = MEMBERSHIP_TIMES) {
    this.intents = intents
    this.workerMembership = new Membership(times)
    this.gatewayMembership = new Membership(times)
  }

  get workers(): ReadonlyMap<string, WorkerRecord> {
    return this.#workers
  }

  get gateways(): ReadonlyMap<string, GatewayRecord> {
    return this.#gateways
  }

  /** Takes over who was there in the last table before the coordinator started; they have a while to register. */
  restore(table: RoutingTable, now: number): void {
    for (const entry of table.workers.values()) {
      const leaving = entry.state === 'draining' && !this.intents.drainingWorkers.has(entry.id)
      this.#workers.set(entry.id, { ...entry, pid: 0, incarnation: '', sessions: 0, lagMs: 0, leaving })
      this.workerMembership.restore(entry.id, now)
    }
    for (const entry of table.gateways.values()) {
      const leaving = entry.state === 'draining' && !this.intents.drainingGateways.has(entry.id)
      this.#gateways.set(entry.id, { ...entry, pid: 0, incarnation: '', leaving })
      this.gatewayMembership.restore(entry.id, now)
    }
  }

  registerWorker(registration: RegisterWorker, now: number): void {
    const { id, pool, link, weight, pid, incarnation, sessions } = registration
    const known = this.#workers.get(id)
    const same = known?.incarnation === incarnation
    this.#workers.set(id, {
      id,
      pool,
      link,
      weight,
      pid,
      incarnation,
      sessions,
      lagMs: 0,
      leaving: same && known.leaving,
    })
    // A restored worker has no incarnation yet: what links said of it may well be of this process.
    this.workerMembership.register(id, !same && known?.incarnation !== '', now)
  }

  registerGateway(registration: RegisterGateway, now: number): void {
    const { id, region, location, http, ws, mqtt, peers, capacity, pid, incarnation } = registration
    const known = this.#gateways.get(id)
    const restarted = known?.incarnation !== incarnation
    const leaving = !restarted && known.leaving
    const place = { ...(location === undefined ? {} : { location }), ...(peers === undefined ? {} : { peers }) }
    this.#gateways.set(id, { id, region, ...place, http, ws, mqtt, capacity, pid, incarnation, leaving })
    this.gatewayMembership.register(id, restarted, now)
    // It tells anew what its links do.
    this.workerMembership.forgetWitness(id)
    this.workerMembership.witnessHeard(id, now)
  }

  /** This process stood still for so long, and heard nobody. */
  stalled(ms: number): void {
    this.workerMembership.stalled(ms)
    this.gatewayMembership.stalled(ms)
  }

  /** What changed by `now`. Records of members that are gone for good are dropped. */
  poll(now: number): { workers: Transition[]; gateways: Transition[] } {
    const gateways = this.gatewayMembership.poll(now)
    for (const { id, to } of gateways) {
      if (to !== 'gone') continue
      this.workerMembership.forgetWitness(id)
      if (this.gatewayMembership.stateOf(id) === undefined) this.#gateways.delete(id)
    }
    const workers = this.workerMembership.poll(now)
    for (const { id, to } of workers) {
      if (to === 'gone' && this.workerMembership.stateOf(id) === undefined) this.#workers.delete(id)
    }
    return { workers, gateways }
  }

  /** The weight that counts: what people set, else what the worker registered with. */
  weightOf(worker: WorkerRecord): number {
    return this.intents.weights.get(worker.id) ?? worker.weight
  }

  isDraining(worker: WorkerRecord): boolean {
    return worker.leaving || this.intents.drainingWorkers.has(worker.id)
  }

  /** By people, or because it asked for it. */
  isGatewayDraining(id: string): boolean {
    return this.intents.drainingGateways.has(id) || this.#gateways.get(id)?.leaving === true
  }

  /** A gateway asks its devices to go before it ends itself. */
  gatewayLeaves(id: string): void {
    const gateway = this.#gateways.get(id)
    if (gateway !== undefined) this.#gateways.set(id, { ...gateway, leaving: true })
  }

  /** Workers that belong into the table now. */
  workerEntries(ejected: ReadonlySet<string>): WorkerEntry[] {
    const entries: WorkerEntry[] = []
    for (const worker of this.#workers.values()) {
      if (!isIn(this.workerMembership, worker.id)) continue
      const { id, pool, link } = worker
      const state = this.isDraining(worker) ? 'draining' : ejected.has(id) ? 'ejected' : 'up'
      entries.push({ id, pool, link, weight: this.weightOf(worker), state })
    }
    return entries
  }

  /** Gateways that belong into the table now. */
  gatewayEntries(): GatewayEntry[] {
    const entries: GatewayEntry[] = []
    for (const { pid, incarnation, leaving, ...gateway } of this.#gateways.values()) {
      if (!isIn(this.gatewayMembership, gateway.id)) continue
      entries.push({ ...gateway, state: this.isGatewayDraining(gateway.id) ? 'draining' : 'up' })
    }
    return entries
  }
}

function isIn(membership: Membership, id: string): boolean {
  const state = membership.stateOf(id)
  return state === 'up' || state === 'suspect'
}
