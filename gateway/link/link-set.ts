/** The links to all workers of the routing table: dialed when a worker appears, ended when it is gone and nothing is bound to it. */

import type { ConnectionOptions } from 'node:tls'
import type { WorkerEntry } from '../../proto/table.js'
import type { Clock } from '../ports.js'
import { DEFAULT_LINK_LIMITS, type LinkLimits, type LinkOwner, WorkerLink } from './worker-link.js'

/** What the gateway wants to hear of its links. */
export interface LinkEvents {
  linkUp(worker: string): void
  linkDown(worker: string, hung: boolean, reason: string): void
  load(worker: string, sessions: number): void
  held(worker: string, change: 1 | -1): void
  briefly(read: () => void): void
  workerPublish(worker: string, bytes: Uint8Array, start: number, end: number): void
}

export interface LinkSetOptions {
  readonly gateway: string
  readonly clock: Clock
  readonly events: LinkEvents
  /** Shared secret of the fleet, sent in HELLO. */
  readonly token?: string
  readonly tls?: ConnectionOptions
  readonly limits?: Partial<LinkLimits>
  /** Calls a function once this turn of the event loop has seen its input; setImmediate when absent. */
  readonly turn?: (fn: () => void) => void
}

/** Round trips that are kept between two heartbeats. */
const MAX_SAMPLES = 4096

export class LinkSet implements LinkOwner {
  readonly gateway: string
  readonly token: string | undefined
  readonly clock: Clock
  readonly limits: LinkLimits
  readonly tls: ConnectionOptions | undefined
  readonly turn: (fn: () => void) => void
  readonly #events: LinkEvents
  #roundTrips: number[] = []
  readonly #links = new Map<string, WorkerLink>()
  /** Links of workers that left the table while bindings still have to be handed off. */
  readonly #leaving = new Set<WorkerLink>()

  constructor(options: LinkSetOptions) {
    this.gateway = options.gateway
    this.clock = options.clock
    this.token = options.token
    this.tls = options.tls
    this.turn = options.turn ?? ((fn) => void setImmediate(fn))
    this.limits = { ...DEFAULT_LINK_LIMITS, ...options.limits }
    this.#events = options.events
  }

  /** The link to `worker`, up or not. */
  get(worker: string): WorkerLink | undefined {
    return this.#links.get(worker)
  }

  /** Every worker of the table with the state of its link. */
  *entries(): Iterable<WorkerLink> {
    yield* this.#links.values()
  }

  /** Follows a new table. Links of workers that are gone stay until {@link prune} finds them empty. */
  sync(workers: ReadonlyMap<string, WorkerEntry>): void {
    for (const [id, link] of this.#links) {
      const entry = workers.get(id)
      if (entry !== undefined && entry.link === link.address) continue
      this.#links.delete(id)
      this.#leaving.add(link)
    }
    for (const [id, entry] of workers) {
      if (!this.#links.has(id)) this.#links.set(id, new WorkerLink(id, entry.link, this))
    }
  }

  /** Ends the leaving links that nothing is bound to, and those that are down. */
  prune(): void {
    for (const link of this.#leaving) {
      if (link.up && link.bindings > 0) continue
      this.#leaving.delete(link)
      link.end('the worker left the routing table')
    }
  }

  /** Ends every link. */
  close(): void {
    for (const link of [...this.#links.values(), ...this.#leaving]) link.end('the gateway stops')
    this.#links.clear()
    this.#leaving.clear()
  }

  linkUp(link: WorkerLink): void {
    if (!this.#leaving.has(link)) this.#events.linkUp(link.worker)
  }

  linkDown(link: WorkerLink, hung: boolean, reason: string): void {
    if (this.#leaving.has(link)) this.prune()
    else this.#events.linkDown(link.worker, hung, reason)
  }

  load(link: WorkerLink, sessions: number): void {
    this.#events.load(link.worker, sessions)
  }

  held(link: WorkerLink, change: 1 | -1): void {
    this.#events.held(link.worker, change)
  }

  briefly(read: () => void): void {
    this.#events.briefly(read)
  }

  roundTrip(_link: WorkerLink, ms: number): void {
    if (this.#roundTrips.length < MAX_SAMPLES) this.#roundTrips.push(ms)
  }

  /** 99th percentile of the round trips since the last call, milliseconds; 0 when there were none. */
  takeP99(): number {
    const sorted = this.#roundTrips.sort((a, b) => a - b)
    this.#roundTrips = []
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] ?? 0
  }

  workerPublish(link: WorkerLink, bytes: Uint8Array, start: number, end: number): void {
    this.#events.workerPublish(link.worker, bytes, start, end)
  }
}
