/**
 * The seam to the other gateways. The fan-out tells a bus what its subscribers want and hands it what is published
 * here; the bus hands over what others published. What came from a bus is never handed to one again.
 */

import type { Message } from '../ports.js'

/** Gateways that were chosen for shared groups: by gateway id, the `$share/` filters whose turn is there. */
export type SharedPicks = ReadonlyMap<string, readonly string[]>

/** What a bus calls; the fan-out implements it. */
export interface BusHandlers {
  /**
   * A message from another gateway.
   * @param direct true: for every subscriber here; false: only for `shared`
   * @param shared `$share/` filters of groups that this gateway was chosen for
   */
  message(message: Message, direct: boolean, shared: readonly string[]): void
  /** A retained message of another gateway (without payload: a cleared topic): kept if it is newer, not delivered. */
  retained(message: Message): void
  /** What is retained here on `topic`, a cleared topic included. */
  newestRetained(topic: string): Message | undefined
  /** Another gateway has this many members in a shared group; 0 when none is left, or the gateway is gone. */
  members(gateway: string, filter: string, members: number): void
  /** What is retained here, cleared topics included. */
  retainedSet(): Iterable<Message>
}

export interface PeerStatus {
  readonly id: string
  /** `connected`: it gets what it subscribed to, and we get what we did. */
  readonly state: 'connected' | 'connecting'
  /** Why it is not connected, where that is known. */
  readonly reason?: string
}

/** What `/v1/status` and readiness show of a bus. */
export interface BusStatus {
  readonly kind: 'memory' | 'peers' | 'nats'
  /** `cut`: nothing crosses; `partial`: some gateways are not reached. */
  readonly state: 'connected' | 'partial' | 'cut'
  readonly peers: readonly PeerStatus[]
  /** What is cut, in words; absent while all is well. */
  readonly reason?: string
  /** Messages that wait to cross; absent where the bus keeps none. */
  readonly queued?: number
}

export interface Bus {
  /** Called once, before anything else. */
  attach(handlers: BusHandlers): void
  /**
   * This many local subscribers want `filter` now. Only the first and the last of a plain filter are told to others;
   * of a `$share/` filter every change is.
   * @param settled called once every connected gateway knows the filter, or after a short while; at once when all know
   */
  interest(filter: string, members: number, settled: () => void): void
  /** A message that was published here. */
  publish(message: Message, picks: SharedPicks | undefined): void
  status(): BusStatus
  close(): Promise<void>
}

/** The bus of a gateway that is alone: there is nobody to tell. */
export function createMemoryBus(): Bus {
  return {
    attach: () => {},
    interest: (_filter, _members, settled) => settled(),
    publish: () => {},
    status: () => ({ kind: 'memory', state: 'connected', peers: [] }),
    close: async () => {},
  }
}
