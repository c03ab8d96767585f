/**
 * What the device wants to say and the other end has not confirmed. Acknowledged frames stay, in order, until their ack
 * comes; fire-and-forget ones only while there is no connection. Pure: the connection is told what to write.
 */

import { SluiceError } from '../../proto/errors.js'
import type { FrameFields } from '../../proto/frame.js'

/** Bounds of what waits. */
export interface OutboxLimits {
  readonly frames: number
  readonly bytes: number
  /** Acknowledged frames on their way at once; a gateway takes 1,024. */
  readonly inFlight: number
}

interface Entry {
  readonly frame: FrameFields
  readonly size: number
  /** 0: fire and forget. */
  seq: number
  /** Written to a connection before: the next time it is marked. */
  sent: boolean
  settle: ((error?: Error) => void) | undefined
}

export class Outbox {
  readonly #limits: OutboxLimits
  #entries: Entry[] = []
  #bytes = 0
  /** Entries before this one are written on this connection. */
  #next = 0
  #inFlight = 0
  #lastSeq = 0
  #acked = 0

  constructor(limits: OutboxLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#entries.length
  }

  /** Acknowledged frames that were written and are not confirmed. */
  get inFlight(): number {
    return this.#inFlight
  }

  /**
   * Takes a frame. With `acked` the promise settles when the other end confirms it.
   * @throws SluiceError `overloaded` when it is full
   */
  push(frame: FrameFields, acked: boolean): Promise<void> {
    const size = (frame.payload?.length ?? 0) + (frame.topic?.length ?? 0) + 64
    if (this.#entries.length >= this.#limits.frames || this.#bytes + size > this.#limits.bytes) {
      const { frames, bytes } = this.#limits
      throw new SluiceError(
        'overloaded',
        `the device's queue is full (${frames} frames or ${bytes} bytes): wait for earlier sends to settle`,
      )
    }
    const entry: Entry = { frame, size, seq: acked ? ++this.#lastSeq : 0, sent: false, settle: undefined }
    this.#entries.push(entry)
    this.#bytes += size
    if (!acked) return Promise.resolve()
    return new Promise((resolve, reject) => {
      entry.settle = (error) => (error === undefined ? resolve() : reject(error))
    })
  }

  /** Hands out, in order, what may be written now. */
  drain(write: (frame: FrameFields) => void): void {
    while (this.#next < this.#entries.length) {
      const entry = this.#entries[this.#next] as Entry
      if (entry.seq > 0 && this.#inFlight >= this.#limits.inFlight) return
      if (entry.seq === 0) {
        this.#remove(this.#next)
        write(entry.frame)
        continue
      }
      write({ ...entry.frame, seq: entry.seq, redelivered: entry.sent })
      entry.sent = true
      this.#next++
      this.#inFlight++
    }
  }

  /** Everything up to `seq` was processed. */
  ack(seq: number): void {
    if (seq <= this.#acked || seq > this.#lastSeq) return
    this.#acked = seq
    // What was written stands before what was not, also after a rewind.
    let count = 0
    for (const entry of this.#entries) {
      if (entry.seq === 0 || entry.seq > seq || !entry.sent) break
      count++
    }
    const done = this.#entries.splice(0, count)
    this.#next = Math.max(0, this.#next - count)
    this.#inFlight = Math.max(0, this.#inFlight - count)
    for (const entry of done) {
      this.#bytes -= entry.size
      entry.settle?.()
    }
  }

  /** The frame with this seq failed for good; it stays in the numbering until its ack comes. */
  fail(seq: number, error: Error): void {
    const entry = this.#entries.find((candidate) => candidate.seq === seq)
    entry?.settle?.(error)
    if (entry !== undefined) entry.settle = undefined
  }

  /** A connection was lost, or the other end dropped something: all that is not confirmed is written again. */
  rewind(): void {
    this.#next = 0
    this.#inFlight = 0
  }

  /** A new session counts from 1 again. */
  renumber(): void {
    this.rewind()
    this.#lastSeq = this.#acked = 0
    for (const entry of this.#entries) if (entry.seq > 0) entry.seq = ++this.#lastSeq
  }

  /** The device is closed: nothing of this will be confirmed. */
  abandon(error: Error): void {
    const entries = this.#entries
    this.#entries = []
    this.#bytes = 0
    this.rewind()
    for (const entry of entries) entry.settle?.(error)
  }

  #remove(at: number): void {
    const [entry] = this.#entries.splice(at, 1)
    this.#bytes -= entry?.size ?? 0
  }
}
