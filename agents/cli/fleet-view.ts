/** How the fleet looks in a terminal: the tables of `status`, `top`, `workers list` and `gateways list`. */

import { type Column, renderTable } from './table-view.js'

/** A gateway in `GET /v1/status`. */
export interface GatewayView {
  readonly id: string
  readonly region: string
  readonly sessions: number
  readonly tableVersion: number
  readonly state: string
  readonly connected?: boolean
  readonly lastNack?: { readonly version?: number; readonly code?: string; readonly message?: string } | string | null
}

/** A worker in `GET /v1/status`. */
export interface WorkerView {
  readonly id: string
  readonly pool: string
  readonly sessions: number
  readonly weight: number
  readonly state: string
}

/** `GET /v1/status`, as far as it is shown. */
export interface StatusView {
  readonly version: number
  readonly gateways: readonly GatewayView[]
  readonly workers: readonly WorkerView[]
}

const GATEWAY_COLUMNS: readonly Column<GatewayView>[] = [
  { title: 'GATEWAY', value: (row) => row.id, flexible: true },
  { title: 'REGION', value: (row) => row.region, flexible: true },
  { title: 'STATE', value: (row) => row.state },
  { title: 'SESSIONS', value: (row) => row.sessions, align: 'right' },
  { title: 'TABLE', value: (row) => row.tableVersion, align: 'right' },
  { title: 'LAST NACK', value: (row) => nackText(row.lastNack), flexible: true },
]

const WORKER_COLUMNS: readonly Column<WorkerView>[] = [
  { title: 'WORKER', value: (row) => row.id, flexible: true },
  { title: 'POOL', value: (row) => row.pool, flexible: true },
  { title: 'STATE', value: (row) => row.state },
  { title: 'WEIGHT', value: (row) => row.weight, align: 'right' },
  { title: 'SESSIONS', value: (row) => row.sessions, align: 'right' },
]

function nackText(nack: GatewayView['lastNack']): string | undefined {
  if (nack === undefined || nack === null) return undefined
  return typeof nack === 'string' ? nack : `table ${nack.version}: ${nack.message ?? nack.code}`
}

/** The table of gateways. */
export function renderGateways(gateways: readonly GatewayView[], width: number): string {
  return gateways.length === 0 ? 'No gateway is registered.' : renderTable(gateways, GATEWAY_COLUMNS, width)
}

/** The table of workers, pool by pool. */
export function renderWorkers(workers: readonly WorkerView[], width: number): string {
  const sorted = workers.toSorted(
    (a, b) => a.pool.localeCompare(b.pool) || a.id.localeCompare(b.id, 'en', { numeric: true }),
  )
  return workers.length === 0 ? 'No worker is registered.' : renderTable(sorted, WORKER_COLUMNS, width)
}

/** Everything of `sluice status`. */
export function renderStatus(status: StatusView, width: number): string {
  return [headline(status), '', renderGateways(status.gateways, width), '', renderWorkers(status.workers, width)].join(
    '\n',
  )
}

function headline({ version, gateways, workers }: StatusView): string {
  const behind = gateways.filter((gateway) => gateway.tableVersion !== version).length
  const sessions = gateways.reduce((sum, gateway) => sum + gateway.sessions, 0)
  const served = behind === 0 ? 'served by every gateway' : `${behind} of ${gateways.length} gateways are behind`
  return `Table ${version}, ${served}. ${sessions} sessions, ${gateways.length} gateways, ${workers.length} workers.`
}
