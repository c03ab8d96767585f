/**
 * All sessions of a gateway and the rules that span them: opening and resuming, which worker a binding belongs to,
 * what a new table or a broken link means for each, and the deadlines. Sockets, timers and randomness are passed in.
 */

import { SluiceError } from '../../proto/errors.js'
import { FrameView } from '../../proto/frame.js'
import { EMPTY_TABLE, type Pool, type RoutingTable } from '../../proto/table.js'
import type { Counters } from '../counters.js'
import type { Clock, DevicePort, OpenSession, SessionHost } from '../ports.js'
import type { WorkerPort } from '../worker-port.js'
import { Binding, type BindingHost } from './binding.js'
import { type BindingLimits, type BindingSnapshot, DEFAULT_BINDING_LIMITS, type Handover } from './binding-terms.js'
import { type ExportedSession, UNKNOWN } from './exported-session.js'
import { Mover, type MoverOptions } from './mover.js'
import type { SessionAttributes, SessionRouter, SessionRoutes } from './routes.js'
import { Session, type SessionOwner } from './session.js'
import { DEFAULT_SESSION_LIMITS, type SessionLimits } from './session-limits.js'

/** Which worker a binding belongs to, by the table in force and the links that are up. */
export interface Chooser {
  /** @see BindingHost.choose */
  choose(binding: Binding, avoid: string | undefined, anyone: boolean): WorkerPort | undefined
  /** True when a bound binding should be handed off: its slot has another owner, or its worker takes no sessions any more. */
  misplaced(binding: Binding): boolean
  /** The worker accepted a binding. */
  accepted(worker: string): void
  /** The link to this worker, up or not. */
  portOf(worker: string): WorkerPort | undefined
  /** Slot of this key, or -1 when the pool's policy has none. */
  slotFor(pool: string, attributes: SessionAttributes, topic: string): number
  /** True when the slot depends on each frame's topic. */
  keyedByTopic(pool: string): boolean
}

export interface SessionTableOptions {
  readonly gateway: string
  readonly region: string
  readonly clock: Clock
  readonly counters: Counters
  readonly chooser: Chooser
  /** Makes session ids: unguessable, unique. */
  readonly newId: () => string
  readonly suspect: (worker: string, event: 'timeout' | 'refused', detail: string) => void
  readonly mover?: Partial<MoverOptions>
  readonly limits?: Partial<SessionLimits>
  readonly bindingLimits?: Partial<BindingLimits>
  /** How long a session waits for its device to come back, milliseconds. */
  readonly resumeWindowMs?: number
  readonly maxSessions?: number
}

/** How often deadlines are looked at. */
const SWEEP_MS = 100

export class SessionTable implements SessionHost, SessionOwner, BindingHost {
  readonly gateway: string
  readonly region: string
  readonly began: number
  readonly counters: Counters
  readonly limits: BindingLimits & SessionLimits
  readonly view = new FrameView()
  readonly mover: Mover
  readonly #options: SessionTableOptions
  readonly #clock: Clock
  readonly #chooser: Chooser
  readonly #sessions = new Map<string, Session>()
  /** In the order in which they lost their connection; the value is when they end. */
  readonly #dormant = new Map<Session, number>()
  readonly #watched = new Set<Binding>()
  readonly #resumeWindowMs: number
  readonly #maxSessions: number
  #table: RoutingTable = EMPTY_TABLE
  #router: SessionRouter | undefined
  #cancelSweep: (() => void) | undefined

  constructor(options: SessionTableOptions) {
    this.#options = options
    this.gateway = options.gateway
    this.region = options.region
    this.#clock = options.clock
    this.began = options.clock.wall()
    this.counters = options.counters
    this.#chooser = options.chooser
    this.limits = { ...DEFAULT_BINDING_LIMITS, ...options.bindingLimits, ...DEFAULT_SESSION_LIMITS, ...options.limits }
    this.#resumeWindowMs = options.resumeWindowMs ?? 30_000
    this.#maxSessions = options.maxSessions ?? 1_000_000
    this.mover = new Mover(options.mover ?? {}, options.clock)
    this.#scheduleSweep()
  }

  get size(): number {
    return this.#sessions.size
  }

  get tableVersion(): number {
    return this.#table.version
  }

  now(): number {
    return this.#clock.now()
  }

  find(device: string): Session | undefined {
    return this.#sessions.get(device)
  }

  sessions(): Iterable<Session> {
    return this.#sessions.values()
  }

  open(request: OpenSession, port: DevicePort): Session {
    const former = this.#sessions.get(request.device)
    if (former !== undefined && this.#continues(request, former)) {
      this.#dormant.delete(former)
      former.connect(port, true)
      this.counters.connects++
      return former
    }
    former?.close({ code: 'taken_over', message: 'the device began a new session' })
    if (this.#sessions.size >= this.#maxSessions)
      throw new SluiceError('overloaded', `this gateway holds ${this.#maxSessions} sessions already`, {
        retryAfterMs: 5000,
      })
    const session = new Session(this, this.#options.newId(), request, this.#clock.wall())
    this.#sessions.set(request.device, session)
    session.connect(port, false)
    this.counters.connects++
    this.#bindData(session)
    return session
  }

  /**
   * Gives a session up to another gateway, where its device is now.
   * @returns undefined when there is none, `busy` while a handoff is in the middle: ask again soon
   */
  handOver(device: string, resume: string | undefined): ExportedSession | 'busy' | undefined {
    const session = this.#sessions.get(device)
    if (session === undefined) return undefined
    if (resume === undefined || session.id !== resume) {
      session.close({ code: 'taken_over', message: 'the device connected to another gateway' })
      return undefined
    }
    for (const binding of session.bindings()) if (binding.unsettled) return 'busy'
    return session.handOver()
  }

  /** Takes a session up that another gateway gave, or that only its worker knows. It waits here for its device. */
  adopt(exported: ExportedSession): Session {
    const { device, protocol, headers, id } = exported
    this.#sessions.get(device)?.close({ code: 'taken_over', message: 'the session came from another gateway' })
    const session = new Session(this, id, { device, protocol, attributes: headers }, exported.since)
    this.#sessions.set(device, session)
    this.counters.connects++
    this.dormant(session)
    const snapshots = exported.uplinkAcked === UNKNOWN ? this.#guess(session, exported) : exported.bindings
    const bindings = snapshots.map((snapshot) => this.#adoptBinding(session, snapshot))
    session.takeUp(exported, bindings)
    for (const [i, binding] of bindings.entries()) {
      const snapshot = snapshots[i] as BindingSnapshot
      binding.adopt(snapshot, this.#chooser.portOf(snapshot.worker))
    }
    if (bindings.length === 0) this.#bindData(session)
    return session
  }

  /** Takes a table that was checked. Routes and owners of every session follow. */
  useTable(table: RoutingTable, router: SessionRouter): void {
    const pools = rekeyedPools(this.#table, table)
    // Most tables change who owns a slot and nothing else: then no route and no slot of a session has to be found again.
    const routed = router === this.#router && pools.length === 0
    this.#table = table
    this.#router = router
    this.mover.restart()
    for (const session of this.#sessions.values()) {
      if (!routed || session.primary === undefined) this.#follow(session)
      this.#replan(session)
    }
    this.retryWaiting()
  }

  /** Links or counts changed: every binding that belongs elsewhere now is queued for a handoff. */
  replan(): void {
    for (const session of this.#sessions.values()) this.#replan(session)
  }

  /** A link came up, or the table changed: whoever waits for a worker tries again. */
  retryWaiting(): void {
    for (const binding of [...this.#watched]) binding.retry()
  }

  get routesByHeaders(): boolean {
    return this.#router?.byHeaders === true
  }

  routesFor(attributes: SessionAttributes): SessionRoutes {
    return this.#router === undefined ? NO_ROUTES : this.#router.forSession(attributes)
  }

  bind(session: Session, pool: string, topic: string): Binding {
    const slot = this.#chooser.slotFor(pool, session, topic)
    const key = this.#chooser.keyedByTopic(pool) ? `${pool}\n${slot}` : pool
    const primary = session.primary
    if (primary !== undefined && primary.pool === pool && primary.slot === slot) return primary
    const found = session.others?.get(key)
    if (found !== undefined && found.pool === pool) return found
    const binding = new Binding(session, this, pool, slot)
    if (primary === undefined) session.primary = binding
    else {
      session.others ??= new Map()
      session.others.set(key, binding)
    }
    binding.start()
    return binding
  }

  choose(binding: Binding, avoid: string | undefined, anyone: boolean): WorkerPort | undefined {
    return this.#chooser.choose(binding, avoid, anyone)
  }

  watch(binding: Binding): void {
    this.#watched.add(binding)
  }

  unwatch(binding: Binding): void {
    this.#watched.delete(binding)
  }

  bound(binding: Binding, handover: Handover): void {
    this.#chooser.accepted(binding.worker)
    if (handover.from !== '') {
      if (handover.clean) this.counters.movedClean++
      else this.counters.movedLost++
      this.mover.finished(binding, (binding.session as Session).device, handover)
    }
    // The table may have changed while this handoff was under way.
    if (this.#chooser.misplaced(binding)) this.mover.plan(binding)
  }

  suspect(worker: string, event: 'timeout' | 'refused', detail: string): void {
    this.#options.suspect(worker, event, detail)
  }

  dormant(session: Session): void {
    this.counters.disconnects++
    this.#dormant.set(session, this.#clock.now() + this.#resumeWindowMs)
  }

  ended(session: Session): void {
    if (!this.#dormant.delete(session)) this.counters.disconnects++
    if (this.#sessions.get(session.device) === session) this.#sessions.delete(session.device)
    for (const binding of session.bindings()) this.mover.forget(binding)
  }

  /** Ends everything at once, without telling workers anything but CLOSE. */
  close(): void {
    this.#cancelSweep?.()
    for (const session of [...this.#sessions.values()]) session.close({ code: 'closed', message: 'the gateway stops' })
  }

  keyedByTopic(pool: string): boolean {
    return this.#chooser.keyedByTopic(pool)
  }

  /**
   * The bindings of a session whose gateway died. Where a session has only one, its worker's downlink seqs are the
   * device's own, so what the device confirmed need not be sent again; else the worker sends all, marked.
   */
  #guess(session: Session, { confirmed }: ExportedSession): BindingSnapshot[] {
    const { dataPool: pool, constant } = session.routes
    if (pool === undefined || this.#chooser.keyedByTopic(pool)) return []
    const slot = this.#chooser.slotFor(pool, session, '')
    return [{ pool, slot, worker: '', epoch: 0, sent: constant ? confirmed : 0 }]
  }

  /** The pool of DATA is bound before the first frame: its worker may have something to say. */
  #bindData(session: Session): void {
    const pool = session.routes.dataPool
    if (pool !== undefined && !this.#chooser.keyedByTopic(pool)) this.bind(session, pool, '')
  }

  #adoptBinding(session: Session, { pool, slot }: BindingSnapshot): Binding {
    const binding = new Binding(session, this, pool, slot)
    if (session.primary === undefined) session.primary = binding
    else {
      session.others ??= new Map()
      session.others.set(this.#chooser.keyedByTopic(pool) ? `${pool}\n${slot}` : pool, binding)
    }
    return binding
  }

  #continues(request: OpenSession, former: Session): boolean {
    if (former.protocol !== request.protocol) return false
    if (request.resume !== undefined) return request.resume.session === former.id
    return request.continue === true
  }

  /** Applies the routes of a new table to one session. */
  #follow(session: Session): void {
    const before = session.routes
    session.routes = this.routesFor(session)
    if (session.primary === undefined) {
      this.#bindData(session)
      return
    }
    for (const binding of session.bindings()) {
      binding.pool = this.#poolAfter(session, binding.pool, before)
      if (!this.#chooser.keyedByTopic(binding.pool)) binding.slot = this.#chooser.slotFor(binding.pool, session, '')
    }
  }

  /** Queues those of its bindings for a handoff that belong elsewhere. Not by an iterator over all: there are many sessions. */
  #replan({ primary, others }: Session): void {
    if (primary !== undefined && this.#chooser.misplaced(primary)) this.mover.plan(primary)
    if (others === undefined) return
    for (const binding of others.values()) if (this.#chooser.misplaced(binding)) this.mover.plan(binding)
  }

  /**
   * The pool that a binding belongs to under the session's new routes: DATA's follows DATA, others move when no frame
   * can go to their pool any more. A session has at most one binding in a pool: where there is one already, it stays.
   */
  #poolAfter(session: Session, pool: string, before: SessionRoutes): string {
    const next = poolUnder(session.routes, pool, before, this.routesByHeaders && this.#table.pools.has(pool))
    if (next === pool) return pool
    for (const other of session.bindings()) if (other.pool === next) return pool
    return next
  }

  #scheduleSweep(): void {
    this.#cancelSweep = this.#clock.after(SWEEP_MS, () => {
      const now = this.#clock.now()
      for (const binding of [...this.#watched]) binding.sweep(now)
      for (const [session, until] of this.#dormant) {
        if (until > now) break
        session.close({ code: 'closed', message: 'the device did not come back within the resume window' })
      }
      this.mover.sweep()
      this.#scheduleSweep()
    })
  }
}

/** Names of the pools that are not in both tables, or whose sessions have other slots in the later one. */
function rekeyedPools({ pools: before }: RoutingTable, { pools: after }: RoutingTable): string[] {
  const names = [...new Set([...before.keys(), ...after.keys()])]
  return names.filter((name) => !sameKey(before.get(name), after.get(name)))
}

function sameKey(a: Pool | undefined, b: Pool | undefined): boolean {
  return a !== undefined && b !== undefined && a.key === b.key && a.policy === b.policy
}

const NO_ROUTES: SessionRoutes = { dataPool: undefined, constant: true, pool: () => undefined, reaches: () => false }

/**
 * Where a binding in `pool` goes when a session's routes change from `before` to `routes`.
 * @param meant true when frames may mean the pool by headers of their own
 */
export function poolUnder(routes: SessionRoutes, pool: string, before: SessionRoutes, meant: boolean): string {
  const { dataPool } = routes
  if (dataPool === undefined) return pool
  if (before.dataPool === pool) return dataPool
  return meant || routes.reaches(pool) ? pool : dataPool
}
