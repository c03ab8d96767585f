/** The current routing table, and the way from a change to every gateway: coalesced, checked, numbered, fed. */

import type { Delta, Snapshot } from '../../proto/control.js'
import { SluiceError } from '../../proto/errors.js'
import type { RoutingTable } from '../../proto/table.js'
import { checkTable } from '../../proto/table-check.js'
import { sameTable } from '../../proto/table-delta.js'
import type { Clock, Log } from './clock.js'
import { Feed, TablePacker } from './feed.js'

/** Changes within this time become one table, so that a burst of joins is one push. */
const COALESCE_MS = 20

/** What the publisher needs around it. */
export interface PublisherOptions {
  readonly clock: Clock
  readonly log: Log
  /** The table to go on from; version 0 for none. */
  readonly table: RoutingTable
  /** The next table's content, from the previous one and everything known now. */
  readonly build: (previous: RoutingTable) => RoutingTable
  /** Called after each swap, before the gateways get the table. */
  readonly onPublished: (table: RoutingTable, previous: RoutingTable) => void
}

/** A table that some gateways serve ahead of the others. */
interface Staged {
  /** Its content, on top of the current table. */
  readonly build: (current: RoutingTable) => RoutingTable
  readonly gateways: ReadonlySet<string>
  readonly table: RoutingTable
}

/** Owns the current table, and the staged one while routes are rolled out gateway by gateway. */
export class Publisher {
  readonly #options: PublisherOptions
  readonly #packer = new TablePacker()
  readonly #feeds = new Map<string, Feed>()
  #table: RoutingTable
  /** Highest version that anybody has seen. */
  #highest: number
  /** The next build gets a new version even when nothing changed. */
  #forced = false
  #staged: Staged | undefined
  #cancelTimer: (() => void) | undefined
  #heldUntil = 0
  #closed = false

  constructor(options: PublisherOptions) {
    this.#options = options
    this.#table = options.table
    this.#highest = options.table.version
  }

  get table(): RoutingTable {
    return this.#table
  }

  /** The version that the next change gets. */
  get nextVersion(): number {
    return this.#highest + 1
  }

  /** True while no table goes out, because too little of the fleet is known yet. */
  get held(): boolean {
    return this.#heldUntil > this.#options.clock.now()
  }

  get feeds(): ReadonlyMap<string, Feed> {
    return this.#feeds
  }

  /** Something that the table is built from may have changed. */
  changed(): void {
    if (this.#cancelTimer !== undefined || this.#closed) return
    const wait = Math.max(COALESCE_MS, this.#heldUntil - this.#options.clock.now())
    this.#cancelTimer = this.#options.clock.after(wait, () => {
      this.#cancelTimer = undefined
      if (this.held) this.changed()
      else {
        this.publish()
        // Gateways that came, and tables that were made, while it was held.
        this.#offerAll()
      }
    })
  }

  /**
   * No table goes out before `until` (on the clock): a fleet that has a newer table than this coordinator must not lose
   * its workers while they have not found their way here yet.
   */
  hold(until: number): void {
    this.#heldUntil = Math.max(this.#heldUntil, until)
    this.#forced = true
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.changed()
  }

  /** Somebody serves this version: the next table must be above it. */
  outnumber(version: number): void {
    this.#highest = Math.max(this.#highest, version)
    this.#forced = true
    this.changed()
  }

  /**
   * Builds now, and feeds the result when it differs from the current table.
   * @throws SluiceError `internal` when the new table does not pass its own checks; the current one stays
   */
  publish(): RoutingTable {
    const previous = this.#table
    const next = this.#options.build(previous)
    if (!this.#forced && previous.version > 0 && sameTable(previous, next)) return previous
    const table = this.#numbered(next)
    this.#forced = false
    this.#table = table
    this.#options.onPublished(table, previous)
    if (this.#staged !== undefined) this.#restage(this.#staged)
    this.#offerAll()
    return table
  }

  /**
   * Some gateways get what `build` makes of the current table, the others go on with that; both follow the fleet.
   * @returns the staged table
   * @throws SluiceError `internal` when it does not pass its checks; nothing changed
   */
  stage(build: Staged['build'], gateways: ReadonlySet<string>): RoutingTable {
    const { table } = this.#restage({ build, gateways, table: this.#staged?.table ?? this.#table })
    this.#offerAll()
    return table
  }

  /** The staged table becomes everybody's. From here on the caller's own `build` has to lead to it. */
  promote(): void {
    if (this.#staged === undefined) return
    const previous = this.#table
    this.#table = this.#staged.table
    this.#staged = undefined
    this.#options.onPublished(this.#table, previous)
    this.#offerAll()
  }

  /** The staged table goes; its gateways get the current one again, under a version above it. */
  withdraw(): void {
    if (this.#staged === undefined) return
    this.#staged = undefined
    this.#forced = true
    this.publish()
  }

  /** Slots of pools that both tables have are the current table's; those that only the staged one has go on from it. */
  #restage(staged: Staged): Staged {
    const pools = new Map(staged.table.pools)
    for (const [name, pool] of this.#table.pools) {
      if (pool.slots.length > 0 || !pools.has(name)) pools.set(name, pool)
    }
    const content = staged.build({ ...this.#table, pools })
    const table = sameTable(staged.table, content) ? staged.table : this.#numbered(content)
    this.#staged = { ...staged, table }
    return this.#staged
  }

  /** The content as the next version, checked. */
  #numbered(content: RoutingTable): RoutingTable {
    const table = { ...content, version: this.#highest + 1 }
    const problems = checkTable(table)
    if (problems.length > 0) {
      const { log } = this.#options
      log.error({ problems, version: table.version }, 'a new routing table is not sound; the old one stays')
      throw new SluiceError('internal', `the new routing table is not sound: ${problems[0]}`)
    }
    this.#highest = table.version
    return table
  }

  #targetOf(gateway: string): RoutingTable {
    return this.#staged?.gateways.has(gateway) === true ? this.#staged.table : this.#table
  }

  #offerAll(): void {
    if (this.held) return
    for (const [id, feed] of this.#feeds) feed.offer(this.#targetOf(id))
  }

  /** A gateway connected. @param serving the version that it says it serves */
  attach(gateway: string, serving: number, send: (message: Snapshot | Delta) => void): Feed {
    const feed = new Feed(this.#packer, serving, send)
    this.#feeds.set(gateway, feed)
    if (!this.held && this.#table.version > 0) feed.offer(this.#targetOf(gateway))
    return feed
  }

  /** A gateway's connection is gone. */
  detach(gateway: string, feed: Feed): void {
    if (this.#feeds.get(gateway) === feed) this.#feeds.delete(gateway)
  }

  close(): void {
    this.#closed = true
    this.#cancelTimer?.()
    this.#feeds.clear()
  }
}
