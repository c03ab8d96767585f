/**
 * The table feed of one gateway: which message brings it from what it serves to what it ought to serve. Pure.
 *
 * One table is on its way at a time. Changes meanwhile add up to one delta; so a slow gateway costs one table of
 * memory, never a queue.
 */

import type { Delta, Snapshot, TableNack } from '../../proto/control.js'
import type { RoutingTable } from '../../proto/table.js'
import { packDelta, packTable } from '../../proto/table-delta.js'

/** What a gateway said when it refused a table. */
export interface NackRecord {
  readonly version: number
  readonly code: string
  readonly message: string
  /** Milliseconds since 1970. */
  readonly at: number
}

/** Packs tables; equal questions, asked by every gateway after each change, are answered once. */
export class TablePacker {
  #snapshot: { version: number; bytes: Uint8Array } | undefined
  #deltas = new Map<string, Uint8Array>()

  snapshot(table: RoutingTable): Snapshot {
    if (this.#snapshot?.version !== table.version) this.#snapshot = { version: table.version, bytes: packTable(table) }
    return { t: 'snapshot', version: table.version, table: this.#snapshot.bytes }
  }

  delta(from: RoutingTable, to: RoutingTable): Delta {
    const key = `${from.version}:${to.version}`
    let delta = this.#deltas.get(key)
    if (delta === undefined) {
      delta = packDelta(from, to)
      // Gateways ask in waves for the same few pairs; older ones are not asked for again.
      if (this.#deltas.size >= 8) this.#deltas.delete(this.#deltas.keys().next().value as string)
      this.#deltas.set(key, delta)
    }
    return { t: 'delta', from: from.version, to: to.version, delta }
  }
}

/** One gateway's feed. */
export class Feed {
  readonly #packer: TablePacker
  readonly #send: (message: Snapshot | Delta) => void
  #target: RoutingTable | undefined
  /** The table that the gateway is known to serve, when this coordinator has it. */
  #served: RoutingTable | undefined
  #inFlight: { table: RoutingTable; snapshot: boolean } | undefined
  /** A version that it refused for what is in it: offering it again would not help. */
  #refused = 0
  #ackedVersion: number
  #ackedAt = 0
  #lastNack: NackRecord | undefined

  /** @param serving version that the gateway says it serves, 0 for none */
  constructor(packer: TablePacker, serving: number, send: (message: Snapshot | Delta) => void) {
    this.#packer = packer
    this.#ackedVersion = serving
    this.#send = send
  }

  /** Version that the gateway serves. */
  get version(): number {
    return this.#ackedVersion
  }

  /** When it acknowledged that, on the clock given to {@link acked}; 0 before the first. */
  get ackedAt(): number {
    return this.#ackedAt
  }

  get lastNack(): NackRecord | undefined {
    return this.#lastNack
  }

  /** True when it serves the table that it was last offered. */
  get converged(): boolean {
    return this.#target !== undefined && this.#ackedVersion === this.#target.version
  }

  /** The table that the gateway ought to serve from now on. */
  offer(table: RoutingTable): void {
    this.#target = table
    this.#pump()
  }

  /** It serves this version now. */
  acked(version: number, now: number): void {
    if (this.#inFlight?.table.version !== version) return
    this.#served = this.#inFlight.table
    this.#inFlight = undefined
    this.#ackedVersion = version
    this.#ackedAt = now
    this.#pump()
  }

  /** It refused a version. A delta that it could not apply is followed by a snapshot, a bad table by nothing. */
  nacked(nack: TableNack, wall: number): void {
    this.#lastNack = { version: nack.version, code: nack.code, message: nack.message, at: wall }
    const refused = this.#inFlight
    if (refused?.table.version !== nack.version) return
    this.#inFlight = undefined
    this.#ackedVersion = nack.serving
    // From here on nobody knows its exact table: only a snapshot is safe.
    this.#served = undefined
    if (refused.snapshot || nack.code === 'table_rejected') this.#refused = nack.version
    this.#pump()
  }

  #pump(): void {
    const target = this.#target
    if (target === undefined || this.#inFlight !== undefined || target.version === this.#refused) return
    if (this.#served?.version === target.version) return
    const served = this.#served
    const snapshot = served === undefined
    this.#inFlight = { table: target, snapshot }
    this.#send(snapshot ? this.#packer.snapshot(target) : this.#packer.delta(served, target))
  }
}
