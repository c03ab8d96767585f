/** Joins the parts of a coordinator: control plane, control connections, HTTP API, state. */

import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { SluiceError } from '../../proto/errors.js'
import { deviceEndpoints } from './api/device-endpoints.js'
import { EventStreams } from './api/events-stream.js'
import { fleetEndpoints, type Scale } from './api/fleet-endpoints.js'
import { HttpServer } from './api/http-server.js'
import { metricsEndpoint } from './api/metrics.js'
import { routeEndpoints } from './api/route-endpoints.js'
import { Router } from './api/router.js'
import { type Clock, createSystemClock, type Log, SILENT_LOG } from './clock.js'
import { ControlPlane } from './control-plane.js'
import { CONTROL_PATH, ControlServer } from './control-server.js'
import type { Intents } from './fleet.js'
import { DEFAULT_BUDGET } from './move-budget.js'
import { Operations } from './operations.js'
import { Rollouts } from './rollout.js'
import { RouteBook } from './route-book.js'
import { parseRoutes } from './routes-file.js'
import { StateKeeper } from './state-keeper.js'
import { type FleetStatus, fleetStatus } from './status.js'
import { type CoordinatorState, loadState } from './store.js'
import { DEFAULT_ROUTES, type RouteSpec } from './table-builder.js'

/** How a coordinator is started. */
export interface CoordinatorOptions {
  /** Address to listen on; loopback unless given. */
  readonly host?: string
  /** 0 takes any free port. */
  readonly port: number
  /** Directory of the state; nothing is kept without. */
  readonly data?: string
  /** Routes file to begin with. It is applied again when it changed since it was last given. */
  readonly routes?: string
  /** Required of admin calls and of everybody who registers, when given. */
  readonly token?: string
  /** Name of this coordinator; random unless given. */
  readonly id?: string
  /** NATS server of the fan-out. The state is not kept there yet. */
  readonly nats?: string
  /** Budget of live moves in the whole fleet. */
  readonly movesPerSecond?: number
  readonly movesInFlight?: number
  /** Starts and retires workers, where the coordinator runs under a supervisor. */
  readonly scale?: Scale
  readonly clock?: Clock
  readonly log?: Log
}

/** A running coordinator. */
export interface Coordinator {
  readonly port: number
  readonly url: string
  status(): FleetStatus
  close(): Promise<void>
}

/**
 * Starts a coordinator; resolves when it accepts connections.
 * @throws SluiceError for routes or a state file that cannot be used, or the error of listening
 */
export async function createCoordinator(options: CoordinatorOptions): Promise<Coordinator> {
  const { host = '127.0.0.1', clock = createSystemClock(), log = SILENT_LOG } = options
  const file = options.routes === undefined ? undefined : await readRoutes(options.routes)
  const state = options.data === undefined ? undefined : await loadState(options.data)
  if (options.nats !== undefined)
    log.warn({}, 'the state of the coordinator is kept here, not in NATS: run one coordinator')
  const core = createCore(options, clock, log, state, file)
  const { plane, keeper } = core
  const control = new ControlServer({ plane, clock, log })
  const events = new EventStreams(plane, clock)
  const http = new HttpServer({
    router: routerOf(core, options, clock),
    streams: new Map([['/v1/events', events.handle]]),
    upgrades: new Map([[CONTROL_PATH, (request, socket, head) => control.upgrade(request, socket, head)]]),
    ...(options.token === undefined ? {} : { token: options.token }),
    log,
  })
  const port = await http.listen(host, options.port).catch((error: unknown) => {
    plane.close()
    throw error
  })
  await keeper.save()
  return {
    port,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    status: () => fleetStatus(plane, clock.now()),
    async close() {
      core.rollouts.close()
      plane.close()
      events.close()
      control.close()
      await http.close()
      await keeper.close()
    },
  }
}

interface Core {
  readonly plane: ControlPlane
  readonly book: RouteBook
  readonly rollouts: Rollouts
  readonly keeper: StateKeeper
  readonly operations: Operations
}

function createCore(
  options: CoordinatorOptions,
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
  const keeper = new StateKeeper(options.data, snapshot, clock, log)
  const plane: ControlPlane = new ControlPlane({
    id: options.id ?? `coordinator-${randomUUID().slice(0, 8)}`,
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
  return { plane, book, rollouts, keeper, operations }
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

function routerOf(
  { plane, book, rollouts, keeper, operations }: Core,
  { scale }: CoordinatorOptions,
  clock: Clock,
): Router {
  const now = (): number => clock.now()
  const wall = (): number => clock.wall()
  return new Router([
    ...fleetEndpoints({ plane, operations, now, wall, ...(scale === undefined ? {} : { scale }) }),
    ...routeEndpoints({ plane, book, rollouts, keep: () => keeper.save() }),
    ...deviceEndpoints(plane),
    metricsEndpoint(plane, now, wall),
  ])
}

async function readRoutes(path: string): Promise<RouteSpec> {
  const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    const why = cause.code === 'ENOENT' ? 'there is no such file' : cause.message
    throw new SluiceError('invalid_routes', `routes file ${path} cannot be read: ${why}`, { path, cause })
  })
  return parseRoutes(text, path)
}
