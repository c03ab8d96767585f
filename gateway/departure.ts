/** A gateway that drains asks its devices to go, one after the other, so that the next gateway is not stormed. */

import type { GatewayEntry } from '../proto/table.js'
import type { Clock, Protocol } from './ports.js'
import type { SessionTable } from './session/session-table.js'

export interface DepartureOptions {
  readonly sessions: SessionTable
  readonly clock: Clock
  /** Milliseconds over which the devices are asked; 0: all at once. */
  readonly windowMs: number
  /** Where they should go; undefined when there is no other gateway that takes them. */
  readonly next: GatewayEntry | undefined
  /** 0 to 1. */
  readonly random: () => number
}

const STEP_MS = 50
/** A device that was asked comes back within this, milliseconds: jitter on top of the window. */
const JITTER_MS = 500

/** Begins; the returned function stops it. Devices that connect meanwhile are refused by the caller. */
export function startDeparture({ sessions, clock, windowMs, next, random }: DepartureOptions): () => void {
  const waiting = [...sessions.sessions()].filter(({ connected }) => connected)
  const began = clock.now()
  const total = waiting.length
  let cancel: () => void = () => {}
  const step = () => {
    const share = windowMs === 0 ? 1 : Math.min(1, (clock.now() - began + STEP_MS) / windowMs)
    const due = Math.ceil(total * share)
    while (total - waiting.length < due) {
      const session = waiting.pop()
      if (session === undefined) return
      const retryAfterMs = Math.round(random() * JITTER_MS)
      session.askToLeave('draining', 'this gateway is being drained', {
        retryAfterMs,
        ...placeToGo(next, session.protocol),
      })
    }
    if (waiting.length > 0) cancel = clock.after(STEP_MS, step)
  }
  step()
  return () => cancel()
}

/** Where a device of this protocol goes to reach a gateway: for MQTT a Server Reference, `HOST:PORT` (MQTT 5.0 section 4.11). */
export function placeToGo(gateway: GatewayEntry | undefined, protocol: Protocol): { url?: string } {
  if (gateway === undefined) return {}
  return { url: protocol === 'mqtt' ? new URL(gateway.mqtt).host : gateway.ws }
}
