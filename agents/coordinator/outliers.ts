/** Takes workers out of new placements that gateways cannot work with, though their heartbeats look well. Pure. */

import type { LinkReport } from '../../proto/control.js'
import type { RoutingTable, WorkerEntry } from '../../proto/table.js'

/** Times in milliseconds. */
export interface OutlierLimits {
  /** This many timeouts and refusals within `windowMs` eject a worker. */
  readonly failures: number
  readonly windowMs: number
  /** All links of a worker are down for this long while it is heard: ejected. */
  readonly unreachableMs: number
  /** An ejected worker is tried again after this long, times the number of its ejections... */
  readonly ejectMs: number
  /** ...up to this long. */
  readonly ejectMaxMs: number
  /** Never more than this share of a pool's workers, though always one when there are two or more... */
  readonly maxShare: number
}

/** In the order of what Envoy's outlier detection uses. */
export const OUTLIER_LIMITS: OutlierLimits = {
  failures: 5,
  windowMs: 10_000,
  unreachableMs: 1000,
  ejectMs: 5000,
  ejectMaxMs: 60_000,
  maxShare: 0.34,
}

/** A worker that was ejected, or came back. */
export interface Ejection {
  readonly id: string
  readonly ejected: boolean
  readonly reason: string
}

interface Record {
  failures: number[]
  unreachableSince: number | undefined
  ejectedUntil: number | undefined
  ejections: number
}

/** Judges workers by what gateways report of their links. */
export class Outliers {
  readonly #limits: OutlierLimits
  readonly #records = new Map<string, Record>()
  readonly #ejected = new Set<string>()

  constructor(limits: OutlierLimits = OUTLIER_LIMITS) {
    this.#limits = limits
  }

  get ejected(): ReadonlySet<string> {
    return this.#ejected
  }

  report(worker: string, event: LinkReport['event'], now: number): void {
    if (event !== 'timeout' && event !== 'refused') return
    const record = this.#recordOf(worker)
    record.failures = [...record.failures.filter((at) => now - at < this.#limits.windowMs), now].slice(-100)
  }

  /** What changes now. @param unreachable whether all links of a worker are down */
  judge(table: RoutingTable, unreachable: (id: string) => boolean, now: number): Ejection[] {
    const ejections = this.#returns(table, unreachable, now)
    for (const worker of table.workers.values()) {
      const reason = this.#reason(worker.id, unreachable, now)
      if (reason === undefined || this.#ejected.has(worker.id) || !this.#mayEject(table, worker)) continue
      const record = this.#recordOf(worker.id)
      record.ejections++
      record.ejectedUntil = now + Math.min(this.#limits.ejectMaxMs, this.#limits.ejectMs * record.ejections)
      record.failures = []
      this.#ejected.add(worker.id)
      ejections.push({ id: worker.id, ejected: true, reason })
    }
    return ejections
  }

  #returns(table: RoutingTable, unreachable: (id: string) => boolean, now: number): Ejection[] {
    const returned: Ejection[] = []
    for (const id of this.#ejected) {
      const gone = !table.workers.has(id)
      if (!gone && (now < (this.#records.get(id)?.ejectedUntil ?? 0) || unreachable(id))) continue
      this.#ejected.delete(id)
      if (gone) this.#records.delete(id)
      else returned.push({ id, ejected: false, reason: 'it is tried again' })
    }
    for (const id of this.#records.keys()) if (!table.workers.has(id)) this.#records.delete(id)
    return returned
  }

  #reason(id: string, unreachable: (id: string) => boolean, now: number): string | undefined {
    const down = unreachable(id)
    if (!down && !this.#records.has(id)) return undefined
    const record = this.#recordOf(id)
    record.unreachableSince = down ? (record.unreachableSince ?? now) : undefined
    if (record.unreachableSince !== undefined && now - record.unreachableSince >= this.#limits.unreachableMs) {
      return 'no gateway reaches it'
    }
    const recent = record.failures.filter((at) => now - at < this.#limits.windowMs).length
    return recent >= this.#limits.failures
      ? `${recent} timeouts and refusals in ${this.#limits.windowMs / 1000} s`
      : undefined
  }

  /** At least one worker always stays: with too few left, a bad one is better than none. */
  #mayEject(table: RoutingTable, worker: WorkerEntry): boolean {
    const peers = [...table.workers.values()].filter(({ pool, state }) => pool === worker.pool && state !== 'draining')
    const out = peers.filter(({ id }) => this.#ejected.has(id)).length
    const allowed = Math.max(1, Math.floor(peers.length * this.#limits.maxShare))
    return out < allowed && peers.length - out > 1
  }

  #recordOf(id: string): Record {
    let record = this.#records.get(id)
    if (record === undefined) {
      record = { failures: [], unreachableSince: undefined, ejectedUntil: undefined, ejections: 0 }
      this.#records.set(id, record)
    }
    return record
  }
}
