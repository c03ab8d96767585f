/** The way to the other gateways: straight to each of them, or through NATS where there is one. */

import { type RoutingTable, threadName } from '../proto/table.js'
import type { WebSocketEndpoint } from './edge/server/server.js'
import type { Bus } from './fanout/bus.js'
import type { FanoutCounters } from './fanout/counters.js'
import { createNatsBus } from './fanout/nats-bus.js'
import { createPeerBus, type Peer } from './fanout/peer-bus.js'
import type { GatewayOptions } from './gateway-options.js'
import { createPeerEndpoint, type PeerData } from './peer-endpoint.js'

/** A bus that can also ask the other gateways about sessions. */
export interface FleetBus {
  readonly bus: Bus
  /** True while there is nobody to ask. */
  readonly alone: boolean
  /** Resolves with the answers that are not empty; undefined when there is nobody to ask. */
  ask(question: Uint8Array, ms: number): Promise<Uint8Array[]> | undefined
  /** Follows a new table. */
  useTable(table: RoutingTable): void
  /** True when every gateway of the table is connected. */
  readonly ready: boolean
  /** Where other gateways dial in; undefined where they do not. */
  readonly endpoint: WebSocketEndpoint<PeerData> | undefined
}

/** @param answer answers other gateways' questions; empty for nothing to say */
export function createFleetBus(
  options: GatewayOptions,
  counters: FanoutCounters,
  answer: (question: Uint8Array) => Uint8Array,
): FleetBus {
  const { clock, log, random, token, nats } = options
  const id = memberName(options)
  if (nats !== undefined) {
    const bus = createNatsBus({ id, servers: nats, clock, random, counters, log, answer })
    // NATS may be away for long, and a gateway serves without it.
    return {
      bus,
      get alone() {
        return bus.alone
      },
      ask: (question, ms) => bus.ask(question, ms),
      useTable: () => {},
      ready: true,
      endpoint: undefined,
    }
  }
  const bus = createPeerBus({ id, clock, log, random, counters, answer, ...(token === undefined ? {} : { token }) })
  return {
    bus,
    get alone() {
      return bus.alone
    },
    ask: (question, ms) => bus.ask(question, ms),
    useTable: (table) => bus.setPeers(peersOf(table, options)),
    get ready() {
      return bus.ready
    },
    endpoint: createPeerEndpoint(bus, token),
  }
}

/** What this gateway, or this thread of it, is called among the others. */
export function memberName({ id, thread }: Pick<GatewayOptions, 'id' | 'thread'>): string {
  return thread === undefined ? id : threadName(id, thread.index)
}

/** Everybody to dial: gateways, and threads of those that have several. Those of this gateway are known without a table. */
function peersOf({ gateways }: RoutingTable, { id: own, thread }: GatewayOptions): Peer[] {
  const threads = (id: string, urls: readonly string[]) => urls.map((url, i) => ({ id: threadName(id, i), url }))
  const others = [...gateways.values()].filter(({ id }) => id !== own)
  return [
    ...threads(own, thread?.peers ?? []),
    ...others.flatMap(({ id, http, peers }) => (peers === undefined ? [{ id, url: http }] : threads(id, peers))),
  ]
}
