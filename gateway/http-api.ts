/** What a gateway answers over HTTP besides its WebSocket paths: health, metrics, the nearest gateways. */

import type { FleetLoad } from '../proto/control.js'
import { SluiceError } from '../proto/errors.js'
import { nearestGateways, readNearestQuery } from '../proto/nearest.js'
import type { RoutingTable } from '../proto/table.js'
import { type HttpServer, json, text } from './edge/server/server.js'

/** What the API reads. */
export interface GatewayView {
  readonly table: RoutingTable
  readonly load: FleetLoad['gateways']
  /** Why it is not ready, undefined when it is. */
  unready(): string | undefined | Promise<string | undefined>
  /** Plain data, or a promise of it. */
  status(): unknown
  metrics(): Promise<string>
  readonly metricsType: string
}

/** Adds the routes. They need no authentication: they tell nothing about devices. */
export function addGatewayApi(server: HttpServer, view: GatewayView): void {
  server.route('GET', '/healthz', () => json(200, { status: 'ok' }))
  server.route('GET', '/readyz', async () => {
    const why = await view.unready()
    return why === undefined ? json(200, { status: 'ready' }) : json(503, { status: 'unready', reason: why })
  })
  server.route('GET', '/metrics', async () => text(200, await view.metrics(), view.metricsType))
  server.route('GET', '/v1/status', async () => json(200, await view.status()))
  server.route('GET', '/v1/nearest', ({ query }) => {
    const wanted = readNearestQuery(query)
    if ('problem' in wanted) {
      const { path, problem } = wanted
      return json(400, new SluiceError('bad_request', problem, { path }))
    }
    const gateways = nearestGateways(view.table.gateways.values(), wanted, (id) => view.load[id] ?? 0)
    // Devices in browsers come from any origin.
    return json(200, { version: view.table.version, gateways }, { 'access-control-allow-origin': '*' })
  })
}
