/** `GET /v1/discovery`: what the sources list, and why a worker that they list is not in the fleet. */

import type { DiscoveredFleet } from '../discovery/discovered-fleet.js'
import type { Endpoint } from './router.js'

/** @param discovery undefined where nothing is discovered */
export function discoveryEndpoints(discovery: DiscoveredFleet | undefined): Endpoint[] {
  return [{ method: 'GET', path: '/v1/discovery', handle: () => discovery?.view ?? { sources: [], workers: [] } }]
}
