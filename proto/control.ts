/**
 * Messages between the coordinator and its gateways and workers: one WebSocket each at `/v1/control`, one msgpackr
 * record per binary message (records mode: half the bytes of plain maps, and any fresh reader decodes them).
 */

import { Packr } from 'msgpackr'
import { SluiceError } from './errors.js'

/** Both ends say it in their first message; a different one is refused with `protocol_mismatch`. */
export const CONTROL_PROTOCOL = 1

/** First message of a worker. Answered by `registered` or `refused`. */
export interface RegisterWorker {
  t: 'register_worker'
  protocol: number
  id: string
  pool: string
  link: string
  weight: number
  pid: number
  /** Random per process start: tells a restarted worker from a reconnecting one. */
  incarnation: string
  sessions: number
}

/** First message of a gateway. Answered by `registered`, then `snapshot`. */
export interface RegisterGateway {
  t: 'register_gateway'
  protocol: number
  id: string
  region: string
  location?: { lat: number; lon: number }
  http: string
  ws: string
  mqtt: string
  /** Where other gateways dial its threads, when it has several. */
  peers?: string[]
  capacity: number
  pid: number
  incarnation: string
  /** The table it serves now, 0 for none. */
  tableVersion: number
}

export interface Registered {
  t: 'registered'
  id: string
  coordinator: string
  heartbeatMs: number
}

export interface Refused {
  t: 'refused'
  code: string
  message: string
}

/** Sent every `heartbeatMs`. `lagMs` is the sender's own event-loop delay, so that slow is told from dead. */
export interface WorkerHeartbeat {
  t: 'worker_heartbeat'
  sessions: number
  lagMs: number
}

export interface GatewayHeartbeat {
  t: 'gateway_heartbeat'
  sessions: number
  lagMs: number
  /** Per pool: bindings held here by worker id, and (slot pools) sessions per occupied slot as [slot, count, ...]. */
  pools: Record<string, { workers: Record<string, number>; slots: number[] }>
  /** Totals since start, for rollout health. */
  counters: { connects: number; disconnects: number; errors: number; framesUp: number; framesDown: number }
  /** p99 of the relay round trip in milliseconds over the last heartbeat, 0 when idle. */
  p99Ms: number
}

/** What a gateway sees of a worker; membership and outlier ejection feed on it. */
export interface LinkReport {
  t: 'link_report'
  worker: string
  event: 'up' | 'down' | 'timeout' | 'refused'
  detail?: string
}

/** A whole table, packed by `packTable`. */
export interface Snapshot {
  t: 'snapshot'
  version: number
  table: Uint8Array
}

/** A change from `from` to `to`, packed by `packDelta`. A gateway that is not at `from` answers nack and is sent a snapshot. */
export interface Delta {
  t: 'delta'
  from: number
  to: number
  delta: Uint8Array
}

export interface TableAck {
  t: 'ack'
  version: number
}

export interface TableNack {
  t: 'nack'
  /** The version it was offered, and the one that it goes on serving. */
  version: number
  serving: number
  code: string
  message: string
}

/** Sessions of every gateway, for nearest; not versioned, only newer. */
export interface FleetLoad {
  t: 'fleet_load'
  gateways: Record<string, number>
}

/** A question to a gateway; the answer carries the same `id`. */
export interface Query {
  t: 'query'
  id: number
  what: 'session' | 'receipts' | 'plan'
  device?: string
  /** For `plan`: a table that nobody serves yet, packed by `packTable`. */
  table?: Uint8Array
}

/** Body of the answer to `plan`: what the sessions of this gateway would do under that table, by pool. */
export type PlanView = Record<string, PoolPlanView>

export interface PoolPlanView {
  /** Bindings that would be in this pool, and are with another worker or in another pool now. */
  moved: number
  /** Bindings by worker id: as they are, and as they would be. */
  before: Record<string, number>
  after: Record<string, number>
}

export interface Answer {
  t: 'answer'
  id: number
  body: unknown
}

/** What `GET /v1/sessions/DEVICE` shows, as one gateway knows it. */
export interface SessionView {
  device: string
  session: string
  gateway: string
  protocol: string
  /** ISO 8601. */
  since: string
  attributes: Record<string, string>
  bindings: Record<string, { worker: string; slot: number; epoch: number }>
}

/** Orders a worker to drain or a process to stop being new; the coordinator sends it, a worker may ask for it on SIGTERM. */
export interface DrainRequest {
  t: 'drain'
  id: string
}

/** Tells a draining worker that nothing is bound to it any more. */
export interface Drained {
  t: 'drained'
  id: string
}

/** Tells a gateway to drain itself over `windowMs`, or to stop draining. */
export interface DrainGateway {
  t: 'drain_gateway'
  draining: boolean
  windowMs: number
}

/** How fast a gateway may move sessions; the coordinator splits the fleet's budget over the gateways. */
export interface MoveBudget {
  t: 'move_budget'
  perSecond: number
  inFlight: number
  paused: boolean
  /** Once: what has not begun is called off. Those sessions stay with their workers until the next table. */
  abort?: boolean
}

/**
 * Progress and receipts of the moves that a table caused on one gateway; sent while they run and when they end.
 * The numbers are what happened since the last report; `planned` is below 0 when moves were called off. `version` is the
 * table that the gateway serves.
 */
export interface MoveReport {
  t: 'move_report'
  version: number
  pool: string
  planned: number
  done: number
  failed: number
  receipts: MoveReceipt[]
}

/** Proof of one handoff. `pauseMs` runs from hold to release. */
export interface MoveReceipt {
  device: string
  from: string
  to: string
  lastSeq: number
  firstSeq: number
  pauseMs: number
}

export type ToCoordinator =
  | RegisterWorker
  | RegisterGateway
  | WorkerHeartbeat
  | GatewayHeartbeat
  | LinkReport
  | TableAck
  | TableNack
  | Answer
  | DrainRequest
  | MoveReport

export type FromCoordinator =
  | Registered
  | Refused
  | Snapshot
  | Delta
  | FleetLoad
  | Query
  | Drained
  | DrainGateway
  | MoveBudget

export type ControlMessage = ToCoordinator | FromCoordinator

/** Largest control message that either side accepts: a snapshot of 1,000 workers in 50 pools is under 4 MB. */
export const MAX_CONTROL_BYTES = 16 * 1024 * 1024

const packr = new Packr({ useRecords: true, structuredClone: false })

const plain = new Packr({ useRecords: false, variableMapSize: true, structuredClone: false })
/** What a worker is sent: plain maps, so that a worker in any language reads them with any msgpack library. */
const PLAIN: ReadonlySet<string> = new Set<FromCoordinator['t']>(['registered', 'refused', 'drained'])

/** Encodes a control message. The link's control records are plain maps instead: see link-control.ts. */
export function packControl(message: unknown): Uint8Array {
  const t = (message as { t?: string } | null)?.t
  return (t !== undefined && PLAIN.has(t) ? plain : packr).pack(message)
}

/**
 * Decodes one control value.
 * @throws SluiceError `bad_request` when the bytes are not msgpack, are nested too deeply, or have bytes behind them.
 */
export function unpackControl(bytes: Uint8Array): unknown {
  try {
    // A fresh reader per message: record definitions never leak from one sender to another.
    return new Packr({ useRecords: true, mapsAsObjects: true }).unpack(bytes)
  } catch (cause) {
    throw new SluiceError('bad_request', 'control message cannot be decoded', { cause })
  }
}
