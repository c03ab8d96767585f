/**
 * The acknowledged frames of one session that no worker has finished yet, in order. Made on the first such frame.
 * Seqs are the device's own: contiguous, from 1. A frame may be on its way to one of several bindings; the device
 * is told the highest seq below which everything is done.
 */

import type { SessionLimits } from './session-limits.js'

/** Whoever a frame was given to; told apart by identity. */
export type FrameOwner = object

interface Entry {
  /** Undefined once it is done. */
  bytes: Uint8Array | undefined
  binding: FrameOwner | undefined
  /** True when it was written to a worker: sending it again needs the mark. */
  sent: boolean
  /** True while the edge works on it. */
  held: boolean
}

export class UplinkWindow {
  #entries: Entry[] = []
  #head = 0
  /** Seq of the entry at `#head`. */
  #first: number
  #bytes = 0

  /** @param acked everything up to this seq is done already */
  constructor(acked: number) {
    this.#first = acked + 1
  }

  /** Everything up to here is done. */
  get acked(): number {
    return this.#first - 1
  }

  get size(): number {
    return this.#entries.length - this.#head
  }

  /** Payload bytes that are kept for a replay. */
  get bytes(): number {
    return this.#bytes
  }

  /** True when no more frames may be kept. */
  full({ uplinkFrames, uplinkBytes }: SessionLimits): boolean {
    return this.size >= uplinkFrames || this.#bytes >= uplinkBytes
  }

  /**
   * Adds the next seq. Without a binding it is done already (the edge processed it itself).
   * @param held it is done only after {@link done} as well
   */
  push(bytes: Uint8Array | undefined, binding: FrameOwner | undefined, sent: boolean, held = false): void {
    this.#entries.push({ bytes, binding, sent, held })
    if (bytes !== undefined) this.#bytes += bytes.length
    if (binding === undefined) this.#advance()
  }

  /** Reserves the next seq for work that the edge finishes later with {@link done}. */
  reserve(): void {
    this.#entries.push({ bytes: undefined, binding: undefined, sent: false, held: true })
  }

  /** The edge is through with a seq that was reserved or held. */
  done(seq: number): void {
    const entry = this.#entries[this.#head + seq - this.#first]
    if (entry === undefined) return
    entry.held = false
    this.#advance()
  }

  /** `binding` processed everything that it was given up to `seq`. */
  ack(binding: FrameOwner, seq: number): void {
    const end = Math.min(this.#entries.length, this.#head + seq - this.#first + 1)
    for (let i = this.#head; i < end; i++) {
      const entry = this.#entries[i] as Entry
      if (entry.binding === binding) this.#finish(entry)
    }
    this.#advance()
  }

  /** Marks the frame with this seq as written to a worker. */
  markSent(seq: number): void {
    const entry = this.#entries[this.#head + seq - this.#first]
    if (entry !== undefined) entry.sent = true
  }

  /** Visits, in order, the frames of `binding` that were written to a worker and are not done. */
  replay(binding: FrameOwner, visit: (bytes: Uint8Array) => void): void {
    for (let i = this.#head; i < this.#entries.length; i++) {
      const entry = this.#entries[i] as Entry
      if (entry.binding === binding && entry.sent && entry.bytes !== undefined) visit(entry.bytes)
    }
  }

  #finish(entry: Entry): void {
    if (entry.bytes !== undefined) this.#bytes -= entry.bytes.length
    entry.bytes = undefined
    entry.binding = undefined
    entry.sent = false
  }

  /** An entry is done when it has no binding and is not held. */
  #advance(): void {
    const entries = this.#entries
    while (this.#head < entries.length) {
      const entry = entries[this.#head] as Entry
      if (entry.binding !== undefined || entry.held) break
      this.#head++
      this.#first++
    }
    if (this.#head === entries.length) {
      entries.length = 0
      this.#head = 0
    } else if (this.#head >= 64 && this.#head * 2 >= entries.length) {
      entries.splice(0, this.#head)
      this.#head = 0
    }
  }
}
