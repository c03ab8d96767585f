/** All discovered workers: what the sources list, merged, checked, and registered with the control plane. */

import type { ConnectionOptions } from 'node:tls'
import type { Clock, Log } from '../clock.js'
import { HEARTBEAT_MS } from '../control-plane.js'
import type { EventHub } from '../event-hub.js'
import { DiscoveredWorker, type DiscoveredWorkerView, type Registrar, type WorkerHost } from './discovered-worker.js'
import type { DiscoveredMember, Discovery } from './discovery.js'
import type { HealthOptions } from './health.js'
import { checkLink } from './link-check.js'

/** What it is built from. */
export interface DiscoveredFleetOptions {
  /** In the order of their say: of two that list the same link, the first counts. */
  readonly sources: readonly Discovery[]
  readonly plane: Registrar & { readonly events: Pick<EventHub, 'emit' | 'listen'> }
  /** Name of this coordinator; workers see it in the checks. */
  readonly id: string
  readonly clock: Clock
  /** 0 to 1, for jitter. */
  readonly random: () => number
  readonly log: Log
  readonly health: HealthOptions
  /** The fleet's secret, shown to workers as gateways show it. */
  readonly token?: string
  /** For links that are `tls://`. */
  readonly tls?: ConnectionOptions
}

/** `GET /v1/discovery`. */
export interface DiscoveryView {
  /** `members` is missing until there was a first list, `problem` while the source answers. */
  readonly sources: readonly { readonly name: string; readonly members?: number; readonly problem?: string }[]
  readonly workers: readonly DiscoveredWorkerView[]
}

/** First checks of a long list are spread over this much for each worker, in milliseconds, an interval at most. */
const SPREAD_MS = 1

/** Runs from {@link start} to {@link close}. */
export class DiscoveredFleet {
  readonly #options: DiscoveredFleetOptions
  readonly #lists = new Map<Discovery, readonly DiscoveredMember[]>()
  readonly #workers = new Map<string, DiscoveredWorker>()
  readonly #host: WorkerHost
  #stays = 0
  /** Those that are registered. */
  readonly #byId = new Map<unknown, DiscoveredWorker>()
  /** By pool, the lowest priority of those that serve it. */
  #serving: ReadonlyMap<string, number> = new Map()
  #stopListening: () => void = () => {}
  #cancelBeat: () => void = () => {}

  constructor(options: DiscoveredFleetOptions) {
    const { plane, clock, random, log, health, id, token, tls } = options
    this.#options = options
    const { timeoutMs } = health
    const how = {
      coordinator: id,
      timeoutMs,
      clock,
      ...(token === undefined ? {} : { token }),
      ...(tls ? { tls } : {}),
    }
    this.#host = {
      plane,
      clock,
      random,
      log,
      health,
      check: (link) => checkLink(link, how),
      nextStay: () => this.#stays++,
      weightOf: (worker) => this.#weightOf(worker),
      changed: () => this.#look(),
      ended: (worker) => {
        if (this.#workers.get(worker.member.link) === worker) this.#workers.delete(worker.member.link)
      },
    }
  }

  start(): void {
    const { plane, sources } = this.#options
    this.#stopListening = plane.events.listen((event) => {
      if (event.type === 'link' && (event.event === 'down' || event.event === 'timeout'))
        this.#byId.get(event.worker)?.checkNow()
    })
    for (const source of sources) source.start((members) => this.#listed(source, members))
    this.#beatLater()
  }

  /** What is known of sources and workers, for people. */
  get view(): DiscoveryView {
    return {
      sources: this.#options.sources.map((source) => {
        const { name, problem } = source
        const members = this.#lists.get(source)?.length
        return { name, ...(members === undefined ? {} : { members }), ...(problem === undefined ? {} : { problem }) }
      }),
      workers: [...this.#workers.values()].map(({ view }) => view),
    }
  }

  /** Ends sources and checks. Who is registered stays as it is. */
  async close(): Promise<void> {
    this.#stopListening()
    this.#cancelBeat()
    for (const worker of this.#workers.values()) worker.close()
    this.#workers.clear()
    await Promise.all(this.#options.sources.map((source) => source.close()))
  }

  #listed(source: Discovery, members: readonly DiscoveredMember[]): void {
    const { log, plane, health, random, sources } = this.#options
    this.#lists.set(source, members)
    log.info({ source: source.name, members: members.length }, `${source.name} lists ${members.length} workers`)
    plane.events.emit('discovery', { source: source.name, members: members.length })
    const wanted = new Map<string, DiscoveredMember>()
    for (const one of sources) {
      for (const member of this.#lists.get(one) ?? []) if (!wanted.has(member.link)) wanted.set(member.link, member)
    }
    for (const [link, worker] of [...this.#workers]) if (!wanted.has(link)) worker.unlist()
    const spread = Math.min(health.intervalMs, wanted.size * SPREAD_MS)
    for (const member of wanted.values()) {
      const known = this.#workers.get(member.link)
      if (known !== undefined) known.list(member)
      else this.#add(member, random() * spread)
    }
    this.#look()
  }

  #add(member: DiscoveredMember, delayMs: number): void {
    const worker = new DiscoveredWorker(member, this.#host)
    this.#workers.set(member.link, worker)
    worker.start(delayMs)
  }

  /** Where somebody with a lower number serves the pool, this one is a spare. */
  #weightOf({ member: { weight = 1, priority = 0 }, pool }: DiscoveredWorker): number {
    return priority > (this.#serving.get(pool) ?? priority) ? 0 : weight
  }

  /** Looks who is registered, and who of them is a spare. */
  #look(): void {
    const serving = new Map<string, number>()
    this.#byId.clear()
    for (const worker of this.#workers.values()) {
      const { id, serves, pool, member } = worker
      const { priority = 0 } = member
      if (id !== undefined) this.#byId.set(id, worker)
      if (serves && priority < (serving.get(pool) ?? Number.POSITIVE_INFINITY)) serving.set(pool, priority)
    }
    const before = this.#serving
    this.#serving = serving
    const same = before.size === serving.size && [...serving].every(([pool, least]) => before.get(pool) === least)
    if (!same) for (const worker of this.#workers.values()) worker.refresh()
  }

  #beatLater(): void {
    this.#cancelBeat = this.#options.clock.after(HEARTBEAT_MS, () => {
      for (const worker of this.#workers.values()) worker.beat()
      // Somebody may have been drained.
      this.#look()
      this.#beatLater()
    })
  }
}
