/** What `GET /v1/status` and `/readyz` show. */

import type { ControlPlane } from './control-plane.js'
import type { NackRecord } from './feed.js'

/** One gateway in the status. */
export interface GatewayStatus {
  readonly id: string
  readonly region: string
  readonly sessions: number
  /** Version that it serves. */
  readonly tableVersion: number
  /** Milliseconds since it took that version over, null before it did. */
  readonly tableAgeMs: number | null
  readonly state: string
  readonly lastNack: NackRecord | null
  readonly connected: boolean
  readonly http: string
  readonly ws: string
  readonly mqtt: string
  readonly pid: number
  readonly lagMs: number
  readonly p99Ms: number
}

/** One worker in the status. */
export interface WorkerStatus {
  readonly id: string
  readonly pool: string
  readonly sessions: number
  readonly weight: number
  readonly state: string
  readonly connected: boolean
  readonly link: string
  readonly pid: number
  readonly lagMs: number
}

/** The answer of `GET /v1/status`. */
export interface FleetStatus {
  readonly version: number
  /** True when every connected gateway serves what it ought to: `version`, or the staged one of a rollout. */
  readonly converged: boolean
  readonly sessions: number
  readonly gateways: readonly GatewayStatus[]
  readonly workers: readonly WorkerStatus[]
}

/** The fleet as it is known now. */
export function fleetStatus(plane: ControlPlane, now: number): FleetStatus {
  const gateways = [...plane.fleet.gateways.keys()].sort().map((id) => gatewayStatus(plane, id, now))
  const bindings = plane.loads.bindings()
  const workers = [...plane.fleet.workers.keys()].sort().map((id) => workerStatus(plane, id, bindings))
  const connected = gateways.filter((gateway) => gateway.connected)
  const { version } = plane.table
  return {
    version,
    converged: connected.every(({ id }) => plane.publisher.feeds.get(id)?.converged === true),
    sessions: gateways.reduce((sum, { sessions }) => sum + sessions, 0),
    gateways,
    workers,
  }
}

function gatewayStatus(plane: ControlPlane, id: string, now: number): GatewayStatus {
  const gateway = plane.fleet.gateways.get(id)
  const feed = plane.publisher.feeds.get(id)
  const heartbeat = plane.loads.heartbeatOf(id)
  const membership = plane.fleet.gatewayMembership.stateOf(id) ?? 'gone'
  const draining = plane.fleet.isGatewayDraining(id)
  return {
    id,
    region: gateway?.region ?? '',
    sessions: heartbeat?.sessions ?? 0,
    tableVersion: feed?.version ?? 0,
    tableAgeMs: feed === undefined || feed.ackedAt === 0 ? null : Math.round(now - feed.ackedAt),
    state: membership === 'up' && draining ? 'draining' : membership,
    lastNack: feed?.lastNack ?? null,
    connected: feed !== undefined,
    http: gateway?.http ?? '',
    ws: gateway?.ws ?? '',
    mqtt: gateway?.mqtt ?? '',
    pid: gateway?.pid ?? 0,
    lagMs: heartbeat?.lagMs ?? 0,
    p99Ms: heartbeat?.p99Ms ?? 0,
  }
}

function workerStatus(plane: ControlPlane, id: string, bindings: ReadonlyMap<string, number>): WorkerStatus {
  const worker = plane.fleet.workers.get(id)
  const membership = plane.fleet.workerMembership.stateOf(id) ?? 'gone'
  const entry = plane.table.workers.get(id)
  // What gateways say is what routes; the worker's own count is what is left when no gateway is connected.
  const sessions = plane.connectedGateways.length > 0 ? (bindings.get(id) ?? 0) : (worker?.sessions ?? 0)
  return {
    id,
    pool: worker?.pool ?? '',
    sessions,
    weight: worker === undefined ? 0 : plane.fleet.weightOf(worker),
    state: membership === 'up' ? (entry?.state ?? 'joining') : membership,
    connected: plane.isConnected(id),
    link: worker?.link ?? '',
    pid: worker?.pid ?? 0,
    lagMs: worker?.lagMs ?? 0,
  }
}
