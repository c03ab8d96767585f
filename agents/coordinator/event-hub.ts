/** What happens in the fleet, as people and the dashboard see it: newest last, bounded, and streamed to who listens. */

/** One event. `type` says what, `at` when (ISO 8601); the rest depends on the type. */
export interface FleetEvent {
  readonly id: number
  readonly type: string
  readonly at: string
  readonly [detail: string]: unknown
}

/** Events kept for those who ask from an id on. */
const KEPT = 1000

/** Hands events to listeners as they happen, and keeps the newest {@link KEPT}. */
export class EventHub {
  readonly #wall: () => number
  readonly #listeners = new Set<(event: FleetEvent) => void>()
  #recent: FleetEvent[] = []
  #next = 1

  /** @param wall milliseconds since 1970 */
  constructor(wall: () => number) {
    this.#wall = wall
  }

  emit(type: string, details: object): void {
    const event: FleetEvent = { ...details, id: this.#next++, type, at: new Date(this.#wall()).toISOString() }
    this.#recent.push(event)
    if (this.#recent.length > KEPT * 2) this.#recent = this.#recent.slice(-KEPT)
    for (const listener of this.#listeners) listener(event)
  }

  /** Kept events with an id above `after`. */
  since(after: number): FleetEvent[] {
    return this.#recent.slice(-KEPT).filter(({ id }) => id > after)
  }

  /** @returns a function that ends it */
  listen(listener: (event: FleetEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}
