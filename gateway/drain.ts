/**
 * A gateway that drains takes no devices and asks those it has to go, one after the other, so that the next gateway is
 * not stormed.
 */

import type { DrainGateway, FleetLoad } from '../proto/control.js'
import { SluiceError } from '../proto/errors.js'
import { nearestGateways } from '../proto/nearest.js'
import type { GatewayEntry, RoutingTable } from '../proto/table.js'
import type { GatewayOptions } from './gateway-options.js'
import type { Protocol } from './ports.js'
import type { SessionTable } from './session/session-table.js'

/** What is known of the other gateways. */
export interface Fleet {
  readonly table: RoutingTable
  /** Sessions of each. */
  readonly load: FleetLoad['gateways']
}

const STEP_MS = 50
/** A device that was asked comes back within this, milliseconds: jitter on top of the window. */
const JITTER_MS = 500

export class Drain {
  readonly #options: GatewayOptions
  readonly #sessions: SessionTable
  readonly #fleet: () => Fleet
  #draining = false
  #stop: () => void = () => {}

  /** @param fleet asked for when it is needed: what the coordinator said last */
  constructor(options: GatewayOptions, sessions: SessionTable, fleet: () => Fleet) {
    this.#options = options
    this.#sessions = sessions
    this.#fleet = fleet
  }

  /** True while this gateway takes no devices. */
  get draining(): boolean {
    return this.#draining
  }

  /** Begins, begins anew with another window, or ends. */
  follow({ draining, windowMs }: DrainGateway): void {
    this.#draining = draining
    this.#stop()
    if (draining) this.#sendAway(windowMs)
  }

  /** Asks nobody any more. */
  stop(): void {
    this.#stop()
  }

  /** @throws SluiceError `draining`, with the place to go to where there is one; while the gateway does not drain: nothing */
  refuse(protocol: Protocol): void {
    if (!this.#draining) return
    throw new SluiceError('draining', undefined, { retryAfterMs: 1000, ...placeToGo(this.#next(), protocol) })
  }

  /** Asks the devices to go to the next nearest gateway, spread over `windowMs` milliseconds; 0: all at once. */
  #sendAway(windowMs: number): void {
    const { clock, random } = this.#options
    const next = this.#next()
    const waiting = [...this.#sessions.sessions()].filter(({ connected }) => connected)
    const began = clock.now()
    const total = waiting.length
    const step = () => {
      const share = windowMs === 0 ? 1 : Math.min(1, (clock.now() - began + STEP_MS) / windowMs)
      const due = Math.ceil(total * share)
      while (total - waiting.length < due) {
        const session = waiting.pop()
        if (session === undefined) return
        const retryAfterMs = Math.round(random() * JITTER_MS)
        const details = { retryAfterMs, ...placeToGo(next, session.protocol) }
        session.askToLeave('draining', 'this gateway is being drained', details)
      }
      if (waiting.length > 0) this.#stop = clock.after(STEP_MS, step)
    }
    step()
  }

  /** The next nearest gateway that takes devices. */
  #next(): GatewayEntry | undefined {
    const { id, region } = this.#options
    const { table, load } = this.#fleet()
    const here = table.gateways.get(id)
    const query = { limit: 1, except: id, ...(here?.location && { at: here.location }), region }
    const [next] = nearestGateways(table.gateways.values(), query, (gateway) => load[gateway] ?? 0)
    return next?.state === 'up' ? next : undefined
  }
}

/** Where a device of this protocol goes to reach a gateway: for MQTT a Server Reference, `HOST:PORT` (MQTT 5.0 section 4.11). */
function placeToGo(gateway: GatewayEntry | undefined, protocol: Protocol): { url?: string } {
  if (gateway === undefined) return {}
  return { url: protocol === 'mqtt' ? new URL(gateway.mqtt).host : gateway.ws }
}
