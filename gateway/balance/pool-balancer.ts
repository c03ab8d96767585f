/** One pool on one gateway: its policy, and everything that decides whether a worker may be chosen at all. */

import { type Pool, UNOWNED, type WorkerEntry } from '../../proto/table.js'
import type { Candidate, Picker } from './candidate.js'
import { pickLeastLoaded } from './least-connections.js'
import { OutlierDetector, type OutlierOptions } from './outlier.js'
import { createPicker } from './picker.js'
import { DEFAULT_SLOW_START, type SlowStart, slowStartWeight } from './slow-start.js'
import { surplusOf } from './surplus.js'

export interface PoolBalancerOptions {
  readonly outlier?: Partial<OutlierOptions>
  readonly slowStart?: SlowStart
  /** When fewer than this part of the pool's workers is healthy, ejection is ignored: better a doubtful worker than none. */
  readonly panicShare?: number
  /** How far above its share a worker may be before sessions are moved away; 0.1 is 10 %. */
  readonly tolerance?: number
}

interface Worker extends Candidate {
  entry: WorkerEntry
  weight: number
  sessions: number
  available: boolean
  linked: boolean
  /** When a table named it first; those of the gateway's first table count as old. */
  since: number
  /** What the worker said last, or this gateway's own count when it has not said anything. */
  reported: number | undefined
  /** Bindings here, now and when the worker said how many it has. */
  here: number
  hereThen: number
}

/** How long weights and availability are taken as they were, milliseconds. */
const REFRESH_MS = 50

/** Time and chance are passed in; links, reports and bindings are told to it. */
export class PoolBalancer {
  readonly #outlier: OutlierDetector
  readonly #slowStart: SlowStart
  readonly #panicShare: number
  readonly #tolerance: number
  #pool: Pool
  #picker: Picker
  #workers = new Map<string, Worker>()
  #list: Worker[] = []
  /** Weights and availability change with time; looking at them anew for every session would cost O(workers). */
  #stale = true
  #freshAt = 0

  constructor(pool: Pool, workers: ReadonlyMap<string, WorkerEntry>, options: PoolBalancerOptions = {}) {
    this.#outlier = new OutlierDetector(options.outlier)
    this.#slowStart = options.slowStart ?? DEFAULT_SLOW_START
    this.#panicShare = options.panicShare ?? 0.5
    this.#tolerance = options.tolerance ?? 0.1
    this.#pool = pool
    this.#picker = createPicker(pool.policy)
    this.use(pool, workers, Number.NEGATIVE_INFINITY)
  }

  get pool(): Pool {
    return this.#pool
  }

  /** A new table. Workers that stay keep their history; one that is new to the pool starts slowly. */
  use(pool: Pool, entries: ReadonlyMap<string, WorkerEntry>, now: number): void {
    if (pool.policy !== this.#pool.policy) this.#picker = createPicker(pool.policy)
    this.#pool = pool
    const next = new Map<string, Worker>()
    for (const id of pool.members) {
      const entry = entries.get(id)
      if (entry === undefined) continue
      const known = this.#workers.get(id)
      if (known !== undefined) known.entry = entry
      next.set(id, known ?? newWorker(entry, now))
    }
    this.#workers = next
    this.#list = [...next.values()]
    this.#outlier.keepOnly(new Set(next.keys()))
    this.#stale = true
  }

  /** The worker's link came up or went down. */
  linked(id: string, up: boolean): void {
    const worker = this.#workers.get(id)
    if (worker === undefined) return
    worker.linked = up
    if (!up) worker.reported = undefined
    worker.sessions = sessionsOf(worker)
    this.#stale = true
  }

  /** The worker said how many sessions it holds, over all gateways. */
  reported(id: string, sessions: number): void {
    const worker = this.#workers.get(id)
    if (worker === undefined) return
    worker.reported = sessions
    worker.hereThen = worker.here
    worker.sessions = sessionsOf(worker)
  }

  /** This gateway bound a session to the worker (+1), or let one go (-1). */
  held(id: string, change: 1 | -1): void {
    const worker = this.#workers.get(id)
    if (worker === undefined) return
    worker.here = Math.max(0, worker.here + change)
    worker.sessions = sessionsOf(worker)
  }

  success(id: string): void {
    this.#outlier.success(id)
  }

  /** An attach timed out or was refused. True when the worker is ejected for it. */
  failure(id: string, now: number): boolean {
    const ejected = this.#outlier.failure(id, now, this.#list.filter(isMeant).length)
    if (ejected) this.#stale = true
    return ejected
  }

  /**
   * The worker for a binding, undefined when it has to wait.
   * @param avoid passed over while there is another
   * @param anyone false: a slot waits while its owner's link is down, for the link or the next table; true: another
   * worker stands in for it. For an owner that is ejected another stands in at once.
   */
  choose(slot: number, avoid: string | undefined, anyone: boolean, now: number, random: number): string | undefined {
    this.#refresh(now)
    const owner = this.ownerOf(slot)
    if (!anyone && owner !== undefined && owner !== avoid && this.#workers.get(owner)?.linked === false)
      return undefined
    if (anyone && this.#pool.slots.length === 0) return this.#chooseForMove(avoid, random)
    const request = { slot, owner, random }
    const shunned = avoid === undefined ? undefined : this.#workers.get(avoid)
    if (shunned === undefined || !shunned.available) return this.#picker.pick(this.#list, request)?.id
    shunned.available = false
    const other = this.#picker.pick(this.#list, request)
    shunned.available = true
    return (other ?? this.#picker.pick(this.#list, request))?.id
  }

  /**
   * Where a session goes that left its worker, in a pool without slots: to whoever has most room, at its whole weight.
   * Slow start is for new sessions; a handoff that heeded it would go to another full worker.
   */
  #chooseForMove(avoid: string | undefined, random: number): string | undefined {
    const whole = this.#list.map((worker) => ({ ...worker, weight: worker.entry.weight }))
    const others = whole.filter(({ id }) => id !== avoid)
    const request = { slot: -1, owner: undefined, random }
    return (pickLeastLoaded(others, request) ?? pickLeastLoaded(whole, request))?.id
  }

  /** Owner of a slot in the table in force. */
  ownerOf(slot: number): string | undefined {
    const index = slot < 0 ? UNOWNED : (this.#pool.slots[slot] ?? UNOWNED)
    return index === UNOWNED ? undefined : this.#pool.members[index]
  }

  /**
   * True when a binding at `id` ought to be elsewhere: the worker drains or left the pool, or its slot has another owner
   * that can take it. While the owner cannot, a stand-in keeps what it has.
   */
  misplaced(id: string, slot: number, now: number): boolean {
    this.#refresh(now)
    const worker = this.#workers.get(id)
    if (worker === undefined || !isMeant(worker)) return true
    const owner = this.ownerOf(slot)
    return owner !== undefined && owner !== id && this.#workers.get(owner)?.available === true
  }

  /** Bindings that each worker should hand over so that a pool without slots becomes even. See {@link surplusOf}. */
  surplus(random: number): Map<string, number> {
    if (this.#pool.slots.length > 0) return new Map()
    const usable = this.#list.filter((worker) => isMeant(worker) && worker.linked)
    const holdings = usable.map((worker) => ({
      id: worker.id,
      weight: worker.entry.weight,
      sessions: worker.sessions,
      here: worker.here,
    }))
    return surplusOf(holdings, this.#tolerance, random)
  }

  /** Brings weights and availability up to `now`. */
  #refresh(now: number): void {
    if (this.#stale || now >= this.#freshAt + REFRESH_MS) this.#renew(now)
  }

  /** Apart: the check before it is asked for each session, and V8 makes one of both where it can. */
  #renew(now: number): void {
    this.#stale = false
    this.#freshAt = now
    let meant = 0
    let healthy = 0
    for (const worker of this.#list) {
      if (!isMeant(worker)) continue
      meant++
      if (worker.linked && !this.#isEjected(worker, now)) healthy++
    }
    // Where all are new there is nobody to spare them.
    const slowly = this.#list.some(({ linked, since }) => linked && now - since >= this.#slowStart.windowMs)
    const panic = healthy < meant * this.#panicShare
    for (const worker of this.#list) {
      worker.available = worker.linked && isMeant(worker) && (panic || !this.#isEjected(worker, now))
      const { entry, since } = worker
      worker.weight = slowly ? slowStartWeight(entry.weight, now - since, this.#slowStart) : entry.weight
    }
  }

  #isEjected({ entry }: Worker, now: number): boolean {
    return entry.state === 'ejected' || this.#outlier.isEjected(entry.id, now)
  }
}

function newWorker(entry: WorkerEntry, since: number): Worker {
  const { id, weight } = entry
  return {
    id,
    entry,
    weight,
    sessions: 0,
    available: false,
    linked: false,
    since,
    reported: undefined,
    here: 0,
    hereThen: 0,
  }
}

/** True when the worker is meant to take sessions, whatever its health. */
function isMeant({ entry }: Worker): boolean {
  return entry.state !== 'draining' && entry.weight > 0
}

function sessionsOf({ reported, here, hereThen }: Worker): number {
  return reported === undefined ? here : Math.max(here, reported + here - hereThen)
}
