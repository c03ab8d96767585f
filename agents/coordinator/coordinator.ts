/** Joins the parts of a coordinator: control plane, control connections, HTTP API, state. */

import { randomUUID } from 'node:crypto'
import { fleetEndpoints, type Scale } from './api/fleet-endpoints.js'
import { HttpServer } from './api/http-server.js'
import { Router } from './api/router.js'
import { type Clock, createSystemClock, type Log, SILENT_LOG } from './clock.js'
import { ControlPlane } from './control-plane.js'
import { CONTROL_PATH, ControlServer } from './control-server.js'
import type { Intents } from './fleet.js'
import { DEFAULT_BUDGET } from './move-budget.js'
import { Operations } from './operations.js'
import { type FleetStatus, fleetStatus } from './status.js'
import { DEFAULT_ROUTES } from './table-builder.js'

/** How a coordinator is started. */
export interface CoordinatorOptions {
  /** Address to listen on; loopback unless given. */
  readonly host?: string
  /** 0 takes any free port. */
  readonly port: number
  /** Required of admin calls and of everybody who registers, when given. */
  readonly token?: string
  /** Name of this coordinator; random unless given. */
  readonly id?: string
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

/** Starts a coordinator; resolves when it accepts connections. @throws SluiceError, or the error of listening */
export async function createCoordinator(options: CoordinatorOptions): Promise<Coordinator> {
  const { host = '127.0.0.1', token, scale, clock = createSystemClock(), log = SILENT_LOG } = options
  const intents: Intents = { weights: new Map(), drainingWorkers: new Set(), drainingGateways: new Set() }
  const plane = new ControlPlane({
    id: options.id ?? `coordinator-${randomUUID().slice(0, 8)}`,
    clock,
    log,
    spec: DEFAULT_ROUTES,
    intents,
    onTable: () => {},
  })
  const { movesPerSecond: perSecond = DEFAULT_BUDGET.perSecond, movesInFlight: inFlight = DEFAULT_BUDGET.inFlight } =
    options
  plane.budget.set({ perSecond, inFlight, paused: false })
  const control = new ControlServer({ plane, clock, log })
  const operations = new Operations(plane, () => {})
  const times = { now: () => clock.now(), wall: () => clock.wall() }
  const router = new Router([
    ...fleetEndpoints({ plane, operations, ...times, ...(scale === undefined ? {} : { scale }) }),
  ])
  const http = new HttpServer({
    router,
    streams: new Map(),
    upgrades: new Map([[CONTROL_PATH, (request, socket, head) => control.upgrade(request, socket, head)]]),
    ...(token === undefined ? {} : { token }),
    log,
  })
  const port = await http.listen(host, options.port)
  return {
    port,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    status: () => fleetStatus(plane, clock.now()),
    async close() {
      plane.close()
      control.close()
      await http.close()
    },
  }
}
