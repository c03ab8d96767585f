/** What other routes would move, before they do. */

import type { PlanView, PoolPlanView } from '../../proto/control.js'
import { SluiceError } from '../../proto/errors.js'
import { readCount, readObject, readText } from '../../proto/fields.js'
import type { Pool, RoutingTable } from '../../proto/table.js'
import { packTable, sameTable } from '../../proto/table-delta.js'
import type { ControlPlane } from './control-plane.js'
import { diffSlots, type SlotDiff } from './placement.js'
import type { RouteSpec } from './table-builder.js'

/** How long gateways may take to count. */
const DEADLINE_MS = 3000

/** One pool of a plan. */
export interface PoolPlan {
  readonly slotsMoved: number
  /** Bindings that come to another worker, or into this pool from another. */
  readonly sessionsMoved: number
  /** Sessions (`before`, `after`) and slots of each worker. */
  readonly perWorker: readonly {
    readonly id: string
    readonly before: number
    readonly after: number
    readonly slotsBefore: number
    readonly slotsAfter: number
  }[]
}

/** The answer of `POST /v1/routes/plan`. */
export interface RoutePlan {
  /** The version that applying would lead to; the current one when nothing would change. */
  readonly version: number
  readonly errors: readonly object[]
  readonly warnings: readonly object[]
  /** True when every gateway counted its own sessions; else slots stand in for some. */
  readonly exact: boolean
  readonly pools: Readonly<Record<string, PoolPlan>>
}

/** Plans routes that were read already. */
export async function planRoutes(
  plane: ControlPlane,
  spec: RouteSpec,
  warnings: readonly object[],
): Promise<RoutePlan> {
  const before = plane.table
  const after = plane.preview(spec)
  const version = sameTable(before, after) ? before.version : plane.publisher.nextVersion
  const { views, exact } = await askGateways(plane, { ...after, version })
  const pools: Record<string, PoolPlan> = {}
  for (const name of new Set([...before.pools.keys(), ...after.pools.keys()])) {
    const diff = slotDiff(plane, before.pools.get(name), after.pools.get(name))
    pools[name] = exact
      ? countedPlan(
          diff,
          views.flatMap((view) => view[name] ?? []),
        )
      : slotPlan(diff)
  }
  return { version, errors: [], warnings, exact, pools }
}

/** Sessions are with the gateways, and only they know the attributes that routes look at. */
async function askGateways(plane: ControlPlane, table: RoutingTable): Promise<{ views: PlanView[]; exact: boolean }> {
  const bytes = packTable(table)
  const answers = await Promise.allSettled(
    plane.connectedGateways.map(async (id) =>
      readPlanView(await plane.ask(id, { what: 'plan', table: bytes }, DEADLINE_MS)),
    ),
  )
  const views = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
  return { views, exact: views.length === answers.length }
}

function slotDiff(plane: ControlPlane, before: Pool | undefined, after: Pool | undefined): SlotDiff {
  const slotted = (pool: Pool | undefined): Pool | undefined =>
    pool !== undefined && pool.slots.length > 0 ? pool : undefined
  const name = after?.name ?? before?.name ?? ''
  const empty = { members: [], slots: new Uint16Array(0) }
  return diffSlots(slotted(before), slotted(after) ?? empty, plane.loads.slotLoad(name))
}

function slotPlan({ moves, perWorker, sessionsMoved }: SlotDiff): PoolPlan {
  return {
    slotsMoved: moves.length,
    sessionsMoved,
    perWorker: perWorker.map(({ id, before, after, sessionsBefore, sessionsAfter }) => ({
      id,
      before: sessionsBefore,
      after: sessionsAfter,
      slotsBefore: before,
      slotsAfter: after,
    })),
  }
}

function countedPlan({ moves, perWorker }: SlotDiff, views: readonly PoolPlanView[]): PoolPlan {
  const slots = new Map(perWorker.map((share) => [share.id, share]))
  const total = (side: 'before' | 'after', id: string): number =>
    views.reduce((sum, view) => sum + (view[side][id] ?? 0), 0)
  const ids = new Set([
    ...slots.keys(),
    ...views.flatMap((view) => [...Object.keys(view.before), ...Object.keys(view.after)]),
  ])
  return {
    slotsMoved: moves.length,
    sessionsMoved: views.reduce((sum, { moved }) => sum + moved, 0),
    perWorker: [...ids].sort().map((id) => ({
      id,
      before: total('before', id),
      after: total('after', id),
      slotsBefore: slots.get(id)?.before ?? 0,
      slotsAfter: slots.get(id)?.after ?? 0,
    })),
  }
}

/** @throws SluiceError `bad_request` when a gateway does not know the question */
function readPlanView(body: unknown): PlanView {
  if (body === undefined || body === null) throw new SluiceError('bad_request', 'the gateway does not answer plans')
  const view: PlanView = {}
  for (const [name, item] of Object.entries(readObject(body, 'plan'))) {
    const { moved, before, after } = readObject(item, name)
    view[readText(name, 'plan')] = {
      moved: readCount(moved, `${name}.moved`, 0, Number.MAX_SAFE_INTEGER),
      before: readCounts(before, `${name}.before`),
      after: readCounts(after, `${name}.after`),
    }
  }
  return view
}

function readCounts(value: unknown, path: string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const [id, count] of Object.entries(readObject(value, path))) {
    counts[readText(id, path)] = readCount(count, path, 0, Number.MAX_SAFE_INTEGER)
  }
  return counts
}
