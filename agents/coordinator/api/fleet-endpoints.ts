/** Endpoints about workers, gateways and live moves. */

import { SluiceError } from '../../../proto/errors.js'
import { readCount, readNumber, readObject } from '../../../proto/fields.js'
import type { ControlPlane } from '../control-plane.js'
import type { Operations } from '../operations.js'
import { fleetStatus } from '../status.js'
import { readJson } from './request-body.js'
import { type Endpoint, raw } from './router.js'

/** Starts or retires workers of a pool; only whoever started them can. */
export type Scale = (pool: string, workers: number) => Promise<unknown>

/** What the fleet endpoints work on. */
export interface FleetEndpointOptions {
  readonly plane: ControlPlane
  readonly operations: Operations
  readonly now: () => number
  readonly wall: () => number
  readonly scale?: Scale
}

/** Health, status, drains, weights, moves, scale. */
export function fleetEndpoints({ plane, operations, now, wall, scale }: FleetEndpointOptions): Endpoint[] {
  const worker =
    (does: (id: string) => object): Endpoint['handle'] =>
    ({ params }) =>
      does(params.id as string)
  return [
    { method: 'GET', path: '/healthz', open: true, handle: () => ({ status: 'ok' }) },
    { method: 'GET', path: '/readyz', open: true, handle: () => readiness(plane) },
    { method: 'GET', path: '/v1/status', handle: () => fleetStatus(plane, now()) },
    { method: 'POST', path: '/v1/workers/:id/drain', handle: worker((id) => operations.drainWorker(id)) },
    { method: 'POST', path: '/v1/workers/:id/undrain', handle: worker((id) => operations.undrainWorker(id)) },
    {
      method: 'PUT',
      path: '/v1/workers/:id/weight',
      handle: async (request) => {
        const { weight } = readObject(await readJson(request), 'body')
        return operations.weighWorker(request.params.id as string, readNumber(weight, 'weight', 0, 1000))
      },
    },
    {
      method: 'POST',
      path: '/v1/gateways/:id/drain',
      handle: async (request) => {
        const { windowMs } = readObject((await readJson(request)) ?? {}, 'body')
        const window = windowMs === undefined ? undefined : readCount(windowMs, 'windowMs', 0, 3_600_000)
        return operations.drainGateway(request.params.id as string, window)
      },
    },
    { method: 'POST', path: '/v1/gateways/:id/undrain', handle: worker((id) => operations.undrainGateway(id)) },
    { method: 'GET', path: '/v1/moves', handle: () => ({ ...plane.moves.list(wall()), budget: plane.budget.budget }) },
    {
      method: 'PUT',
      path: '/v1/moves/budget',
      handle: async (request) => operations.setBudget(await readJson(request)),
    },
    { method: 'POST', path: '/v1/moves/abort', handle: () => operations.abortMoves() },
    {
      method: 'POST',
      path: '/v1/pools/:name/scale',
      handle: async (request) => {
        const { workers } = readObject(await readJson(request), 'body')
        if (scale === undefined) {
          throw new SluiceError(
            'conflict',
            'this coordinator did not start the workers; start or stop them where they run',
          )
        }
        return scale(request.params.name as string, readCount(workers, 'workers', 0, 256))
      },
    },
  ]
}

function readiness(plane: ControlPlane): unknown {
  if (plane.table.version > 0 && !plane.publisher.held) return { status: 'ready', version: plane.table.version }
  const body = { status: 'waiting', reason: 'the fleet serves a newer table and has not registered whole yet' }
  return raw({ status: 503, contentType: 'application/json', body: JSON.stringify(body) })
}
