/** The fleet's budget for live moves, split over its gateways. */

import type { MoveBudget } from '../../proto/control.js'

/** How fast sessions may move in the whole fleet. */
export interface FleetMoveBudget {
  /** Sessions a second. */
  readonly perSecond: number
  /** Sessions that may be on their way at once. */
  readonly inFlight: number
  /** No move begins while true; those under way finish. */
  readonly paused: boolean
}

/**
 * Fast enough for 50,000 sessions in 15 s over a few gateways, slow enough that workers keep serving meanwhile. Few at
 * once: those that begin together wait for each other, and the pause of each is the time of all.
 */
export const DEFAULT_BUDGET: FleetMoveBudget = { perSecond: 2000, inFlight: 64, paused: false }

/** Sends each gateway its part. */
export class BudgetSplitter {
  readonly #send: (gateway: string, message: MoveBudget) => void
  #budget: FleetMoveBudget = DEFAULT_BUDGET
  #gateways: readonly string[] = []

  constructor(send: (gateway: string, message: MoveBudget) => void) {
    this.#send = send
  }

  get budget(): FleetMoveBudget {
    return this.#budget
  }

  set(budget: FleetMoveBudget): void {
    this.#budget = budget
    this.share(this.#gateways)
  }

  /** Calls off every move that has not begun. */
  abort(): void {
    for (const id of this.#gateways) this.#send(id, { ...this.#partOf(), abort: true })
  }

  /** These gateways are connected now. */
  share(gateways: readonly string[]): void {
    this.#gateways = gateways
    for (const id of gateways) this.#send(id, this.#partOf())
  }

  #partOf(): MoveBudget {
    const { perSecond, inFlight, paused } = this.#budget
    const part = (whole: number): number => Math.max(1, Math.floor(whole / this.#gateways.length))
    return { t: 'move_budget', perSecond: part(perSecond), inFlight: part(inFlight), paused }
  }
}
