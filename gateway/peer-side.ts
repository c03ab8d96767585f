/**
 * The side of a gateway that faces other gateways and brokers: the fan-out with the bus under it, the claims by which
 * a device's session follows it from gateway to gateway, and the bridges.
 */

import type { RoutingTable } from '../proto/table.js'
import type { BridgeStatus } from './bridge/bridge.js'
import { type BridgeSet, createBridges, NO_BRIDGES } from './bridge/bridge-set.js'
import { Claims } from './claims.js'
import type { SessionTravel } from './edge/mqtt/session-travel.js'
import type { HttpServer } from './edge/server/server.js'
import { createEdgeRooms } from './edge/websocket/edge.js'
import { createFanoutCounters } from './fanout/counters.js'
import { createFanout, type LocalFanout } from './fanout/fan-out.js'
import type { RetainedJournal } from './fanout/retained.js'
import { createFleetBus, type FleetBus, memberName } from './fleet-bus.js'
import type { GatewayOptions } from './gateway-options.js'
import { listenForPeers } from './peer-listener.js'
import type { SessionTable } from './session/session-table.js'
import { SessionTransfer } from './session-transfer.js'

export interface PeerSideParts {
  readonly server: HttpServer
  readonly sessions: SessionTable
  /** The MQTT edge's: asked for when it is needed, since edges are made later. */
  readonly travel: () => SessionTravel
  /** Where retained messages outlive the process. */
  readonly retained: RetainedJournal | undefined
}

export class PeerSide {
  readonly fanout: LocalFanout
  readonly claims: Claims
  readonly #options: GatewayOptions
  readonly #bus: FleetBus
  #bridges: BridgeSet = NO_BRIDGES
  /** Where others dial this thread, when it is one of several. */
  #listener: HttpServer | undefined
  #meshed = false

  constructor(options: GatewayOptions, { server, sessions, travel, retained }: PeerSideParts) {
    this.#options = options
    const { clock, log, thread } = options
    const counters = createFanoutCounters()
    const name = memberName(options)
    this.#bus = createFleetBus(options, counters, (question) => this.claims.answer(question))
    this.claims = new Claims(name, this.#bus, sessions, clock, new SessionTransfer(name, this.#bus, travel, clock))
    this.fanout = createFanout({
      clock,
      log,
      bus: this.#bus.bus,
      counters,
      native: createEdgeRooms(server),
      ...(retained === undefined ? {} : { journal: retained }),
    })
    const { endpoint } = this.#bus
    if (endpoint !== undefined && thread === undefined) server.websocket('/v1/peer', endpoint)
  }

  /** True once every other gateway was connected: one that dies later must not make the others unready. */
  get ready(): boolean {
    this.#meshed ||= this.#bus.ready
    return this.#meshed
  }

  /** Follows a new table. */
  useTable(table: RoutingTable): void {
    this.#bus.useTable(table)
    this.#bridges.useTable(table)
  }

  /**
   * Bridges run from the next {@link useTable} on.
   * @throws SluiceError `bad_request` naming the setting at fault
   */
  async addBridges(): Promise<void> {
    const { id, bridges = [], coordinator, clock, log, random } = this.#options
    const port = { fanout: this.fanout, clock, log, random }
    this.#bridges = await createBridges(bridges, port, id, coordinator === undefined)
  }

  bridges(): readonly BridgeStatus[] {
    return this.#bridges.status()
  }

  /**
   * A thread listens for the others itself: the port that devices use leads to any thread.
   * @throws SluiceError `conflict` naming the port that is taken
   */
  async listen(): Promise<void> {
    const { thread } = this.#options
    const { endpoint } = this.#bus
    if (thread !== undefined && endpoint !== undefined)
      this.#listener = await listenForPeers(this.#options, thread.peerPort, endpoint)
  }

  /** Delivers what waits, then ends the bus. */
  async close(): Promise<void> {
    await this.#bridges.close()
    await this.fanout.close()
  }

  async closeListener(): Promise<void> {
    await this.#listener?.close()
  }
}
