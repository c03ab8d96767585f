/** How plans and the history of the routes look in a terminal. */

import type { RolloutState } from './routes-progress.js'
import { type Column, renderSpan, renderTable } from './table-view.js'

/** Answer of `POST /v1/routes/plan`. */
export interface Plan {
  readonly version: number
  readonly errors: readonly PlanError[]
  readonly warnings?: readonly PlanError[]
  /** The routes of the file apply already. */
  readonly unchanged?: boolean
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
  if (plan.unchanged === true) return `Nothing would change: these routes apply already, as table ${plan.version}.`
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

/** `routes.yaml:3:7 routes[0].to[0].pool: no pool is called "x"`. */
export function renderProblem({ path, message, line, column }: PlanError, file: string): string {
  const at = line === undefined ? '' : `:${line}:${column}`
  return `${file}${at} ${path === '' || path === '$' ? 'the file' : `${path}:`} ${message}`
}

/** A rollout in one or two lines. */
export function renderRollout(rollout: RolloutState | null): string {
  if (rollout === null) return 'No rollout was started yet.'
  const { state, version, stage, stages, gateways, startedAt, bakeMs, reason } = rollout
  if (state === 'withdrawn') return `The rollout of ${startedAt} went back: ${reason ?? 'no reason given'}`
  if (state === 'done') return `The rollout of ${startedAt} is done: every gateway has its routes, as table ${version}.`
  const watched = `each stage is watched for ${renderSpan(bakeMs)}`
  return `Stage ${stage} of ${stages} runs: table ${version}, since ${startedAt}, on ${gateways.join(', ')}; ${watched}.`
}
