/** How plans and the history of the routes look in a terminal. */

import { type Column, renderTable } from './table-view.js'

/** Answer of `POST /v1/routes/plan`. */
export interface Plan {
  readonly version: number
  readonly errors: readonly PlanError[]
  readonly pools: Readonly<
    Record<
      string,
      { slotsMoved: number; sessionsMoved: number; perWorker: readonly { id: string; before: number; after: number }[] }
    >
  >
}

/** What is wrong with a routes file, and where. */
export interface PlanError {
  readonly path: string
  readonly line?: number
  readonly column?: number
  readonly message: string
}

/** One line of `GET /v1/routes/history`. */
export interface HistoryEntry {
  readonly version: number
  readonly who?: string
  readonly when: string | number
  readonly what?: string
  readonly message?: string
}

/** A plan: per pool and worker what would move. */
export function renderPlan(plan: Plan, width: number): string {
  if (plan.errors.length > 0)
    return ['It would be refused:', ...plan.errors.map((error) => `  ${errorText(error)}`)].join('\n')
  const pools = Object.entries(plan.pools)
  const sessions = pools.reduce((sum, [, pool]) => sum + pool.sessionsMoved, 0)
  const rows = pools.flatMap(([pool, { perWorker }]) => perWorker.map((worker) => ({ pool, ...worker })))
  const columns: readonly Column<(typeof rows)[number]>[] = [
    { title: 'POOL', value: (row) => row.pool, flexible: true },
    { title: 'WORKER', value: (row) => row.id, flexible: true },
    { title: 'BEFORE', value: (row) => row.before, align: 'right' },
    { title: 'AFTER', value: (row) => row.after, align: 'right' },
    { title: 'CHANGE', value: (row) => signed(row.after - row.before), align: 'right' },
  ]
  const slots = pools.map(([name, pool]) => `${name}: ${pool.slotsMoved} slots, ${pool.sessionsMoved} sessions`)
  return [
    `It would become table ${plan.version} and move ${sessions} sessions.`,
    ...slots.map((line) => `  ${line}`),
    ...(rows.length > 0 ? ['', renderTable(rows, columns, width)] : []),
  ].join('\n')
}

/** The history, newest last. */
export function renderHistory(entries: readonly HistoryEntry[], width: number): string {
  const columns: readonly Column<HistoryEntry>[] = [
    { title: 'VERSION', value: (row) => row.version, align: 'right' },
    { title: 'WHEN', value: (row) => new Date(row.when).toISOString().replace(/\.\d+Z$/, 'Z') },
    { title: 'WHO', value: (row) => row.who, flexible: true },
    { title: 'WHAT', value: (row) => row.message ?? row.what, flexible: true },
  ]
  return entries.length === 0 ? 'Nothing was applied yet.' : renderTable(entries, columns, width)
}

const signed = (value: number) => (value > 0 ? `+${value}` : String(value))

function errorText({ path, message, line, column }: PlanError): string {
  const at = line === undefined ? '' : ` (line ${line}, column ${column})`
  return `${path === '' ? 'the file' : path} ${message}${at}`
}
