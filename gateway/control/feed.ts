/**
 * The gateway's line to the coordinator: registers, takes tables, answers questions, reports. When the coordinator is
 * away the gateway goes on with what it has, and dials again.
 */

import WebSocket from 'ws'
import {
  CONTROL_PROTOCOL,
  type DrainGateway,
  type FleetLoad,
  type FromCoordinator,
  type GatewayHeartbeat,
  MAX_CONTROL_BYTES,
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

/** What the gateway does with what it is told. */
export interface FeedEvents {
  /** The table in force. */
  readonly table: RoutingTable
  /** Swaps the table. @throws SluiceError when it cannot be used: the coordinator is told, the old one stays */
  useTable(table: RoutingTable): void
  fleetLoad(load: FleetLoad): void
  drain(order: DrainGateway): void
  budget(budget: MoveBudget): void
  answer(query: Query): unknown
  heartbeat(): Omit<GatewayHeartbeat, 't' | 'lagMs'>
  /** The line is up or down. */
  connected(up: boolean, detail: string): void
}

export interface FeedOptions {
  /** Base URL, `http://` or `https://`. */
  readonly coordinator: string
  readonly register: Omit<RegisterGateway, 't' | 'protocol' | 'tableVersion'>
  readonly token?: string
  readonly clock: Clock
  readonly events: FeedEvents
  /** 0 to 1, for jitter. */
  readonly random: () => number
}

const BACKOFF_MIN_MS = 50
const BACKOFF_MAX_MS = 2000
const PING_MS = 1000
const UNANSWERED = 4

export class Feed {
  readonly #options: FeedOptions
  #socket: WebSocket | undefined
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
    this.#dial()
  }

  /** True while the coordinator knows this gateway. */
  get up(): boolean {
    return this.#registered
  }

  /** Sends when the line is up; what is lost otherwise is in the next heartbeat. */
  send(message: ToCoordinator): void {
    if (this.#registered) this.#socket?.send(packControl(message))
  }

  close(): void {
    this.#closed = true
    this.#stopTimers()
    this.#socket?.close(1000)
    this.#socket = undefined
  }

  #dial(): void {
    const { coordinator, token } = this.#options
    const url = new URL('/v1/control', coordinator)
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
    const socket = new WebSocket(url, {
      maxPayload: MAX_CONTROL_BYTES,
      handshakeTimeout: 3000,
      perMessageDeflate: false,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    })
    this.#socket = socket
    socket.on('open', () => this.#register(socket))
    socket.on('message', (data) => this.#receive(socket, data as Buffer))
    socket.on('pong', () => {
      this.#unanswered = 0
    })
    socket.on('error', (error) => this.#lost(socket, error.message))
    socket.on('close', (code, reason) => this.#lost(socket, `closed with ${code} ${reason.toString()}`))
  }

  #register(socket: WebSocket): void {
    if (socket !== this.#socket) return
    const { register, events } = this.#options
    const message: RegisterGateway = {
      t: 'register_gateway',
      protocol: CONTROL_PROTOCOL,
      ...register,
      tableVersion: events.table.version,
    }
    socket.send(packControl(message))
    this.#unanswered = 0
    this.#ping(socket)
  }

  #receive(socket: WebSocket, data: Buffer): void {
    if (socket !== this.#socket) return
    this.#unanswered = 0
    try {
      this.#handle(unpackControl(data) as FromCoordinator)
    } catch (error) {
      this.#lost(socket, error instanceof Error ? error.message : String(error))
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
        this.send({ t: 'answer', id: message.id, body: events.answer(message) })
        break
      case 'drain_gateway':
        events.drain(message)
        break
      case 'move_budget':
        events.budget(message)
        break
    }
  }

  /** Checks a table whole, swaps it, then ACKs; or NACKs with the reason and keeps the one in force. */
  #take(version: number, read: () => RoutingTable): void {
    const { events } = this.#options
    try {
      const table = read()
      const problems = checkTable(table)
      if (problems.length > 0) throw new SluiceError('table_rejected', problems.slice(0, 5).join('; '))
      events.useTable(table)
      this.send({ t: 'ack', version })
    } catch (error) {
      const code = error instanceof SluiceError ? error.code : 'internal'
      const message = error instanceof Error ? error.message : String(error)
      this.send({ t: 'nack', version, serving: events.table.version, code, message })
    }
  }

  /** A heartbeat carries how late it is: so the coordinator tells a slow gateway from a dead one. */
  #beat(): void {
    const { clock, events } = this.#options
    const lagMs = this.#beatDue === 0 ? 0 : Math.max(0, clock.now() - this.#beatDue)
    this.send({ t: 'gateway_heartbeat', lagMs: Math.round(lagMs), ...events.heartbeat() })
    this.#beatDue = clock.now() + this.#heartbeatMs
    this.#cancelBeat?.()
    this.#cancelBeat = clock.after(this.#heartbeatMs, () => this.#beat())
  }

  #ping(socket: WebSocket): void {
    this.#cancelPing?.()
    this.#cancelPing = this.#options.clock.after(PING_MS, () => {
      if (socket !== this.#socket) return
      if (this.#unanswered >= UNANSWERED) return this.#lost(socket, `${UNANSWERED} pings went unanswered`)
      this.#unanswered++
      if (socket.readyState === WebSocket.OPEN) socket.ping()
      this.#ping(socket)
    })
  }

  #lost(socket: WebSocket, reason: string): void {
    if (socket !== this.#socket) return
    this.#socket = undefined
    this.#registered = false
    this.#stopTimers()
    socket.terminate()
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
