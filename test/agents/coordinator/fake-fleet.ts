/** Gateways and workers that speak the real control protocol over real WebSockets, for tests of the coordinator. */

import { randomUUID } from 'node:crypto'
import WebSocket from 'ws'
import {
  type FromCoordinator,
  type GatewayHeartbeat,
  type PlanView,
  packControl,
  type RegisterGateway,
  type RegisterWorker,
  type SessionView,
  type ToCoordinator,
  unpackControl,
} from '../../../proto/control.js'
import { EMPTY_TABLE, type RoutingTable } from '../../../proto/table.js'
import { checkTable } from '../../../proto/table-check.js'
import { applyDelta, unpackTable } from '../../../proto/table-delta.js'

/** Waiting for longer than this is a failure. */
const LIMIT_MS = 5000

type Of<T extends FromCoordinator['t']> = Extract<FromCoordinator, { t: T }>

/** One control connection. */
export class FakePeer {
  readonly socket: WebSocket
  readonly received: FromCoordinator[] = []
  /** False for benchmarks: nothing is kept. */
  remembers = true
  checksTables = true
  readonly opened: Promise<void>
  readonly closed: Promise<{ code: number; reason: string }>
  #waiting: (() => void)[] = []

  constructor(url: string, token?: string) {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
    this.socket = new WebSocket(`${url.replace('http', 'ws')}/v1/control`, { headers })
    this.socket.on('message', (data: Buffer) => {
      const message = unpackControl(data) as FromCoordinator
      if (this.remembers) this.received.push(message)
      this.onMessage(message)
      this.wake()
    })
    this.socket.on('error', () => {})
    this.opened = new Promise((resolve, reject) => {
      this.socket.once('open', resolve)
      this.socket.once('error', reject)
    })
    this.opened.catch(() => {})
    this.closed = new Promise((resolve) => {
      this.socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
  }

  onMessage(_message: FromCoordinator): void {}

  wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const look of waiting) look()
  }

  send(message: ToCoordinator | Uint8Array): void {
    this.socket.send(message instanceof Uint8Array ? message : packControl(message))
  }

  /** The first message of that type, from now or before, that passes. */
  message<T extends FromCoordinator['t']>(type: T, passes: (message: Of<T>) => boolean = () => true): Promise<Of<T>> {
    return this.until(
      () => this.received.find((message): message is Of<T> => message.t === type && passes(message as Of<T>)),
      type,
    )
  }

  /** Looks again after every message until there is something. */
  async until<T>(look: () => T | undefined, what: string): Promise<T> {
    const limit = Date.now() + LIMIT_MS
    for (;;) {
      const found = look()
      if (found !== undefined && found !== false) return found
      if (Date.now() > limit)
        throw new Error(`waited in vain for ${what}; got ${this.received.map(({ t }) => t).join(' ')}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100)
        this.#waiting.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  /** As kill -9 does it: no close frame. */
  kill(): void {
    this.socket.terminate()
  }

  close(): void {
    this.socket.close(1000)
  }
}

/** A worker that registers and, unless told not to, heartbeats. */
export class FakeWorker extends FakePeer {
  readonly id: string
  readonly registration: RegisterWorker
  #timer: NodeJS.Timeout | undefined

  constructor(url: string, id: string, change: Partial<RegisterWorker> & { token?: string } = {}) {
    const { token, ...rest } = change
    super(url, token)
    this.id = id
    this.registration = {
      t: 'register_worker',
      protocol: 1,
      id,
      pool: 'default',
      link: 'tcp://127.0.0.1:9000',
      weight: 1,
      pid: 1,
      incarnation: randomUUID(),
      sessions: 0,
      ...rest,
    }
    this.socket.on('open', () => this.send(this.registration))
    this.socket.on('close', () => this.silence())
    this.#timer = setInterval(() => this.beat(), 200)
  }

  beat(): void {
    if (this.socket.readyState === WebSocket.OPEN) this.send({ t: 'worker_heartbeat', sessions: 0, lagMs: 0 })
  }

  /** No more heartbeats. */
  silence(): void {
    clearInterval(this.#timer)
  }
}

/** What a fake gateway does with a table: acks it, or answers as it is told. */
export type OnTable = 'ack' | 'ignore' | { code: string; message: string }

/** A gateway that takes tables and acks them. */
export class FakeGateway extends FakePeer {
  readonly id: string
  readonly registration: RegisterGateway
  table: RoutingTable = EMPTY_TABLE
  onTable: OnTable = 'ack'
  sessions: SessionView[] = []
  pools: GatewayHeartbeat['pools'] = {}
  answersQueries = true
  planAnswer: PlanView | null = null
  p99Ms = 1
  counters = { connects: 0, disconnects: 0, errors: 0, framesUp: 0, framesDown: 0 }
  #timer: NodeJS.Timeout | undefined

  constructor(url: string, id: string, change: Partial<RegisterGateway> & { token?: string } = {}) {
    const { token, ...rest } = change
    super(url, token)
    this.id = id
    this.registration = {
      t: 'register_gateway',
      protocol: 1,
      id,
      region: 'local',
      http: 'http://127.0.0.1:8080',
      ws: 'ws://127.0.0.1:8080/v1/connect',
      mqtt: 'mqtt://127.0.0.1:1883',
      capacity: 0,
      pid: 1,
      incarnation: randomUUID(),
      tableVersion: 0,
      ...rest,
    }
    this.socket.on('open', () => this.send(this.registration))
    this.socket.on('close', () => this.silence())
    this.#timer = setInterval(() => this.beat(), 100)
  }

  beat(): void {
    if (this.socket.readyState !== WebSocket.OPEN) return
    const { pools, counters, p99Ms } = this
    const sessions = this.sessions.length
    this.send({ t: 'gateway_heartbeat', sessions, lagMs: 0, pools, counters, p99Ms })
  }

  silence(): void {
    clearInterval(this.#timer)
  }

  link(worker: string, event: 'up' | 'down' | 'timeout' | 'refused'): void {
    this.send({ t: 'link_report', worker, event })
  }

  override onMessage(message: FromCoordinator): void {
    if (message.t === 'snapshot') this.#take(message.version, () => unpackTable(message.table))
    else if (message.t === 'delta') this.#take(message.to, () => applyDelta(this.table, message.delta))
    else if (message.t === 'query' && this.answersQueries) {
      const session = this.sessions.find(({ device }) => device === message.device) ?? null
      this.send({ t: 'answer', id: message.id, body: message.what === 'plan' ? this.planAnswer : session })
    }
  }

  /** The first table that passes. */
  tableWhere(passes: (table: RoutingTable) => boolean, what = 'a table'): Promise<RoutingTable> {
    return this.until(() => (passes(this.table) ? this.table : undefined), what)
  }

  /** The first table whose default pool has these workers and nobody else. */
  tableWith(...ids: string[]): Promise<RoutingTable> {
    return this.tableWhere(
      (table) => [...table.workers.keys()].sort().join() === [...ids].sort().join(),
      `a table of ${ids.join()}`,
    )
  }

  #take(version: number, read: () => RoutingTable): void {
    if (this.onTable === 'ignore') return
    if (this.onTable !== 'ack') {
      this.send({ t: 'nack', version, serving: this.table.version, ...this.onTable })
      return
    }
    const table = read()
    const problems = this.checksTables ? checkTable(table) : []
    if (problems.length > 0) throw new Error(`the coordinator sent a bad table: ${problems.join('; ')}`)
    this.table = table
    this.send({ t: 'ack', version })
  }
}

/** Sends a request to the API and reads the JSON that comes back. */
export async function call(
  url: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: Record<string, unknown>; headers: Headers }> {
  const text = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }
  const response = await fetch(url + path, {
    method,
    headers: { 'content-type': 'application/json', ...headers },
    ...text,
  })
  return {
    status: response.status,
    body: (await response.json()) as Record<string, unknown>,
    headers: response.headers,
  }
}
