/**
 * Planned moves, paced: a budget of moves a second and of moves in flight. Moves away from a dead worker never come
 * here; they happen at once. Pause holds the queue; whatever is in flight ends.
 *
 * A batch begins slowly and doubles its pace until it has the whole budget: a worker that just started has its code
 * compiled by its first frames, and every session that it got at once would wait for that.
 */

import type { MoveReceipt } from '../../proto/control.js'
import type { Clock } from '../ports.js'
import type { Binding } from './binding.js'
import type { Handover } from './binding-terms.js'

export interface MoverOptions {
  /** Moves begun a second, on this gateway. */
  readonly perSecond: number
  /** Moves begun and not finished. */
  readonly inFlight: number
}

export const DEFAULT_MOVER_OPTIONS: MoverOptions = { perSecond: 2000, inFlight: 16 }

/** What one table's moves came to in one pool. */
export interface MoveProgress {
  planned: number
  done: number
  failed: number
  receipts: MoveReceipt[]
}

/** A batch begins with this share of the budget, */
const FIRST_PACE = 1 / 16
/** doubles its pace in this time, milliseconds, */
const DOUBLING_MS = 200
/** and is over when nothing moved for so long, milliseconds. */
const REST_MS = 1000

/** Receipts kept until they are reported. */
const MAX_RECEIPTS = 1000

export class Mover {
  readonly #clock: Clock
  #options: MoverOptions
  #queue = new Set<Binding>()
  #running = new Set<Binding>()
  #progress = new Map<string, MoveProgress>()
  #paused = false
  #aborted = false
  /** Token bucket: moves that may begin now. */
  #tokens = 0
  #filledAt: number
  /** When the batch of moves began that runs now, and when the last one of it ended. */
  #beganAt: number
  #endedAt = Number.NEGATIVE_INFINITY
  #wake: (() => void) | undefined

  constructor(options: Partial<MoverOptions>, clock: Clock) {
    this.#options = { ...DEFAULT_MOVER_OPTIONS, ...options }
    this.#clock = clock
    this.#filledAt = clock.now()
    this.#beganAt = this.#filledAt
  }

  /** Moves that wait or run. */
  get pending(): number {
    return this.#queue.size + this.#running.size
  }

  /** A new budget, or a pause. */
  configure(options: Partial<MoverOptions>, paused: boolean): void {
    this.#options = { ...this.#options, ...options }
    this.#paused = paused
    this.#pump()
  }

  /** Queues a binding for a handoff. */
  plan(binding: Binding): void {
    if (this.#aborted || this.#queue.has(binding) || this.#running.has(binding)) return
    if (this.pending === 0) this.#begin()
    this.#queue.add(binding)
    this.#progressOf(binding.pool).planned++
    this.#wakeSoon(0)
  }

  /** Drops everything that has not begun, and takes nothing new until {@link restart}. */
  abort(): number {
    const dropped = this.#queue.size
    for (const binding of this.#queue) this.#progressOf(binding.pool).planned--
    this.#queue.clear()
    this.#aborted = true
    return dropped
  }

  /** A new table: what was called off may be planned again. */
  restart(): void {
    this.#aborted = false
  }

  finished(binding: Binding, device: string, { from, to, clean, lastSeq, firstSeq, pauseMs }: Handover): void {
    const progress = this.#progressOf(binding.pool)
    const planned = this.#running.delete(binding) || this.#queue.delete(binding)
    if (!planned) progress.planned++
    else this.#endedAt = this.#clock.now()
    if (clean) progress.done++
    else progress.failed++
    if (progress.receipts.length < MAX_RECEIPTS)
      progress.receipts.push({ device, from, to, lastSeq, firstSeq, pauseMs: Math.round(pauseMs * 1000) / 1000 })
    this.#pump()
  }

  /** The session ended before its move did. */
  forget(binding: Binding): void {
    const known = this.#queue.delete(binding)
    if (this.#running.delete(binding) || known) this.#progressOf(binding.pool).failed++
  }

  /** What happened since the last call, by pool. */
  takeProgress(): Map<string, MoveProgress> {
    const taken = this.#progress
    this.#progress = new Map()
    return taken
  }

  sweep(): void {
    // A binding whose owner died in the middle waits for a new one; it is no move any more.
    for (const binding of this.#running) if (binding.state === 'closed') this.#running.delete(binding)
    this.#pump()
  }

  #pump(): void {
    if (this.#paused || this.#queue.size === 0) return
    this.#fill()
    for (const binding of this.#queue) {
      if (this.#running.size >= this.#options.inFlight) return
      if (this.#tokens < 1) {
        this.#wakeSoon(Math.max(1, 1000 / this.#pace()))
        return
      }
      this.#queue.delete(binding)
      if (!binding.move()) {
        // It waits for a worker, or is moving already: where it ends, misplaced() is asked again.
        this.#progressOf(binding.pool).planned--
        continue
      }
      this.#tokens--
      this.#running.add(binding)
    }
  }

  /** The first move of a batch begins at once; one that follows closely goes on at the pace of the last. */
  #begin(): void {
    const now = this.#clock.now()
    if (now - this.#endedAt < REST_MS) return
    this.#beganAt = now
    this.#filledAt = now
    this.#tokens = 1
  }

  #fill(): void {
    const now = this.#clock.now()
    const pace = this.#pace()
    // Ten milliseconds' worth, at least one: moves that begin together wait for each other.
    const burst = Math.max(1, pace / 100)
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#filledAt) * pace) / 1000)
    this.#filledAt = now
  }

  /** Moves a second by now. */
  #pace(): number {
    const doublings = (this.#clock.now() - this.#beganAt) / DOUBLING_MS
    return this.#options.perSecond * Math.min(1, FIRST_PACE * 2 ** doublings)
  }

  #wakeSoon(ms: number): void {
    if (this.#wake !== undefined) return
    this.#wake = this.#clock.after(ms, () => {
      this.#wake = undefined
      this.#pump()
    })
  }

  #progressOf(pool: string): MoveProgress {
    let progress = this.#progress.get(pool)
    if (progress === undefined) {
      progress = { planned: 0, done: 0, failed: 0, receipts: [] }
      this.#progress.set(pool, progress)
    }
    return progress
  }
}
