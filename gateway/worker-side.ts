/** The worker side of a gateway: its sessions, the links to all workers, and which worker each session belongs to. */

import type { MoveBudget, PlanView, SessionView, ToCoordinator } from '../proto/control.js'
import { FrameType, FrameView } from '../proto/frame.js'
import type { RoutingTable } from '../proto/table.js'
import { isTopicName } from '../proto/topic.js'
import type { Counters } from './counters.js'
import type { GatewayLog, GatewayOptions } from './gateway-options.js'
import { type LinkEvents, LinkSet } from './link/link-set.js'
import type { WorkerLink } from './link/worker-link.js'
import { planSessions } from './plan-view.js'
import type { Clock, Message } from './ports.js'
import type { SessionRouter } from './session/routes.js'
import { SessionTable } from './session/session-table.js'
import { viewSession } from './session-view.js'
import { WorkerChooser } from './worker-chooser.js'

/** Where the worker side tells what it hears. */
export interface WorkerSideEvents {
  /** Something for the coordinator; lost while it is away. */
  report(message: ToCoordinator): void
  /** Runs `read`, which brings a little of a worker: what it queues for devices should leave when it returns. */
  briefly(read: () => void): void
  /** Calls `fn` once this turn of the event loop has seen its input. */
  turn(fn: () => void): void
  /** A worker published. */
  published(message: Message): void
}

/** Pools without slots are looked at this often, in heartbeats. */
const EVEN_OUT_BEATS = 4

/** How long a burst of links that come up is collected before sessions look whether they belong there. */
const SETTLE_MS = 5

export class WorkerSide implements LinkEvents {
  readonly sessions: SessionTable
  readonly #id: string
  readonly #clock: Clock
  readonly #log: GatewayLog
  readonly #counters: Counters
  readonly #events: WorkerSideEvents
  readonly #links: LinkSet
  readonly #chooser: WorkerChooser
  readonly #view = new FrameView()
  #settling: (() => void) | undefined
  #beats = 0

  constructor(options: GatewayOptions, counters: Counters, events: WorkerSideEvents) {
    const { id, region, clock, log, token, random, newId, resumeWindowMs } = options
    this.#id = id
    this.#clock = clock
    this.#log = log
    this.#counters = counters
    this.#events = events
    const { turn } = events
    this.#links = new LinkSet({ gateway: id, clock, events: this, turn, ...(token === undefined ? {} : { token }) })
    this.#chooser = new WorkerChooser(this.#links, clock, random)
    this.sessions = new SessionTable({
      gateway: id,
      region,
      clock,
      counters,
      chooser: this.#chooser,
      newId,
      suspect: (worker, event, detail) => {
        this.#chooser.failed(worker)
        events.report({ t: 'link_report', worker, event, detail })
      },
      ...(resumeWindowMs === undefined ? {} : { resumeWindowMs }),
    })
  }

  /** Follows a new table. */
  useTable(table: RoutingTable, router: SessionRouter): void {
    this.#links.sync(table.workers)
    this.#chooser.useTable(table)
    this.sessions.useTable(table, router)
    this.#settle()
  }

  linkUp(worker: string): void {
    this.#chooser.linked(worker, true)
    this.#events.report({ t: 'link_report', worker, event: 'up' })
    this.sessions.retryWaiting()
    this.#settle()
  }

  linkDown(worker: string, hung: boolean, reason: string): void {
    this.#chooser.linked(worker, false)
    this.#log.warn({ worker, reason }, 'link down')
    this.#events.report({ t: 'link_report', worker, event: hung ? 'timeout' : 'down', detail: reason })
  }

  load(worker: string, sessions: number): void {
    this.#chooser.reported(worker, sessions)
  }

  held(worker: string, change: 1 | -1): void {
    this.#chooser.held(worker, change)
  }

  briefly(read: () => void): void {
    this.#events.briefly(read)
  }

  workerPublish(worker: string, bytes: Uint8Array, start: number, end: number): void {
    const view = this.#view
    if (!view.read(bytes, start, end) || view.type !== FrameType.PUBLISH || !isTopicName(view.topic())) {
      this.#counters.badFrames++
      this.#log.warn({ worker }, 'a PUBLISH of a worker was refused: not a PUBLISH frame with a valid topic')
      return
    }
    this.#events.published({
      topic: view.topic(),
      payload: view.payload().slice(),
      qos: view.seq > 0 ? 1 : 0,
      retain: false,
      publisher: '',
      properties: undefined,
      at: this.#clock.wall(),
      encoded: new Map(),
    })
  }

  /** Every worker of the table with the state of its link. */
  links(): Iterable<WorkerLink> {
    return this.#links.entries()
  }

  /** 99th percentile of the round trips to workers since the last call, milliseconds. */
  takeP99(): number {
    return this.#links.takeP99()
  }

  /** A worker of the table that takes sessions and whose link is not up; undefined when there is none. */
  unlinked({ workers }: RoutingTable): string | undefined {
    for (const { id, state } of workers.values()) if (state === 'up' && !this.#links.get(id)?.up) return id
    return undefined
  }

  /** What a gateway does once a heartbeat: empty links end, moves are reported, pools without slots are evened out. */
  beat(version: number): void {
    this.#links.prune()
    this.#reportMoves(version)
    if (++this.#beats % EVEN_OUT_BEATS === 0 && this.sessions.mover.pending === 0) this.#settle()
  }

  /** Tells the coordinator which links are up: one that was restarted has to learn who vouches for whom. */
  vouch(): void {
    for (const { worker, up } of this.#links.entries())
      if (up) this.#events.report({ t: 'link_report', worker, event: 'up' })
  }

  budget({ perSecond, inFlight, paused, abort }: MoveBudget): void {
    this.sessions.mover.configure({ perSecond, inFlight }, paused)
    if (abort === true) this.sessions.mover.abort()
  }

  /** What the sessions here would do under `planned`. */
  plan(planned: RoutingTable): PlanView {
    return planSessions(this.sessions.sessions(), planned)
  }

  /** The session of this device; undefined when it is not here. */
  find(device: string): SessionView | undefined {
    const session = this.sessions.find(device)
    return session === undefined ? undefined : viewSession(session, this.#id)
  }

  /** Ends the sessions; their last words are still in the links. */
  endSessions(): void {
    this.#settling?.()
    this.sessions.close()
  }

  closeLinks(): void {
    this.#links.close()
  }

  /** Sessions whose worker the table or a link changed are handed off; pools without slots are evened out. */
  #settle(): void {
    this.#settling ??= this.#clock.after(SETTLE_MS, () => {
      this.#settling = undefined
      this.#chooser.evenOut()
      this.sessions.replan()
    })
  }

  #reportMoves(version: number): void {
    for (const [pool, { planned, done, failed, receipts }] of this.sessions.mover.takeProgress())
      this.#events.report({ t: 'move_report', version, pool, planned, done, failed, receipts })
  }
}
