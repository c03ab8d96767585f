/**
 * What is on its way to devices. Everything that one event-loop turn brings for a connection leaves together, corked:
 * one system call, whether it is one frame or a hundred. Acknowledgements ride on the last frame.
 */

import { appendAck, appendRedelivered, appendSeq, FrameType } from '../../../proto/frame.js'
import type { SendOutcome } from '../server/server.js'

/** The connection's side: the outbox keeps its place in the queue right here, so that a connection costs no object more. */
export interface Outlet {
  /** First and last entry of this turn, -1 for none. Owned by the outbox. */
  head: number
  tail: number
  /** Uplink seq to acknowledge with this turn's last frame, 0 for none. Owned by the outbox. */
  ackDue: number
  /** True while it stands in the outbox's list. Owned by the outbox. */
  listed: boolean
  send(bytes: Uint8Array): SendOutcome
  cork(fn: () => void): void
  /** A frame that was not to be lost was: the queue behind the socket is full. */
  overrun(): void
  /** A fire-and-forget frame was dropped. */
  dropped(): void
}

/** Room behind each frame for `ack`: a tag and 8 bytes. */
const ACK_ROOM = 9
/** Most bytes that are added to a frame: seq, redelivered, ack. */
const GROWTH = 9 + 2 + ACK_ROOM
const FIRST_ARENA = 64 * 1024
/** Above this a turn is written before it ends. */
const MAX_ARENA = 2 * 1024 * 1024
const FIRST_ENTRIES = 1024
const MAX_KEPT_ENTRIES = 64 * 1024

const KEEP = 1
/** The span is of a link's chunk, not of the arena: nothing may be written behind it. */
const FOREIGN = 2

/** An entry: where its bytes start and end, the connection's next entry, flags and (of a FOREIGN one) which chunk. */
const ENTRY = 4
const END = 1
const NEXT = 2
const HOW = 3
/** The flags' bits; the chunk's number is above them. */
const FLAG_BITS = 2

export class Outbox {
  readonly #turn: (fn: () => void) => void
  readonly #before: (() => void) | undefined
  readonly #run = () => this.#endTurn()
  readonly #sendCurrent = () => this.#sendAll(this.#current as Outlet)
  readonly #ackFrame = new Uint8Array(2 + ACK_ROOM)
  #scheduled = false
  #flushing = false
  /** There are acknowledgements among what waits. */
  #promises = false
  #current: Outlet | undefined
  #listed: Outlet[] = []
  /** Copies of this turn's frames; an entry is a span of it, of a chunk, or a buffer of its own. */
  #arena = new Uint8Array(FIRST_ARENA)
  /** The arena's memory, and below a chunk's: V8 asks a runtime function for `buffer` and `byteOffset` each time. */
  #memory = this.#arena.buffer
  #used = 0
  #count = 0
  /** {@link ENTRY} numbers for each entry, side by side. */
  #entries = new Int32Array(FIRST_ENTRIES * ENTRY)
  readonly #chunks: ArrayBufferLike[] = []
  /** The last of the chunks, and where it lies in its memory. */
  #chunk: Uint8Array | undefined
  #chunkAt = 0
  /** Buffers that an entry is all of: it has -1 - index for a start. */
  readonly #own: (Uint8Array | undefined)[] = []
  #owned = 0

  /**
   * @param turn calls a function when this turn of the event loop has seen its input (setImmediate)
   * @param before called before acknowledgements are written: what they promise must be safe by then
   */
  constructor(turn: (fn: () => void) => void, before?: () => void) {
    this.#turn = turn
    this.#before = before
    this.#ackFrame[0] = 0x08
    this.#ackFrame[1] = FrameType.ACK
  }

  /**
   * Queues a copy of `bytes[start, end)`.
   * @param seq appended when not negative
   * @param keep the connection is ended rather than this frame dropped
   */
  frame(
    to: Outlet,
    bytes: Uint8Array,
    start: number,
    end: number,
    seq: number,
    redelivered: boolean,
    keep: boolean,
  ): void {
    const length = end - start
    if (this.#used + length + GROWTH > this.#arena.length && !this.#makeRoom(length + GROWTH)) {
      this.#large(to, bytes, start, end, seq, redelivered, keep)
      return
    }
    const from = this.#used
    const arena = this.#arena
    let pos = copy(bytes, start, end, arena, from)
    if (seq >= 0) pos = appendSeq(arena, pos, seq)
    if (redelivered) pos = appendRedelivered(arena, pos)
    this.#used = pos + ACK_ROOM
    this.#push(to, from, pos, keep ? KEEP : 0)
  }

  /**
   * Queues `bytes[start, end)` without a copy: a fire-and-forget frame as the worker's link brought it. Nobody may change
   * the bytes before the turn ends.
   */
  borrowed(to: Outlet, bytes: Uint8Array, start: number, end: number): void {
    if (bytes !== this.#chunk) this.#beginChunk(bytes)
    const at = this.#chunkAt
    this.#push(to, at + start, at + end, FOREIGN | ((this.#chunks.length - 1) << FLAG_BITS))
  }

  /** Queues a buffer that nobody changes any more. It may be shared by many. */
  shared(to: Outlet, bytes: Uint8Array, keep: boolean): void {
    const index = this.#owned++
    this.#own[index] = bytes
    this.#push(to, -1 - index, -1, keep ? KEEP : 0)
  }

  /** Has `ack` told to the device with this turn. */
  acknowledge(to: Outlet, ack: number): void {
    this.#promises = true
    to.ackDue = ack
    this.#list(to)
  }

  /** Writes what waits for one connection: before it is closed. */
  flushOne(to: Outlet): void {
    if (!to.listed) return
    if (to.ackDue > 0) this.#before?.()
    this.#write(to)
  }

  /** Forgets what waits for a connection that is gone. */
  discard(to: Outlet): void {
    to.head = to.tail = -1
    to.ackDue = 0
  }

  /**
   * Runs `fn`, and writes what waits then, not with the turn; but acknowledgements that promise something once a turn.
   * Spares the turn the call that it would have cost.
   */
  together(fn: () => void): void {
    const scheduled = this.#scheduled
    this.#scheduled = true
    try {
      fn()
    } finally {
      this.#scheduled = scheduled
      if (!this.#promises || this.#before === undefined) this.flush()
      else if (this.#listed.length > 0) this.#schedule()
    }
  }

  /** Writes everything that waits. */
  flush(): void {
    if (this.#flushing) return
    this.#flushing = true
    try {
      if (this.#promises) this.#before?.()
      this.#promises = false
      const listed = this.#listed
      for (let i = 0; i < listed.length; i++) {
        const to = listed[i] as Outlet
        to.listed = false
        this.#write(to)
      }
      listed.length = 0
      this.#letGo()
      this.#used = this.#count = 0
    } finally {
      this.#flushing = false
    }
  }

  /** Foreign buffers are not to outlive their turn in here. The array itself is kept: growing it anew would cost every turn. */
  #letGo(): void {
    const own = this.#own
    if (own.length > MAX_KEPT_ENTRIES) own.length = 0
    for (let i = Math.min(own.length, this.#owned) - 1; i >= 0; i--) own[i] = undefined
    this.#owned = 0
    this.#chunks.length = 0
    this.#chunk = undefined
  }

  #beginChunk(bytes: Uint8Array): void {
    this.#chunk = bytes
    this.#chunkAt = bytes.byteOffset
    this.#chunks.push(bytes.buffer)
  }

  #endTurn(): void {
    this.#scheduled = false
    this.flush()
  }

  #write(to: Outlet): void {
    const { head } = to
    if (head < 0) {
      if (to.ackDue > 0) this.#sendAck(to)
    } else if (head === to.tail && (to.ackDue === 0 || this.#takesAck(head))) {
      this.#sendEntry(to, head)
    } else {
      this.#current = to
      to.cork(this.#sendCurrent)
      this.#current = undefined
    }
    to.head = to.tail = -1
    to.ackDue = 0
  }

  /** True when the acknowledgement can ride on this frame. */
  #takesAck(entry: number): boolean {
    return (this.#entries[entry] as number) >= 0 && ((this.#entries[entry + HOW] as number) & FOREIGN) === 0
  }

  #sendAll(to: Outlet): void {
    for (let entry = to.head; entry >= 0; entry = this.#entries[entry + NEXT] as number) this.#sendEntry(to, entry)
    if (to.ackDue > 0) this.#sendAck(to)
  }

  #sendEntry(to: Outlet, entry: number): void {
    const entries = this.#entries
    const start = entries[entry] as number
    const end = entries[entry + END] as number
    const how = entries[entry + HOW] as number
    let outcome: SendOutcome
    if (start < 0) outcome = to.send(this.#own[-1 - start] as Uint8Array)
    else if ((how & FOREIGN) !== 0) {
      const memory = this.#chunks[how >> FLAG_BITS] as ArrayBufferLike
      outcome = to.send(new Uint8Array(memory, start, end - start))
    } else {
      let whole = end
      if (to.ackDue > 0 && entry === to.tail) {
        whole = appendAck(this.#arena, end, to.ackDue)
        to.ackDue = 0
      }
      outcome = to.send(new Uint8Array(this.#memory, start, whole - start))
    }
    if (outcome !== 'dropped') return
    if ((how & KEEP) !== 0) to.overrun()
    else to.dropped()
  }

  #sendAck(to: Outlet): void {
    const end = appendAck(this.#ackFrame, 2, to.ackDue)
    to.ackDue = 0
    // A lost acknowledgement would leave the device waiting for ever.
    if (to.send(this.#ackFrame.subarray(0, end)) === 'dropped') to.overrun()
  }

  #push(to: Outlet, start: number, end: number, how: number): void {
    const entry = this.#count
    this.#count += ENTRY
    if (entry === this.#entries.length) this.#growEntries()
    const entries = this.#entries
    entries[entry] = start
    entries[entry + END] = end
    entries[entry + NEXT] = -1
    entries[entry + HOW] = how
    if (to.head < 0) to.head = entry
    else entries[to.tail + NEXT] = entry
    to.tail = entry
    if (!to.listed) this.#list(to)
  }

  #list(to: Outlet): void {
    if (to.listed) return
    to.listed = true
    this.#listed.push(to)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#turn(this.#run)
  }

  /** Makes room for `more` bytes; false when the frame is better kept by itself. */
  #makeRoom(more: number): boolean {
    if (more > MAX_ARENA / 4) return false
    if (this.#used + more > MAX_ARENA) {
      // While a turn is being written its bytes cannot be given up.
      if (this.#flushing) return false
      this.flush()
      return true
    }
    const grown = new Uint8Array(Math.min(MAX_ARENA, Math.max(2 * this.#arena.length, this.#used + more)))
    grown.set(this.#arena.subarray(0, this.#used))
    this.#arena = grown
    this.#memory = grown.buffer
    return true
  }

  #large(
    to: Outlet,
    bytes: Uint8Array,
    start: number,
    end: number,
    seq: number,
    redelivered: boolean,
    keep: boolean,
  ): void {
    const own = new Uint8Array(end - start + GROWTH)
    let pos = copy(bytes, start, end, own, 0)
    if (seq >= 0) pos = appendSeq(own, pos, seq)
    if (redelivered) pos = appendRedelivered(own, pos)
    this.shared(to, own.subarray(0, pos), keep)
  }

  #growEntries(): void {
    const grown = new Int32Array(2 * this.#entries.length)
    grown.set(this.#entries)
    this.#entries = grown
  }
}

/** Copies `bytes[start, end)` to `into[at…)`; returns the position after it. */
function copy(bytes: Uint8Array, start: number, end: number, into: Uint8Array, at: number): number {
  const length = end - start
  into.set(new Uint8Array(bytes.buffer, bytes.byteOffset + start, length), at)
  return at + length
}
