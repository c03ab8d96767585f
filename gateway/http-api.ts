/** What a gateway answers over HTTP besides its WebSocket paths: health, metrics, the nearest gateways. */

import type { FleetLoad } from '../proto/control.js'
import { SluiceError } from '../proto/errors.js'
import { nearestGateways, placed, readNearestQuery } from '../proto/nearest.js'
import type { RoutingTable } from '../proto/table.js'
import { type HttpServer, json, text } from './edge/server/server.js'
import type { Places } from './geo/places.js'

/** What the API reads. */
export interface GatewayView {
  readonly table: RoutingTable
  readonly load: FleetLoad['gateways']
  /** Tells where callers are who do not say it. */
  readonly places: Places
  /** Why it is not ready, undefined when it is. */
  unready(): string | undefined | Promise<string | undefined>
  /** Plain data, or a promise of it. */
  status(): unknown
  metrics(): Promise<string>
  readonly metricsType: string
}

/** Devices in browsers come from any origin. */
const CORS = { 'access-control-allow-origin': '*' }

/** Adds the routes. They need no authentication: they tell nothing about devices. */
export function addGatewayApi(server: HttpServer, view: GatewayView): void {
  server.route('GET', '/healthz', () => json(200, { status: 'ok' }))
  server.route('GET', '/readyz', async () => {
    const why = await view.unready()
    return why === undefined ? json(200, { status: 'ready' }) : json(503, { status: 'unready', reason: why })
  })
  server.route('GET', '/metrics', async () => text(200, await view.metrics(), view.metricsType))
  server.route('GET', '/v1/status', async () => json(200, await view.status()))
  server.route('GET', '/v1/nearest', (request) => {
    const given = readNearestQuery(request.query)
    if ('problem' in given) return json(400, new SluiceError('bad_request', given.problem, { path: given.path }), CORS)
    const wanted = placed(given, () => view.places(request.remoteAddress, request.header('x-forwarded-for')))
    const gateways = nearestGateways(view.table.gateways.values(), wanted, (id) => view.load[id] ?? 0)
    return json(200, { version: view.table.version, ...(wanted.at && { at: wanted.at }), gateways }, CORS)
  })
}
