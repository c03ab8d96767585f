/** Everything that goes to one socket in one turn of the event loop leaves in one write. */

import { ACK_SIZE, writeAck } from '../../../proto/mqtt/encode.js'
import type { ByteTransport } from './transport.js'

/** What a connection first takes from the pool; most turns need no more. */
const SMALL = 4096
/** Larger buffers are not kept: they serve bursts. */
const POOLED = 64
/** Below this a loop copies faster than a call. */
const SHORT = 96

/** Batches with something to send, and the buffers that they share. One for an edge. */
export class FlushQueue {
  readonly #dirty: OutBatch[] = []
  readonly #free: Buffer[] = []
  readonly #turn: (fn: () => void) => void
  readonly #before: () => void
  #scheduled = false
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
    if (this.#dirty.length > 0) this.wake()
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
    this.#buffer = undefined
    if (buffer !== undefined && !this.#closed) {
      const whole = this.#length === buffer.length ? buffer : buffer.subarray(0, this.#length)
      this.#length = 0
      if (this.#transport.write(whole)) this.#queue.give(buffer)
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
    if (this.#buffer === undefined) this.#queue.add(this)
  }

  /** The transport is gone. */
  drop(): void {
    this.#closed = true
    this.#length = 0
  }

  #reserve(need: number): number {
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
