/** Joins the parts of a coordinator: control plane, control connections, HTTP API, state. */

import { readFile } from 'node:fs/promises'
import { SluiceError } from '../../proto/errors.js'
import { EventStreams } from './api/events-stream.js'
import { HttpServer } from './api/http-server.js'
import { metricsEndpoint } from './api/metrics.js'
import { Router } from './api/router.js'
import { type Clock, createSystemClock, type Log, SILENT_LOG } from './clock.js'
import { CONTROL_PATH, ControlServer } from './control-server.js'
import { type CoreOptions, createCore, endpointsOf } from './core.js'
import { parseRoutes } from './routes-file.js'
import { type FleetStatus, fleetStatus } from './status.js'
import { loadState } from './store.js'
import type { RouteSpec } from './table-builder.js'

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
  /** NATS server of the fan-out. The state is not kept there yet. */
  readonly nats?: string
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
