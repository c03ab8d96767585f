/**
 * One discovered worker: checked again and again, and registered with the control plane in its own name while it is
 * healthy. For the membership the checks are its heartbeats: what stops passing them is what a lost connection is.
 */

import {
  CONTROL_PROTOCOL,
  type FromCoordinator,
  type RegisterWorker,
  type ToCoordinator,
} from '../../../proto/control.js'
import { DEFAULT_POOL, type RoutingTable } from '../../../proto/table.js'
import { workerProblem } from '../../../proto/table-check.js'
import type { Clock, Log } from '../clock.js'
import type { Peer, PeerPort } from '../control-plane.js'
import type { DiscoveredMember } from './discovery.js'
import { Health, type HealthOptions, type HealthState } from './health.js'
import type { LinkAnswer } from './link-check.js'

/** What of the control plane is used. */
export interface Registrar {
  readonly table: RoutingTable
  isConnected(id: string): boolean
  registerWorker(registration: RegisterWorker, peer: Peer): PeerPort
}

/** What a discovered worker is given. */
export interface WorkerHost {
  readonly plane: Registrar
  readonly clock: Clock
  /** 0 to 1, for jitter. */
  readonly random: () => number
  readonly log: Log
  readonly health: HealthOptions
  check(link: string): Promise<LinkAnswer>
  /** A number that no stay of a worker had before. */
  nextStay(): number
  /** The weight that counts, by priority among those that are registered. */
  weightOf(worker: DiscoveredWorker): number
  /** It was registered, or is not any more. */
  changed(): void
  /** Nothing is left to do for it. */
  ended(worker: DiscoveredWorker): void
}

/** A registration that holds. */
interface Standing {
  readonly registration: RegisterWorker
  readonly port: PeerPort
  sessions: number
}

/** One worker as people see it. */
export interface DiscoveredWorkerView {
  readonly link: string
  /** While it is in the fleet. */
  readonly id?: string
  readonly state: HealthState | 'leaving'
  /** Why it is not in the fleet, or may not stay in it. */
  readonly problem?: string
}

/** Share of the interval by which checks are spread, so that not all come at once for ever. */
const JITTER = 0.2

/** From the first listing to the last binding. */
export class DiscoveredWorker {
  readonly #host: WorkerHost
  readonly #health: Health
  #member: DiscoveredMember
  #standing: Standing | undefined
  /** The peer of the registration that counts; an older one's messages mean nothing. */
  #peer: Peer | undefined
  /** Who answered last. */
  #answered: LinkAnswer | undefined
  /** Number of its stay in the fleet: a new one is told from the last by it. */
  #stay: number
  /** No source lists it: it goes when nothing is bound to it. */
  #leaving = false
  #drained = false
  #checking = false
  #again = false
  #closed = false
  #problem = ''
  #cancelTimer: () => void = () => {}

  constructor(member: DiscoveredMember, host: WorkerHost) {
    this.#member = member
    this.#host = host
    this.#stay = host.nextStay()
    this.#health = new Health(host.health)
  }

  get member(): DiscoveredMember {
    return this.#member
  }

  /** Its id while it is registered. */
  get id(): string | undefined {
    return this.#standing?.registration.id
  }

  /** The pool that it serves, or would. */
  get pool(): string {
    return this.#answered?.pool ?? this.#member.pool ?? DEFAULT_POOL
  }

  /** True while it takes sessions, as far as it goes by its own state. */
  get serves(): boolean {
    return this.#standing !== undefined && !this.#leaving && !this.#isDraining()
  }

  get view(): DiscoveredWorkerView {
    const { id } = this
    const state = this.#leaving ? 'leaving' : this.#health.state
    const problem = this.#problem === '' ? {} : { problem: this.#problem }
    return { link: this.#member.link, ...(id === undefined ? {} : { id }), state, ...problem }
  }

  /** @param delayMs until the first check */
  start(delayMs: number): void {
    this.#checkAfter(delayMs)
  }

  /** A source lists it, again or differently. */
  list(member: DiscoveredMember): void {
    this.#member = member
    if (this.#leaving) {
      this.#leaving = false
      // A worker that left does not take back that it does; one that comes anew can.
      this.#stay = this.#host.nextStay()
    }
    this.refresh()
  }

  /** No source lists it any more: its sessions move away first. */
  unlist(): void {
    if (this.#leaving) return
    this.#leaving = true
    if (this.#standing === undefined) this.#end()
    else if (this.#drained && this.#isDraining()) this.#goes()
    else this.#say({ t: 'drain', id: this.#standing.registration.id })
  }

  /** Tells the control plane that it is alive. Called as often as workers heartbeat. */
  beat(): void {
    if (this.#standing === undefined) return
    this.#say({ t: 'worker_heartbeat', sessions: this.#standing.sessions, lagMs: 0 })
  }

  /** There is reason to doubt that it lives. */
  checkNow(): void {
    if (this.#checking) this.#again = true
    else this.#checkAfter(0)
  }

  /** Registers it again where its weight, pool or link changed. */
  refresh(): void {
    if (this.#standing !== undefined && this.#answered !== undefined && !this.#leaving) this.#register(this.#answered)
  }

  /** Stops the checks. The control plane keeps what it knows: another coordinator may go on. */
  close(): void {
    this.#closed = true
    this.#cancelTimer()
  }

  #checkAfter(ms: number): void {
    this.#cancelTimer()
    this.#cancelTimer = this.#host.clock.after(ms, () => void this.#check())
  }

  async #check(): Promise<void> {
    this.#checking = true
    try {
      const answer = await this.#host.check(this.#member.link)
      if (!this.#closed) this.#passed(answer)
    } catch (error) {
      if (!this.#closed) this.#failed((error as Error).message)
    }
    this.#checking = false
    if (this.#closed) return
    const { intervalMs } = this.#host.health
    const base = this.#health.inDoubt ? intervalMs / 4 : intervalMs
    this.#checkAfter(this.#again ? 0 : base * (1 - JITTER * this.#host.random()))
    this.#again = false
  }

  #passed(answer: LinkAnswer): void {
    const before = this.#answered
    this.#answered = answer
    if (before !== undefined && before.id !== answer.id) this.#isAnother(before.id, answer.id)
    // It was restarted between two checks: the drain was the old process's.
    else if (before?.draining === true && !answer.draining) this.#stay = this.#host.nextStay()
    this.#health.passed()
    if (this.#health.state !== 'healthy') return
    if (!this.#leaving) this.#register(answer)
    if (this.#standing === undefined) return
    this.#standing.sessions = answer.sessions
    if (answer.draining && !this.#isDraining()) this.#say({ t: 'drain', id: answer.id })
  }

  #failed(reason: string): void {
    const before = this.#health.state
    this.#health.failed()
    if (this.#health.state === 'healthy') return
    if (before !== 'unhealthy') this.#report(`its checks fail: ${reason}`)
    this.#lost(false)
  }

  /** Two workers that answer at one address in turn never become healthy: gateways could not tell them apart. */
  #isAnother(was: string, is: string): void {
    this.#report(`it was worker ${was}, and is worker ${is} now`)
    this.#health.distrust()
    this.#lost(true)
  }

  #register(answer: LinkAnswer): void {
    const registration = this.#registrationOf(answer)
    const { plane } = this.#host
    const now = this.#standing?.registration
    if (now !== undefined && sameRegistration(now, registration)) return
    const problem =
      now === undefined && plane.isConnected(answer.id)
        ? `worker ${answer.id} is in the fleet already, by itself or at another address`
        : workerProblem(registration)
    if (problem !== undefined) {
      this.#report(problem)
      return
    }
    this.#report('')
    const peer: Peer = {
      send: (message) => this.#told(peer, message),
      refuse: (_code, reason) => this.#refused(peer, reason),
    }
    this.#peer = peer
    this.#drained = false
    this.#standing = { registration, port: plane.registerWorker(registration, peer), sessions: answer.sessions }
    if (now === undefined) this.#host.changed()
  }

  #registrationOf(answer: LinkAnswer): RegisterWorker {
    const { link } = this.#member
    return {
      t: 'register_worker',
      protocol: CONTROL_PROTOCOL,
      id: answer.id,
      pool: this.pool,
      link,
      weight: this.#host.weightOf(this),
      pid: 0,
      incarnation: `discovered ${link} ${this.#stay}`,
      sessions: answer.sessions,
    }
  }

  #told(peer: Peer, message: FromCoordinator): void {
    if (message.t !== 'drained' || peer !== this.#peer) return
    this.#drained = true
    if (this.#leaving) this.#goes()
  }

  /** Somebody registered with its id: the worker itself, most likely. That goes before discovery. */
  #refused(peer: Peer, reason: string): void {
    if (peer !== this.#peer) return
    this.#peer = undefined
    this.#standing = undefined
    this.#report(reason)
    if (this.#leaving) this.#end()
    this.#host.changed()
  }

  #goes(): void {
    this.#lost(true)
  }

  /** @param left there is no doubt that it is gone */
  #lost(left: boolean): void {
    const standing = this.#standing
    this.#standing = undefined
    this.#peer = undefined
    if (standing !== undefined) {
      standing.port.closed(left)
      this.#stay = this.#host.nextStay()
      this.#host.changed()
    }
    if (this.#leaving) this.#end()
  }

  #end(): void {
    this.close()
    this.#host.ended(this)
  }

  #say(message: Exclude<ToCoordinator, { t: 'register_worker' | 'register_gateway' }>): void {
    this.#standing?.port.message(message)
  }

  #isDraining(): boolean {
    return this.id !== undefined && this.#host.plane.table.workers.get(this.id)?.state === 'draining'
  }

  /** Says each problem once. */
  #report(problem: string): void {
    if (problem === this.#problem) return
    this.#problem = problem
    const { link } = this.#member
    if (problem !== '') this.#host.log.warn({ link, problem }, `discovered worker at ${link}: ${problem}`)
  }
}

function sameRegistration(a: RegisterWorker, b: RegisterWorker): boolean {
  return (
    a.id === b.id && a.pool === b.pool && a.link === b.link && a.weight === b.weight && a.incarnation === b.incarnation
  )
}
