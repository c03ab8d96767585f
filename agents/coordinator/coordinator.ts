/** Joins the parts of a coordinator: control plane, control connections, HTTP API, state. */

import { readFile } from 'node:fs/promises'
import { openPlaces } from '../../gateway/geo/places.js'
import { SluiceError } from '../../proto/errors.js'
import { EventStreams } from './api/events-stream.js'
import { HttpServer } from './api/http-server.js'
import { metricsEndpoint } from './api/metrics.js'
import { Router } from './api/router.js'
import { type Clock, createSystemClock, type Log, SILENT_LOG } from './clock.js'
import { CONTROL_PATH, ControlServer } from './control-server.js'
import { type Coordinator, type CoreOptions, createCore, endpointsOf } from './core.js'
import { lockDirectory, type ProcessTable } from './data-lock.js'
import { checkDiscovery } from './discovery/mod.js'
import { parseRoutes } from './routes-file.js'
import { fleetStatus } from './status.js'
import { loadState } from './store.js'
import type { RouteSpec } from './table-builder.js'

export type { Coordinator } from './core.js'

/** How a coordinator is started. */
export interface CoordinatorOptions extends CoreOptions {
  /** Address to listen on; loopback unless given. */
  readonly host?: string
  /** 0 takes any free port. */
  readonly port: number
  /** Routes file to begin with. It is applied again when it changed since it was last given. */
  readonly routes?: string
  /** Required of admin calls and of everybody who registers, when given. */
  readonly token?: string
  /** NATS servers, separated by commas: several coordinators share their state there, and one of them leads. */
  readonly nats?: string
  /** Start of the names in NATS; fleets that share a NATS need different ones. `sluice` unless given. */
  readonly natsPrefix?: string
  /** Base URL that the other coordinators reach this one by, when it is not made of host and port. */
  readonly advertise?: string
  /** MaxMind-format database that gives callers of `/v1/nearest` their coordinates. */
  readonly geoDatabase?: string
  /** Addresses and CIDR blocks of proxies whose `X-Forwarded-For` is believed. */
  readonly trustedProxy?: readonly string[]
  /** Keeps a second coordinator out of `data`; nothing does unless given. */
  readonly processes?: ProcessTable
  readonly clock?: Clock
  readonly log?: Log
}

/**
 * Starts a coordinator; resolves when it accepts connections.
 * @throws SluiceError for routes or a state file that cannot be used, or the error of listening
 */
export async function createCoordinator(given: CoordinatorOptions): Promise<Coordinator> {
  const { host = '127.0.0.1', clock = createSystemClock(), log = SILENT_LOG } = given
  const complain = (problem: string): void => log.error({ problem }, 'the geo database is not read again')
  const options = { ...given, places: await openPlaces({ ...given, now: () => clock.now(), complain }) }
  const file = options.routes === undefined ? undefined : await readRoutes(options.routes)
  if (options.discovery !== undefined) checkDiscovery(options.discovery, { clock, log, random: Math.random })
  if (options.nats !== undefined) {
    // Loaded when it is needed: most fleets have one coordinator.
    const { startSharedCoordinator } = await import('./ha/shared-coordinator.js')
    return startSharedCoordinator({ ...options, host, clock, log, servers: options.nats, file })
  }
  const lock = await lockOf(options)
  try {
    return await startAlone({ ...options, host, clock, log }, file, async () => lock?.release())
  } catch (error) {
    await lock?.release()
    throw error
  }
}

function lockOf({ data, processes }: CoordinatorOptions) {
  return data === undefined || processes === undefined ? undefined : lockDirectory(data, processes)
}

/** A coordinator that shares its state with no other one. @param closed is called when nothing writes any more */
async function startAlone(
  options: CoordinatorOptions & CoreOptions & { host: string; clock: Clock; log: Log },
  file: RouteSpec | undefined,
  closed: () => Promise<void>,
): Promise<Coordinator> {
  const { host, clock, log } = options
  const state = options.data === undefined ? undefined : await loadState(options.data)
  const core = createCore(options, clock, log, state, file)
  const { plane, keeper } = core
  const control = new ControlServer({ plane, clock, log })
  const events = new EventStreams(plane, clock)
  const metrics = metricsEndpoint(
    () => plane,
    () => clock.now(),
    () => clock.wall(),
  )
  const http = new HttpServer({
    router: new Router([...endpointsOf(core, options, clock), metrics]),
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
  core.discovery?.start()
  return {
    port,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    status: () => fleetStatus(plane, clock.now()),
    async close() {
      await core.discovery?.close()
      core.rollouts.close()
      plane.close()
      events.close()
      control.close()
      await http.close()
      await keeper.close()
      await closed()
    },
  }
}

async function readRoutes(path: string): Promise<RouteSpec> {
  const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    const why = cause.code === 'ENOENT' ? 'there is no such file' : cause.message
    throw new SluiceError('invalid_routes', `routes file ${path} cannot be read: ${why}`, { path, cause })
  })
  return parseRoutes(text, path)
}
