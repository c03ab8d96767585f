/**
 * One session's frames on their way to the handler: strictly in order, one at a time, each acknowledged frame once.
 * A handler that returns at once costs neither a promise nor a copy; one that returns a promise makes the frames
 * behind it wait here, copied and bounded.
 */

import { isThenable } from './handler.js'
import { WorkerFrame } from './worker-frame.js'

export interface UplinkLimits {
  /** Frames and bytes of one session that wait for its handler. */
  readonly queuedFrames: number
  readonly queuedBytes: number
}

/** Bytes that wait over all sessions, so that links can stop reading. */
export interface QueueBudget {
  bytes: number
}

export interface UplinkOwner {
  handle(frame: WorkerFrame): unknown
  /** Everything up to `seq` was processed. */
  processed(seq: number): void
  failed(seq: number, error: unknown): void
}

/** `kept`: the frame object belongs to the uplink now. `full`: not taken. */
export type Taken = 'done' | 'kept' | 'duplicate' | 'full'

export class Uplink {
  /** Last acknowledged frame that came, and that was processed. */
  seen: number
  acked: number
  readonly #owner: UplinkOwner
  readonly #limits: UplinkLimits
  readonly #budget: QueueBudget
  #queue: Uint8Array[] | undefined
  #bytes = 0
  #busy = true
  #frame: WorkerFrame | undefined
  #afterwards: (() => void) | undefined

  /** Holds everything until {@link start}. */
  constructor(owner: UplinkOwner, limits: UplinkLimits, budget: QueueBudget, acked: number) {
    this.#owner = owner
    this.#limits = limits
    this.#budget = budget
    this.seen = this.acked = acked
  }

  /** The handler is ready for frames. */
  start(): void {
    this.#busy = false
    this.#next()
  }

  take(frame: WorkerFrame): Taken {
    const { seq } = frame
    if (seq > 0 && seq <= this.seen) return 'duplicate'
    if (this.#busy) {
      if (!this.#enqueue(frame)) return 'full'
    } else if (this.#handle(frame)) {
      if (seq > 0) this.seen = seq
      return 'kept'
    } else this.#runAfterwards()
    if (seq > 0) this.seen = seq
    return 'done'
  }

  /** Calls `fn` when everything that was taken is processed: at once when nothing is. Replaces what was asked before. */
  whenIdle(fn: () => void): void {
    if (this.#busy) this.#afterwards = fn
    else fn()
  }

  /** Undoes {@link whenIdle}. */
  goOn(): void {
    this.#afterwards = undefined
  }

  /** Drops what waits. The frame that the handler has now still runs to its end. */
  drop(): void {
    this.#budget.bytes -= this.#bytes
    this.#bytes = 0
    this.#queue = undefined
  }

  #enqueue(frame: WorkerFrame): boolean {
    const { queuedFrames, queuedBytes } = this.#limits
    this.#queue ??= []
    const queue = this.#queue
    if (queue.length >= queuedFrames || this.#bytes + frame.size > queuedBytes) return false
    queue.push(frame.encoded())
    this.#bytes += frame.size
    this.#budget.bytes += frame.size
    return true
  }

  /** True when the handler goes on with the frame after this call. */
  #handle(frame: WorkerFrame): boolean {
    const { seq } = frame
    let result: unknown
    this.#busy = true
    try {
      result = this.#owner.handle(frame)
    } catch (error) {
      this.#busy = false
      this.#owner.failed(seq, error)
      return false
    }
    if (isThenable(result)) {
      this.#frame = frame
      result.then(
        () => this.#settled(seq),
        (error: unknown) => this.#rejected(seq, error),
      )
      return true
    }
    this.#busy = false
    this.#done(seq)
    return false
  }

  #done(seq: number): void {
    if (seq === 0) return
    this.acked = seq
    this.#owner.processed(seq)
  }

  #settled(seq: number): void {
    this.#busy = false
    this.#done(seq)
    this.#next()
  }

  #rejected(seq: number, error: unknown): void {
    this.#busy = false
    this.#owner.failed(seq, error)
    this.#next()
  }

  #next(): void {
    for (;;) {
      const bytes = this.#queue?.shift()
      if (bytes === undefined) break
      this.#bytes -= bytes.length
      this.#budget.bytes -= bytes.length
      const frame = this.#frame ?? new WorkerFrame()
      frame.read(bytes, 0, bytes.length)
      if (this.#handle(frame)) return
    }
    this.#queue = undefined
    this.#frame = undefined
    this.#runAfterwards()
  }

  #runAfterwards(): void {
    const afterwards = this.#afterwards
    this.#afterwards = undefined
    afterwards?.()
  }
}
