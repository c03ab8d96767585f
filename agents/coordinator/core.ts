/** What a coordinator does while it leads: control plane, history, rollouts, state, and the API over them. No sockets. */

import { randomUUID } from 'node:crypto'
import type { Places } from '../../gateway/geo/places.js'
import { deviceEndpoints } from './api/device-endpoints.js'
import { discoveryEndpoints } from './api/discovery-endpoints.js'
import { fleetEndpoints, type Scale } from './api/fleet-endpoints.js'
import { routeEndpoints } from './api/route-endpoints.js'
import type { Endpoint } from './api/router.js'
import type { Clock, Log } from './clock.js'
import { ControlPlane } from './control-plane.js'
import type { DiscoveredFleet } from './discovery/discovered-fleet.js'
import { createDiscovery, type DiscoverySettings } from './discovery/mod.js'
import type { Intents } from './fleet.js'
import { DEFAULT_BUDGET } from './move-budget.js'
import { Operations } from './operations.js'
import { Rollouts } from './rollout.js'
import { RouteBook } from './route-book.js'
import { StateKeeper } from './state-keeper.js'
import type { FleetStatus } from './status.js'
import { type CoordinatorState, type StateStore, Store } from './store.js'
import { DEFAULT_ROUTES, type RouteSpec } from './table-builder.js'

/** How it is set up. */
export interface CoreOptions {
  /** Directory of the state; nothing is kept without. */
  readonly data?: string
  /** Where the state is kept when it is not a directory. */
  readonly store?: (snapshot: () => CoordinatorState) => StateStore
  /** Name of this coordinator; random unless given. */
  readonly id?: string
  /** The fleet's secret, which discovered workers are shown. */
  readonly token?: string
  /** Where to find workers that cannot register themselves. */
  readonly discovery?: DiscoverySettings
  /** Budget of live moves in the whole fleet. */
  readonly movesPerSecond?: number
  readonly movesInFlight?: number
  /** Tells where callers of `/v1/nearest` are who do not say it. */
  readonly places?: Places
  /** Starts and retires workers, where the coordinator runs under a supervisor. */
  readonly scale?: Scale
}

/** A running coordinator. */
export interface Coordinator {
  readonly port: number
  readonly url: string
  status(): FleetStatus
  close(): Promise<void>
}

/** The parts. */
export interface Core {
  readonly plane: ControlPlane
  readonly book: RouteBook
  readonly rollouts: Rollouts
  readonly keeper: StateKeeper
  readonly operations: Operations
  /** To be started by who leads, and closed before the plane. */
  readonly discovery: DiscoveredFleet | undefined
}

/**
 * Joins the parts.
 * @param state what was kept, undefined at the very first start
 * @param file routes to begin with
 */
export function createCore(
  options: CoreOptions,
  clock: Clock,
  log: Log,
  state: CoordinatorState | undefined,
  file: RouteSpec | undefined,
): Core {
  const intents: Intents = state?.intents ?? {
    weights: new Map(),
    drainingWorkers: new Set(),
    drainingGateways: new Set(),
  }
  const kept = state?.history.at(-1)?.spec
  const snapshot = (): CoordinatorState => ({ table: plane.table, history: book.history, intents })
  const keeper = new StateKeeper(storeOf(options, snapshot), clock, log)
  const { id = `coordinator-${randomUUID().slice(0, 8)}` } = options
  const plane: ControlPlane = new ControlPlane({
    id,
    clock,
    log,
    spec: kept ?? file ?? DEFAULT_ROUTES,
    intents,
    ...(state === undefined ? {} : { table: state.table }),
    onTable: () => keeper.saveSoon(),
  })
  const put = (spec: RouteSpec, cause: string): number => plane.setSpec(spec, cause).version
  const book = new RouteBook({ wall: () => clock.wall(), put }, state?.history ?? [])
  if (state === undefined)
    book.apply(plane.spec, file === undefined ? 'default routes' : 'routes file at start', { who: 'coordinator' })
  else if (file !== undefined) applyChangedFile(book, file, log)
  const rollouts = new Rollouts({
    plane,
    clock,
    log,
    finished: (spec, author, version) => {
      book.record(spec, 'rolled out', author, version)
      keeper.saveSoon()
    },
  })
  const { movesPerSecond: perSecond = DEFAULT_BUDGET.perSecond, movesInFlight: inFlight = DEFAULT_BUDGET.inFlight } =
    options
  plane.budget.set({ perSecond, inFlight, paused: false })
  const operations = new Operations(plane, () => keeper.saveSoon())
  const discovery = discoveryOf(options, { plane, id, clock, log })
  return { plane, book, rollouts, keeper, operations, discovery }
}

function discoveryOf(
  { discovery, token }: CoreOptions,
  context: { plane: ControlPlane; id: string; clock: Clock; log: Log },
): DiscoveredFleet | undefined {
  if (discovery === undefined || discovery.sources.length === 0) return undefined
  return createDiscovery(discovery, { ...context, random: Math.random, ...(token === undefined ? {} : { token }) })
}

function storeOf({ store, data }: CoreOptions, snapshot: () => CoordinatorState): StateStore | undefined {
  if (store !== undefined) return store(snapshot)
  return data === undefined ? undefined : new Store(data, snapshot)
}

/** What was applied through the API since goes before a file that says what it said at the last start. */
function applyChangedFile(book: RouteBook, file: RouteSpec, log: Log): void {
  const FROM_FILE = 'routes file at start'
  const last = book.history.findLast(({ what }) => what === FROM_FILE)
  if (last !== undefined && JSON.stringify(last.spec) === JSON.stringify(file)) {
    if (last !== book.current)
      log.info({ version: book.current?.version }, 'the routes file is as before; later changes stay')
    return
  }
  book.apply(file, FROM_FILE, { who: 'coordinator' })
}

/** Its HTTP API, apart from what looks at the process. */
export function endpointsOf(
  { plane, book, rollouts, keeper, operations, discovery }: Core,
  { scale, places }: CoreOptions,
  clock: Clock,
): Endpoint[] {
  const now = (): number => clock.now()
  const wall = (): number => clock.wall()
  return [
    ...fleetEndpoints({ plane, operations, now, wall, ...(scale === undefined ? {} : { scale }) }),
    ...routeEndpoints({ plane, book, rollouts, keep: () => keeper.save() }),
    ...deviceEndpoints(plane, places),
    ...discoveryEndpoints(discovery),
  ]
}
