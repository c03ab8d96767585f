/**
 * The gateway's line to the coordinator: registers, takes tables, answers questions, reports. When the coordinator is
 * away the gateway goes on with what it has, and dials again.
 */

import {
  CONTROL_PROTOCOL,
  type DrainGateway,
  type FleetLoad,
  type FromCoordinator,
  type GatewayHeartbeat,
  type MoveBudget,
  packControl,
  type Query,
  type RegisterGateway,
  type ToCoordinator,
  unpackControl,
} from '../../proto/control.js'
import { SluiceError } from '../../proto/errors.js'
import type { RoutingTable } from '../../proto/table.js'
import { checkTable } from '../../proto/table-check.js'
import { applyDelta, unpackTable } from '../../proto/table-delta.js'
import type { Clock } from '../ports.js'
import { type DialLine, dialCoordinator, type Line } from './line.js'

/** What the gateway does with what it is told. */
export interface FeedEvents {
  /** The table in force. */
  readonly table: RoutingTable
  /**
   * Swaps the table; a promise resolves when it is in use everywhere.
   * @throws SluiceError, or rejects with one, when it cannot be used: the coordinator is told, the old one stays
   */
  useTable(table: RoutingTable): void | Promise<void>
  fleetLoad(load: FleetLoad): void
  drain(order: DrainGateway): void
  budget(budget: MoveBudget): void
  /** The answer, or a promise of it. */
  answer(query: Query): unknown
  /** `lagMs`: of other processes than this one. */
  heartbeat(): Omit<GatewayHeartbeat, 't' | 'lagMs'> & { readonly lagMs?: number }
  /** The line is up or down. */
  connected(up: boolean, detail: string): void
}

export interface FeedOptions {
  /** Base URL, `http://` or `https://`; of several coordinators with commas between. */
  readonly coordinator: string
  /** Reaches it; a WebSocket to `coordinator` when absent. */
  readonly dial?: DialLine
  readonly register: Omit<RegisterGateway, 't' | 'protocol' | 'tableVersion'>
  readonly token?: string
  readonly clock: Clock
  readonly events: FeedEvents
  /** 0 to 1, for jitter. */
  readonly random: () => number
}

const BACKOFF_MIN_MS = 50
const BACKOFF_MAX_MS = 2000
/** A coordinator that stands still is left within 3 s, before the one that takes over gives this gateway up. */
const PING_MS = 750
const UNANSWERED = 3

export class Feed {
  readonly #options: FeedOptions
  readonly #connect: DialLine
  #line: Line | undefined
  #registered = false
  #closed = false
  #backoff = BACKOFF_MIN_MS
  #heartbeatMs = 500
  #unanswered = 0
  #cancelBeat: (() => void) | undefined
  #cancelPing: (() => void) | undefined
  #beatDue = 0

  constructor(options: FeedOptions) {
    this.#options = options
    this.#connect = options.dial ?? dialCoordinator(options.coordinator, options.token)
    this.#dial()
  }

  /** True while the coordinator knows this gateway. */
  get up(): boolean {
    return this.#registered
  }

  /** Sends when the line is up; what is lost otherwise is in the next heartbeat. */
  send(message: ToCoordinator): void {
    if (this.#registered) this.#line?.send(packControl(message))
  }

  close(): void {
    this.#closed = true
    this.#stopTimers()
    this.#line?.close()
    this.#line = undefined
  }

  #dial(): void {
    const line = this.#connect({
      open: () => this.#register(line),
      message: (bytes) => this.#receive(line, bytes),
      alive: () => {
        this.#unanswered = 0
      },
      lost: (reason) => this.#lost(line, reason),
    })
    this.#line = line
  }

  #register(line: Line): void {
    if (line !== this.#line) return
    const { register, events } = this.#options
    const message: RegisterGateway = {
      t: 'register_gateway',
      protocol: CONTROL_PROTOCOL,
      ...register,
      tableVersion: events.table.version,
    }
    line.send(packControl(message))
    this.#unanswered = 0
    this.#ping(line)
  }

  #receive(line: Line, bytes: Uint8Array): void {
    if (line !== this.#line) return
    this.#unanswered = 0
    try {
      this.#handle(unpackControl(bytes) as FromCoordinator)
    } catch (error) {
      this.#lost(line, error instanceof Error ? error.message : String(error))
    }
  }

  #handle(message: FromCoordinator): void {
    const { events } = this.#options
    switch (message.t) {
      case 'registered':
        this.#registered = true
        this.#backoff = BACKOFF_MIN_MS
        this.#heartbeatMs = message.heartbeatMs
        events.connected(true, message.coordinator)
        this.#beat()
        break
      case 'refused':
        throw new SluiceError('conflict', `the coordinator refused this gateway: ${message.code}: ${message.message}`)
      case 'snapshot':
        this.#take(message.version, () => unpackTable(message.table))
        break
      case 'delta':
        this.#take(message.to, () => applyDelta(events.table, message.delta))
        break
      case 'fleet_load':
        events.fleetLoad(message)
        break
      case 'query':
        this.#answer(message)
        break
      case 'drain_gateway':
        events.drain(message)
        break
      case 'move_budget':
        events.budget(message)
        break
    }
  }

  #answer(query: Query): void {
    const body = this.#options.events.answer(query)
    if (body instanceof Promise) void body.then((body: unknown) => this.send({ t: 'answer', id: query.id, body }))
    else this.send({ t: 'answer', id: query.id, body })
  }

  /** Checks a table whole, swaps it, then ACKs; or NACKs with the reason and keeps the one in force. */
  #take(version: number, read: () => RoutingTable): void {
    const { events } = this.#options
    try {
      const table = read()
      const problems = checkTable(table)
      if (problems.length > 0) throw new SluiceError('table_rejected', problems.slice(0, 5).join('; '))
      const used = events.useTable(table)
      if (used === undefined) this.send({ t: 'ack', version })
      else
        used.then(
          () => this.send({ t: 'ack', version }),
          (error: unknown) => this.#refuse(version, error),
        )
    } catch (error) {
      this.#refuse(version, error)
    }
  }

  #refuse(version: number, error: unknown): void {
    const code = error instanceof SluiceError ? error.code : 'internal'
    const message = error instanceof Error ? error.message : String(error)
    this.send({ t: 'nack', version, serving: this.#options.events.table.version, code, message })
  }

  /** A heartbeat carries how late it is: so the coordinator tells a slow gateway from a dead one. */
  #beat(): void {
    const { clock, events } = this.#options
    const lagMs = this.#beatDue === 0 ? 0 : Math.max(0, clock.now() - this.#beatDue)
    const beat = events.heartbeat()
    this.send({ t: 'gateway_heartbeat', ...beat, lagMs: Math.round(Math.max(lagMs, beat.lagMs ?? 0)) })
    this.#beatDue = clock.now() + this.#heartbeatMs
    this.#cancelBeat?.()
    this.#cancelBeat = clock.after(this.#heartbeatMs, () => this.#beat())
  }

  #ping(line: Line): void {
    this.#cancelPing?.()
    this.#cancelPing = this.#options.clock.after(PING_MS, () => {
      if (line !== this.#line) return
      if (this.#unanswered >= UNANSWERED) return this.#lost(line, `${UNANSWERED} pings went unanswered`)
      this.#unanswered++
      line.ping()
      this.#ping(line)
    })
  }

  #lost(line: Line, reason: string): void {
    if (line !== this.#line) return
    this.#line = undefined
    this.#registered = false
    this.#stopTimers()
    line.terminate()
    if (this.#closed) return
    this.#options.events.connected(false, reason)
    const wait = this.#backoff * (0.5 + this.#options.random() / 2)
    this.#backoff = Math.min(BACKOFF_MAX_MS, this.#backoff * 2)
    this.#cancelBeat = this.#options.clock.after(wait, () => this.#dial())
  }

  #stopTimers(): void {
    this.#cancelBeat?.()
    this.#cancelPing?.()
    this.#beatDue = 0
  }
}
