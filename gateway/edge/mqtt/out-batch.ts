/** Everything that goes to one socket in one turn of the event loop leaves in one write. */

import { ACK_SIZE, writeAck } from '../../../proto/mqtt/encode.js'
import { SharedBytes } from './shared-bytes.js'
import type { ByteTransport } from './transport.js'

/** What a connection first takes from the pool; most turns need no more. */
const SMALL = 4096
/** Buffers that are kept, 2 MiB: a slice of a large fan-out at QoS 1 fills as many at once. */
const POOLED = 512
const NOTHING = new SharedBytes(Buffer.alloc(0))
/** Below this a loop copies faster than a call. */
const SHORT = 96

/** Batches with something to send, and the buffers that they share. One for an edge. */
export class FlushQueue {
  readonly #dirty: OutBatch[] = []
  readonly #free: Buffer[] = []
  readonly #turn: (fn: () => void) => void
  readonly #before: () => void
  #scheduled = false
  /** What was shared last, and where it lies: a message for many is written to one after the other. */
  #shared = NOTHING
  #sharedIn: Uint8Array | undefined
  #sharedAt = 0
  readonly #run = (): void => this.flush()

  /**
   * @param turn runs a function after the pending I/O events of this turn
   * @param before called before anything is written: what an acknowledgement promises must be on disk by then
   */
  constructor(turn: (fn: () => void) => void, before: () => void) {
    this.#turn = turn
    this.#before = before
  }

  add(batch: OutBatch): void {
    this.#dirty.push(batch)
    this.wake()
  }

  /** Makes sure that {@link flush} runs this turn, also when nothing is to be written. */
  wake(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#turn(this.#run)
  }

  flush(): void {
    this.#scheduled = false
    this.#before()
    const { length } = this.#dirty
    for (let i = 0; i < length; i++) (this.#dirty[i] as OutBatch).flush()
    // What was added meanwhile has its own turn.
    this.#dirty.splice(0, length)
    this.#shared = NOTHING
    this.#sharedIn = undefined
    if (this.#dirty.length > 0) this.wake()
  }

  /** `bytes[start, start + length)`, as one object for all who ask in a row. */
  shared(bytes: Uint8Array, start: number, length: number): SharedBytes {
    const last = this.#shared
    if (bytes === this.#sharedIn && start === this.#sharedAt && length === last.bytes.length) return last
    this.#shared = new SharedBytes(Buffer.from(bytes.buffer, bytes.byteOffset + start, length))
    this.#sharedIn = bytes
    this.#sharedAt = start
    return this.#shared
  }

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(SMALL)
  }

  give(buffer: Buffer): void {
    if (buffer.length === SMALL && this.#free.length < POOLED) this.#free.push(buffer)
  }
}

/** The bytes on their way to one connection. Costs nothing but itself while it is empty. */
export class OutBatch {
  readonly #transport: ByteTransport
  readonly #queue: FlushQueue
  #buffer: Buffer | undefined
  /** What {@link share} was given, while it is all there is; it begins at #start. */
  #shared: Uint8Array | undefined
  #start = 0
  #length = 0
  #ending = false
  #closed = false

  constructor(transport: ByteTransport, queue: FlushQueue) {
    this.#transport = transport
    this.#queue = queue
  }

  /** Bytes that wait here and in the transport. */
  get buffered(): number {
    return this.#length + this.#transport.buffered
  }

  /** Appends `bytes[start, end)`; returns where they now begin in {@link buffer}. */
  append(bytes: Uint8Array, start = 0, end = bytes.length): number {
    const at = this.#reserve(end - start)
    const into = this.#buffer as Buffer
    if (end - start <= SHORT) for (let i = start, o = at; i < end; i++, o++) into[o] = bytes[i] as number
    else into.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), at)
    return at
  }

  /** The same for bytes that nobody changes any more: when nothing else comes in this turn they are written without a copy. */
  share(bytes: Uint8Array, start: number, end: number): void {
    if (this.#length > 0) {
      this.append(bytes, start, end)
      return
    }
    this.#shared = bytes
    this.#start = start
    this.#length = end - start
    if (!this.#ending) this.#queue.add(this)
  }

  /** Appends an encoded PUBLISH, `bytes[start, end)`, with its packet identifier at `start + idAt`, and DUP. */
  publish(bytes: Uint8Array, start: number, end: number, idAt: number, packetId: number, dup: boolean): void {
    const at = this.append(bytes, start, end)
    const into = this.#buffer as Buffer
    into[at + idAt] = packetId >> 8
    into[at + idAt + 1] = packetId & 0xff
    const first = into[at] as number
    into[at] = dup ? first | 8 : first & ~8
  }

  /** Appends PUBACK, PUBREC, PUBREL or PUBCOMP. */
  ack(type: number, packetId: number, reason: number): void {
    const at = this.#reserve(ACK_SIZE)
    this.#length = writeAck(this.#buffer as Buffer, at, type, packetId, reason)
  }

  flush(): void {
    const buffer = this.#buffer
    const shared = this.#shared
    this.#buffer = undefined
    this.#shared = undefined
    if (shared !== undefined && !this.#closed) {
      const length = this.#length
      this.#length = 0
      this.#transport.writeShared(this.#queue.shared(shared, this.#start, length))
    } else if (buffer !== undefined && !this.#closed) {
      const length = this.#length
      const whole = length === buffer.length ? buffer : buffer.subarray(0, length)
      this.#length = 0
      // Of a few bytes that have to wait a copy waits: a client that reads nothing gets many such writes.
      const copies = length <= buffer.length / 4 && this.#transport.buffered > 0
      if (this.#transport.write(copies ? Buffer.from(whole) : whole) || copies) this.#queue.give(buffer)
    }
    if (this.#ending && !this.#closed) {
      this.#closed = true
      this.#transport.end()
    }
  }

  /** Closes the transport with the next flush, after everything that was appended. */
  end(): void {
    if (this.#ending) return
    this.#ending = true
    if (this.#buffer === undefined && this.#shared === undefined) this.#queue.add(this)
  }

  /** The transport is gone. */
  drop(): void {
    this.#closed = true
    this.#length = 0
  }

  /** Copies what was shared: more comes behind it. */
  #own(shared: Uint8Array): void {
    const from = this.#start
    const length = this.#length
    this.#shared = undefined
    const buffer = length <= SMALL ? this.#queue.take() : Buffer.allocUnsafeSlow(length * 2)
    for (let i = 0; i < length && length <= SHORT; i++) buffer[i] = shared[from + i] as number
    if (length > SHORT) buffer.set(shared.subarray(from, from + length))
    this.#buffer = buffer
  }

  #reserve(need: number): number {
    if (this.#shared !== undefined) this.#own(this.#shared)
    const at = this.#length
    let buffer = this.#buffer
    if (buffer === undefined) {
      buffer = need <= SMALL ? this.#queue.take() : Buffer.allocUnsafeSlow(need)
      this.#buffer = buffer
      if (!this.#ending) this.#queue.add(this)
    } else if (at + need > buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(at + need, buffer.length * 2))
      buffer.copy(grown, 0, 0, at)
      this.#queue.give(buffer)
      this.#buffer = grown
    }
    this.#length = at + need
    return at
  }
}
