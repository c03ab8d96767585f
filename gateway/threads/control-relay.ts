/**
 * One gateway in the coordinator's eyes, several threads behind it. Towards the coordinator it is what the feed of a
 * gateway with one thread is; towards each thread it is the coordinator: tables, orders and questions go to all of
 * them, what they say is joined.
 *
 * A table counts as taken when every thread has taken it.
 */

import {
  type DrainGateway,
  type FleetLoad,
  type FromCoordinator,
  type GatewayHeartbeat,
  type LinkReport,
  type MoveBudget,
  packControl,
  type Query,
  type ToCoordinator,
  unpackControl,
} from '../../proto/control.js'
import { SluiceError } from '../../proto/errors.js'
import { EMPTY_TABLE, type RoutingTable } from '../../proto/table.js'
import { packDelta, packTable } from '../../proto/table-delta.js'
import type { FeedEvents } from '../control/feed.js'
import { joinAnswers, joinHeartbeats, type ThreadBeat } from './join.js'

/** The relay's way to one thread. */
export interface RelayLine {
  open(): void
  receive(bytes: Uint8Array): void
  lost(reason: string): void
}

export interface RelayOptions {
  readonly id: string
  readonly threads: number
  /** Sends to the coordinator. */
  readonly report: (message: ToCoordinator) => void
  /** The line to the coordinator is up or down; told once for each change. */
  readonly connected: (up: boolean, detail: string) => void
}

/** How often threads say how they are, milliseconds: often, since their word travels on in this process' own heartbeat. */
const THREAD_BEAT_MS = 250

interface Thread {
  line: RelayLine | undefined
  /** It said who it is on this line. */
  registered: boolean
  /** The last table that it was sent on this line, and the last that it took. */
  sent: number
  taken: number
  /** It was sent tables by this relay: a version that it names is one of ours. */
  met: boolean
  beat: ThreadBeat | undefined
  readonly links: Map<string, boolean>
  readonly asked: Map<number, (body: unknown) => void>
}

interface Wait {
  readonly version: number
  readonly table: RoutingTable
  resolve(): void
  reject(error: Error): void
}

export class ControlRelay implements FeedEvents {
  readonly #options: RelayOptions
  readonly #threads: Thread[]
  /** Counters of threads that ended: totals do not go back. */
  #ended: GatewayHeartbeat['counters'] = { connects: 0, disconnects: 0, errors: 0, framesUp: 0, framesDown: 0 }
  #table: RoutingTable = EMPTY_TABLE
  /** The last table that every thread took. */
  #good: RoutingTable = EMPTY_TABLE
  #waits: Wait[] = []
  #up: boolean | undefined
  #number = 0
  #load: FleetLoad | undefined
  #drain: DrainGateway | undefined
  #budget: MoveBudget | undefined

  constructor(options: RelayOptions) {
    this.#options = options
    this.#threads = Array.from({ length: options.threads }, newThread)
  }

  get table(): RoutingTable {
    return this.#table
  }

  /** Sessions of all threads, as they said last. */
  get sessions(): number {
    return this.#threads.reduce((sum, { beat }) => sum + (beat?.sessions ?? 0), 0)
  }

  /** A thread wants to speak to the coordinator: it is heard as soon as there is one. */
  dialed(index: number, line: RelayLine): void {
    const thread = this.#thread(index)
    this.#hangUp(thread)
    thread.line = line
    if (this.#up === true) line.open()
  }

  /** What thread `index` sends on its line. @throws SluiceError `bad_request` */
  message(index: number, bytes: Uint8Array): void {
    this.#take(this.#thread(index), unpackControl(bytes) as ToCoordinator)
  }

  /** Thread `index` ended its line. @param died its process is gone */
  closed(index: number, died: boolean): void {
    const thread = this.#thread(index)
    this.#hangUp(thread)
    if (died) {
      const counters = thread.beat?.counters
      if (counters !== undefined) this.#ended = added(this.#ended, counters)
      this.#threads[index] = newThread()
    }
    this.#settle()
  }

  // ---- the coordinator's side

  connected(up: boolean, detail: string): void {
    if (up === this.#up) return
    this.#up = up
    this.#options.connected(up, detail)
    if (up) {
      for (const { line } of this.#threads) line?.open()
      return
    }
    this.#waits = []
    this.#table = this.#good
    for (const thread of this.#threads) {
      const { line } = thread
      this.#hangUp(thread)
      line?.lost(detail)
    }
  }

  useTable(table: RoutingTable): Promise<void> {
    const before = this.#table
    this.#table = table
    const taken = new Promise<void>((resolve, reject) => {
      this.#waits.push({ version: table.version, table, resolve, reject })
    })
    let delta: FromCoordinator | undefined
    for (const thread of this.#threads) {
      if (!thread.registered) continue
      if (thread.sent === 0 || thread.sent !== before.version) this.#sendTable(thread)
      else {
        delta ??= { t: 'delta', from: before.version, to: table.version, delta: packDelta(before, table) }
        thread.sent = table.version
        this.#send(thread, delta)
      }
    }
    return taken
  }

  fleetLoad(load: FleetLoad): void {
    this.#load = load
    this.#sendAll(load)
  }

  drain(order: DrainGateway): void {
    this.#drain = order
    this.#sendAll(order)
  }

  budget({ perSecond, inFlight, paused }: MoveBudget): void {
    const share = (value: number) => Math.max(1, Math.floor(value / this.#threads.length))
    this.#budget = { t: 'move_budget', perSecond: share(perSecond), inFlight: share(inFlight), paused }
    this.#sendAll(this.#budget)
  }

  async answer(query: Query): Promise<unknown> {
    const asked = this.#threads.filter(({ registered }) => registered)
    return joinAnswers(query.what, await Promise.all(asked.map((thread) => this.#ask(thread, query))))
  }

  heartbeat(): Omit<GatewayHeartbeat, 't'> {
    const beats = this.#threads.flatMap(({ beat }) => beat ?? [])
    for (const thread of this.#threads) if (thread.beat !== undefined) thread.beat = { ...thread.beat, p99Ms: 0 }
    const { counters, ...rest } = joinHeartbeats(beats)
    return { ...rest, counters: added(counters, this.#ended) }
  }

  // ---- the threads' side

  #take(thread: Thread, message: ToCoordinator): void {
    switch (message.t) {
      case 'register_gateway':
        this.#register(thread, message.tableVersion)
        break
      case 'gateway_heartbeat':
        // The worst since this process spoke for all of them.
        thread.beat = { ...message, p99Ms: Math.max(message.p99Ms, thread.beat?.p99Ms ?? 0) }
        break
      case 'ack':
        thread.taken = message.version
        this.#settle()
        break
      case 'nack':
        thread.sent = 0
        this.#refused(message.version, new SluiceError('table_rejected', message.message))
        break
      case 'answer':
        thread.asked.get(message.id)?.(message.body)
        thread.asked.delete(message.id)
        break
      case 'link_report':
        this.#linkReport(thread, message)
        break
      case 'move_report':
        this.#options.report(message)
        break
      default:
        break
    }
  }

  #register(thread: Thread, version: number): void {
    thread.registered = true
    const coordinator = 'the process of this thread'
    this.#send(thread, { t: 'registered', id: this.#options.id, coordinator, heartbeatMs: THREAD_BEAT_MS })
    if (thread.met && version === this.#table.version) thread.sent = thread.taken = version
    else if (this.#table.version > 0) this.#sendTable(thread)
    for (const order of [this.#load, this.#budget]) if (order !== undefined) this.#send(thread, order)
    if (this.#drain?.draining === true) this.#send(thread, this.#drain)
    this.#settle()
  }

  #sendTable(thread: Thread): void {
    const { version } = this.#table
    thread.met = true
    thread.sent = version
    this.#send(thread, { t: 'snapshot', version, table: packTable(this.#table) })
  }

  /** Tables that every thread has by now are taken. */
  #settle(): void {
    const present = this.#threads.filter(({ registered }) => registered)
    if (present.length === 0) return
    const everybody = Math.min(...present.map(({ taken }) => taken))
    for (const { version, table, resolve } of this.#waits) {
      if (version > everybody) continue
      this.#good = table
      resolve()
    }
    this.#waits = this.#waits.filter(({ version }) => version > everybody)
  }

  /** One thread's refusal is the gateway's: all of them go back to what all of them took. */
  #refused(version: number, error: Error): void {
    const waiting = this.#waits.filter((wait) => wait.version >= version)
    if (waiting.length === 0) return
    this.#waits = this.#waits.filter((wait) => wait.version < version)
    this.#table = this.#good
    if (this.#good.version > 0) for (const thread of this.#threads) if (thread.registered) this.#sendTable(thread)
    for (const { reject } of waiting) reject(error)
  }

  /** A link is down for the coordinator when no thread has it any more. */
  #linkReport(thread: Thread, message: LinkReport): void {
    const { worker, event } = message
    const before = this.#linked(worker)
    if (event !== 'refused') thread.links.set(worker, event === 'up')
    const after = this.#linked(worker)
    if (event === 'refused' || event === 'timeout' || before !== after) this.#options.report(message)
    // A timeout is one thread's word; the others may still have theirs.
    if (event === 'timeout' && after) this.#options.report({ t: 'link_report', worker, event: 'up' })
  }

  #linked(worker: string): boolean {
    return this.#threads.some(({ links }) => links.get(worker) === true)
  }

  #ask(thread: Thread, query: Query): Promise<unknown> {
    return new Promise((resolve) => {
      const id = ++this.#number
      thread.asked.set(id, resolve)
      this.#send(thread, { ...query, id })
    })
  }

  #hangUp(thread: Thread): void {
    thread.line = undefined
    thread.registered = false
    thread.sent = thread.taken = 0
    thread.links.clear()
    for (const resolve of thread.asked.values()) resolve(undefined)
    thread.asked.clear()
  }

  #sendAll(message: FromCoordinator): void {
    for (const thread of this.#threads) if (thread.registered) this.#send(thread, message)
  }

  #send(thread: Thread, message: FromCoordinator): void {
    thread.line?.receive(packControl(message))
  }

  #thread(index: number): Thread {
    const thread = this.#threads[index]
    if (thread === undefined) throw new RangeError(`there is no thread ${index}`)
    return thread
  }
}

function newThread(): Thread {
  return {
    line: undefined,
    registered: false,
    sent: 0,
    taken: 0,
    met: false,
    beat: undefined,
    links: new Map(),
    asked: new Map(),
  }
}

function added(a: GatewayHeartbeat['counters'], b: GatewayHeartbeat['counters']): GatewayHeartbeat['counters'] {
  return {
    connects: a.connects + b.connects,
    disconnects: a.disconnects + b.disconnects,
    errors: a.errors + b.errors,
    framesUp: a.framesUp + b.framesUp,
    framesDown: a.framesDown + b.framesDown,
  }
}
