/** What local subscribers want, as subscriptions at the NATS server. */

import type { Subscription } from '@nats-io/transport-node'
import { FilterCover } from './filter-cover.js'
import { filterSubjects, LONG_SUBJECT } from './nats-subject.js'

/** Subscribes to a subject below the prefix, on the connection that is there now. */
export type Subscribe = (subject: string) => Subscription

export class NatsInterest {
  readonly #wanted: () => ReadonlyMap<string, number>
  readonly #subscribe: Subscribe
  /** By filter. Filters that a wider one covers have none: the server sends one copy for each. */
  readonly #subscriptions = new Map<string, Subscription[]>()
  #cover = new FilterCover()
  #long: Subscription | undefined

  /** @param wanted all filters that somebody here wants */
  constructor(wanted: () => ReadonlyMap<string, number>, subscribe: Subscribe) {
    this.#wanted = wanted
    this.#subscribe = subscribe
  }

  /** Another connection took the place of the one before, and knows nothing. */
  reset(): void {
    this.#subscriptions.clear()
    this.#cover = new FilterCover()
    this.#long = undefined
  }

  /**
   * Subscribes to what is wanted and new.
   * @returns the filters to {@link shut} when the server has confirmed the new ones: what it sent for old ones has arrived by then
   */
  open(changes: Iterable<readonly [filter: string, members: number]>): string[] {
    const touched: string[] = []
    for (const [filter, members] of changes) touched.push(...this.#change(filter, members > 0), filter)
    for (const filter of touched) if (this.#needed(filter)) this.#open(filter)
    if (this.#subscriptions.size > 0) this.#long ??= this.#subscribe(LONG_SUBJECT)
    return touched
  }

  /** Ends the subscriptions of these filters that are not needed any more. */
  shut(filters: readonly string[]): void {
    for (const filter of filters) if (!this.#needed(filter)) this.#shut(filter)
  }

  /** Returns the filters whose need of a subscription may have changed with this one. */
  #change(filter: string, wanted: boolean): string[] {
    if (wanted) this.#cover.add(filter)
    else this.#cover.delete(filter)
    return this.#cover.narrower(filter)
  }

  #needed(filter: string): boolean {
    return this.#wanted().has(filter) && !this.#cover.covers(filter)
  }

  #open(filter: string): void {
    if (this.#subscriptions.has(filter)) return
    this.#subscriptions.set(filter, filterSubjects(filter).map(this.#subscribe))
  }

  #shut(filter: string): void {
    for (const subscription of this.#subscriptions.get(filter) ?? []) subscription.unsubscribe()
    this.#subscriptions.delete(filter)
    if (this.#subscriptions.size > 0) return
    this.#long?.unsubscribe()
    this.#long = undefined
  }
}
