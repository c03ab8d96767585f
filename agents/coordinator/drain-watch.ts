/** Tells when nothing is bound to a draining worker any more. Pure. */

import type { RoutingTable } from '../../proto/table.js'
import type { LoadBook } from './load-book.js'

/** What of a connected gateway is asked. */
export interface WatchedGateway {
  /** The version that it serves, and when it said so. */
  readonly feed: { readonly version: number; readonly ackedAt: number }
  /** When its last heartbeat came, on the same clock. */
  readonly heardAt: number
}

/** Follows each draining worker from the table that says so to its last binding. */
export class DrainWatch {
  /** First table version in which the worker is draining. */
  readonly #since = new Map<string, number>()
  readonly #told = new Set<string>()

  /** A new table is out. */
  published(table: RoutingTable): void {
    for (const { id, state } of table.workers.values()) {
      if (state !== 'draining') this.#forget(id)
      else if (!this.#since.has(id)) this.#since.set(id, table.version)
    }
    for (const id of this.#since.keys()) if (!table.workers.has(id)) this.#forget(id)
  }

  /**
   * Draining workers that are free now, each told once. Free means: every gateway serves a table in which it drains,
   * and has said since then that it holds no binding of it.
   */
  finished(
    draining: readonly string[],
    table: RoutingTable,
    gateways: readonly WatchedGateway[],
    loads: Pick<LoadBook, 'bindings'>,
  ): string[] {
    const waiting = draining.filter((id) => table.workers.get(id)?.state === 'draining' && !this.#told.has(id))
    if (waiting.length === 0) return []
    const bindings = loads.bindings()
    const free = waiting.filter((id) => {
      const since = this.#since.get(id) ?? Number.POSITIVE_INFINITY
      const seen = gateways.every(({ feed, heardAt }) => feed.version >= since && heardAt > feed.ackedAt)
      return seen && (bindings.get(id) ?? 0) === 0
    })
    for (const id of free) this.#told.add(id)
    return free
  }

  #forget(id: string): void {
    this.#since.delete(id)
    this.#told.delete(id)
  }
}
