/** Endpoints about devices: where one is, why it goes where it goes, which gateways are near. */

import type { Places } from '../../../gateway/geo/places.js'
import { explainRoute } from '../../../gateway/route/explain.js'
import type { SessionView } from '../../../proto/control.js'
import { SluiceError } from '../../../proto/errors.js'
import { nearestGateways, placed, readNearestQuery } from '../../../proto/nearest.js'
import type { ControlPlane } from '../control-plane.js'
import { findSession } from '../session-finder.js'
import type { ApiRequest, Endpoint } from './router.js'

/** The endpoints. @param places tells where a caller is who does not say it */
export function deviceEndpoints(plane: ControlPlane, places: Places = () => undefined): Endpoint[] {
  return [
    {
      method: 'GET',
      path: '/v1/sessions/:device',
      handle: async ({ params }) => {
        const session = await findSession(plane, params.device as string)
        if (session !== undefined) return session
        throw new SluiceError('not_found', `no gateway has a session of ${JSON.stringify(params.device)}`)
      },
    },
    { method: 'GET', path: '/v1/explain/:device', handle: (request) => explain(plane, request) },
    {
      method: 'GET',
      path: '/v1/nearest',
      open: true,
      anyOrigin: true,
      handle: (request) => nearest(plane, places, request),
    },
  ]
}

function nearest(
  plane: ControlPlane,
  places: Places,
  { query: params, remoteAddress, forwardedFor }: ApiRequest,
): unknown {
  const given = readNearestQuery(params)
  if ('problem' in given) throw new SluiceError('bad_request', given.problem, { path: given.path })
  const query = placed(given, () => places(remoteAddress, forwardedFor))
  const near = nearestGateways(plane.table.gateways.values(), query, (id) => plane.loads.sessionsOf(id))
  return { version: plane.table.version, ...(query.at && { at: query.at }), gateways: near }
}

async function explain(plane: ControlPlane, { params, query }: ApiRequest): Promise<unknown> {
  const device = params.device as string
  const type = query.get('type') ?? 'data'
  if (type !== 'data' && type !== 'publish') {
    throw new SluiceError('bad_request', 'type must be data or publish', { path: 'type' })
  }
  // Without an answer of the gateways it is explained as for a device that is not connected.
  const session = await findSession(plane, device).catch(() => undefined)
  const gateway = query.get('gateway') ?? session?.gateway ?? ''
  const attributes = {
    device,
    protocol: query.get('protocol') ?? session?.protocol ?? 'websocket',
    gateway,
    region: query.get('region') ?? plane.table.gateways.get(gateway)?.region ?? '',
    headers: { ...session?.attributes, ...headersOf(query) },
  }
  const explanation = explainRoute(plane.table, attributes, type, query.get('topic') ?? '')
  return {
    ...explanation,
    protocol: attributes.protocol,
    connected: session !== undefined,
    ...bound(session, explanation.pool),
  }
}

/** `header.NAME=VALUE` parameters stand in for the headers of a device that is not connected. */
function headersOf(query: URLSearchParams): Record<string, string> {
  const headers: [string, string][] = []
  for (const [name, value] of query) if (name.startsWith('header.')) headers.push([name.slice(7).toLowerCase(), value])
  return Object.fromEntries(headers)
}

/** What it is bound to now, which may still be on its way to what the table says. */
function bound(session: SessionView | undefined, pool: string | undefined): object {
  if (session === undefined) return {}
  const binding = pool === undefined ? undefined : session.bindings[pool]
  return { session: session.session, gateway: session.gateway, ...(binding === undefined ? {} : { binding }) }
}
