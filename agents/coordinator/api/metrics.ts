/** What `/metrics` shows, read from the control plane at each scrape. */

import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { ControlPlane } from '../control-plane.js'
import { fleetStatus } from '../status.js'
import { type Endpoint, raw } from './router.js'

/**
 * The endpoint, with a registry of its own.
 * @param leading the control plane, undefined while another coordinator leads: the fleet is in that one's metrics
 */
export function metricsEndpoint(
  leading: () => ControlPlane | undefined,
  now: () => number,
  wall: () => number,
): Endpoint {
  const registry = new Registry()
  const registered: Gauge[] = []
  collectDefaultMetrics({ register: registry, prefix: 'sluice_coordinator_' })
  const gauge = (name: string, help: string, labelNames: string[] = []): Gauge => {
    const made = new Gauge({ name: `sluice_${name}`, help, labelNames, registers: [registry] })
    registered.push(made)
    return made
  }
  const version = gauge('table_version', 'Version of the current routing table')
  const converged = gauge('table_converged', '1 when every connected gateway serves the current table')
  const gateways = gauge('gateways', 'Registered gateways', ['state'])
  const workers = gauge('workers', 'Registered workers', ['pool', 'state'])
  const sessions = gauge('gateway_sessions', 'Sessions of a gateway', ['gateway'])
  const bindings = gauge('worker_sessions', 'Sessions bound to a worker', ['pool', 'worker'])
  const moves = gauge('moves_running', 'Live moves that are not finished')
  const leads = gauge('coordinator_leads', '1 when this coordinator leads')
  const collect = (): void => {
    const plane = leading()
    for (const each of registered) each.reset()
    leads.set(plane === undefined ? 0 : 1)
    if (plane === undefined) return
    const status = fleetStatus(plane, now())
    version.set(status.version)
    converged.set(status.converged ? 1 : 0)
    for (const gateway of status.gateways) {
      gateways.inc({ state: gateway.state })
      sessions.set({ gateway: gateway.id }, gateway.sessions)
    }
    for (const worker of status.workers) {
      workers.inc({ pool: worker.pool, state: worker.state })
      bindings.set({ pool: worker.pool, worker: worker.id }, worker.sessions)
    }
    moves.set(plane.moves.list(wall()).running.length)
  }
  return {
    method: 'GET',
    path: '/metrics',
    open: true,
    handle: async () => {
      collect()
      return raw({ contentType: registry.contentType, body: await registry.metrics() })
    },
  }
}
