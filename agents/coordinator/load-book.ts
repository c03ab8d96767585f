/** What gateways say they hold: sessions of each gateway, bindings per worker, sessions per slot. Newest word of each counts. */

import type { GatewayHeartbeat } from '../../proto/control.js'
import { SLOTS } from '../../proto/hash.js'

/** Adds up the heartbeats of all gateways. */
export class LoadBook {
  readonly #heartbeats = new Map<string, GatewayHeartbeat>()
  /** Counts heartbeats, so that others know when something is new. */
  #revision = 0

  /** Replaces what the gateway said before. The message is trusted: it was checked when it was read. */
  record(gateway: string, heartbeat: GatewayHeartbeat): void {
    this.#heartbeats.set(gateway, heartbeat)
    this.#revision++
  }

  /** A gateway is gone, and its sessions with it. */
  forget(gateway: string): void {
    if (this.#heartbeats.delete(gateway)) this.#revision++
  }

  get revision(): number {
    return this.#revision
  }

  /** The last heartbeat of a gateway. */
  heartbeatOf(gateway: string): GatewayHeartbeat | undefined {
    return this.#heartbeats.get(gateway)
  }

  /** Sessions in each slot of a pool over all gateways; undefined when no gateway holds any. */
  slotLoad(pool: string): Uint32Array | undefined {
    let load: Uint32Array | undefined
    for (const { pools } of this.#heartbeats.values()) {
      const slots = pools[pool]?.slots
      if (slots === undefined || slots.length === 0) continue
      load ??= new Uint32Array(SLOTS)
      for (let i = 0; i + 1 < slots.length; i += 2) {
        const slot = slots[i] as number
        load[slot] = (load[slot] as number) + (slots[i + 1] as number)
      }
    }
    return load
  }

  /** Bindings of each worker over all gateways. */
  bindings(): Map<string, number> {
    const bindings = new Map<string, number>()
    for (const { pools } of this.#heartbeats.values()) {
      for (const { workers } of Object.values(pools)) {
        for (const [id, count] of Object.entries(workers)) bindings.set(id, (bindings.get(id) ?? 0) + count)
      }
    }
    return bindings
  }

  /** Sessions that a gateway holds, 0 for one that was not heard yet. */
  sessionsOf(gateway: string): number {
    return this.#heartbeats.get(gateway)?.sessions ?? 0
  }
}
