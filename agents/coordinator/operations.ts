/** What people do to workers and gateways: drain, undrain, weigh. Each is kept, then shows in the next table. */

import { SluiceError } from '../../proto/errors.js'
import { readChoice, readCount, readObject } from '../../proto/fields.js'
import type { ControlPlane } from './control-plane.js'
import type { FleetMoveBudget } from './move-budget.js'

/** Devices of a draining gateway are asked to leave over this time unless said otherwise, in milliseconds. */
const DRAIN_WINDOW_MS = 30_000

/** The operations. */
export class Operations {
  readonly #plane: ControlPlane
  readonly #keep: () => void

  /** @param keep writes the intents to disk */
  constructor(plane: ControlPlane, keep: () => void) {
    this.#plane = plane
    this.#keep = keep
  }

  /** @throws SluiceError `not_found` */
  drainWorker(id: string): { id: string; state: string } {
    this.#worker(id)
    this.#plane.fleet.intents.drainingWorkers.add(id)
    this.#decided(`drain of worker ${id}`)
    return { id, state: 'draining' }
  }

  /** A drained worker's id may be unknown by now: the intent is dropped all the same. @throws SluiceError `not_found` */
  undrainWorker(id: string): { id: string; state: string } {
    const { intents, workers } = this.#plane.fleet
    const worker = workers.get(id)
    if (!intents.drainingWorkers.delete(id) && worker === undefined) this.#worker(id)
    if (worker !== undefined) worker.leaving = false
    this.#decided(`undrain of worker ${id}`)
    return { id, state: 'up' }
  }

  /** @param weight 0 to 1000 @throws SluiceError `not_found` */
  weighWorker(id: string, weight: number): { id: string; weight: number } {
    this.#worker(id)
    this.#plane.fleet.intents.weights.set(id, weight)
    this.#decided(`weight ${weight} for worker ${id}`)
    return { id, weight }
  }

  /** @param windowMs its devices are asked to leave over this time @throws SluiceError `not_found` */
  drainGateway(id: string, windowMs = DRAIN_WINDOW_MS): { id: string; state: string; windowMs: number } {
    this.#gateway(id)
    this.#plane.fleet.intents.drainingGateways.add(id)
    this.#plane.sendToGateway(id, { t: 'drain_gateway', draining: true, windowMs })
    this.#decided(`drain of gateway ${id}`)
    return { id, state: 'draining', windowMs }
  }

  /** @throws SluiceError `not_found` */
  undrainGateway(id: string): { id: string; state: string } {
    if (!this.#plane.fleet.intents.drainingGateways.delete(id)) this.#gateway(id)
    this.#plane.sendToGateway(id, { t: 'drain_gateway', draining: false, windowMs: 0 })
    this.#decided(`undrain of gateway ${id}`)
    return { id, state: 'up' }
  }

  /** Changes the given parts of the budget. @throws SluiceError `bad_request` */
  setBudget(value: unknown): FleetMoveBudget {
    const fields = readObject(value, 'body')
    const { budget } = this.#plane
    const { perSecond, inFlight, paused } = { ...budget.budget, ...fields }
    budget.set({
      perSecond: readCount(perSecond, 'perSecond', 1, 1_000_000),
      inFlight: readCount(inFlight, 'inFlight', 1, 1_000_000),
      paused: readChoice(String(paused), 'paused', ['true', 'false'] as const) === 'true',
    })
    return budget.budget
  }

  /** Calls off the moves that have not begun; their sessions stay where they are until the next table. */
  abortMoves(): FleetMoveBudget {
    const { budget } = this.#plane
    budget.abort()
    return budget.budget
  }

  #decided(cause: string): void {
    this.#keep()
    this.#plane.intentsChanged(cause)
  }

  #worker(id: string): void {
    if (!this.#plane.fleet.workers.has(id))
      throw new SluiceError('not_found', `no worker is called ${JSON.stringify(id)}`)
  }

  #gateway(id: string): void {
    if (!this.#plane.fleet.gateways.has(id))
      throw new SluiceError('not_found', `no gateway is called ${JSON.stringify(id)}`)
  }
}
