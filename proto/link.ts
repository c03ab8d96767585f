/**
 * The link: one ordered byte stream between a gateway and a worker, cut into records.
 *
 *     u32 LE  length of what follows
 *     u8      kind
 *     u32 LE  binding: the gateway's number for session x pool on this link; 0 where none is meant
 *     ...     body
 *
 * FRAME and PUBLISH bodies are an encoded `sluice.v1.Frame`, byte for byte as the device sent it plus appended fields;
 * ACK is a varint; everything else is one msgpack map. docs/link-protocol.md tells it for other languages.
 */

import { varintSize, writeVarint } from './frame.js'

/** Both ends say it in HELLO; a different one is refused with `protocol_mismatch`. */
export const LINK_PROTOCOL = 1

/**
 * An id of HELLO that begins with it is a health check: a coordinator dials, says HELLO with role `gateway`, PINGs and hangs up.
 * Workers publish nothing on such a link.
 */
export const HEALTH_LINK = 'health:'

export const LinkKind = {
  /** Both ways, first: {@link LinkHello}. */
  HELLO: 1,
  /** Gateway: the worker owns this binding from now on: {@link Attach}. */
  ATTACH: 2,
  /** Worker: it does: {@link Attached}. */
  ATTACHED: 3,
  /** Worker: it does not: {@link AttachRefused}. */
  REFUSED: 4,
  /** Gateway: finish what you have, then let go: {@link Detach}. */
  DETACH: 5,
  /** Worker: let go; nothing more comes from it: {@link Detached}. */
  DETACHED: 6,
  /** Gateway: the session ended. Worker: end the session. {@link CloseBinding}. */
  CLOSE: 7,
  /** Both ways: an encoded Frame. */
  FRAME: 8,
  /** Both ways: varint, everything up to this seq was processed. */
  ACK: 9,
  /** Worker: an encoded Frame of type PUBLISH for the fan-out; binding 0. */
  PUBLISH: 10,
  /** Both ways: any body, answered by PONG with the same body. */
  PING: 11,
  PONG: 12,
  /** Worker: {@link Load}; binding 0. */
  LOAD: 13,
} as const

export interface LinkHello {
  protocol: number
  /** Id of the sender: a gateway's, or a worker's. */
  id: string
  role: 'gateway' | 'worker'
  /** Shared secret of the fleet, where one is set. */
  token?: string
  /** Worker only. */
  pool?: string
  sessions?: number
  /** Worker only: it wants its sessions moved elsewhere. For workers without a control connection to say so on. */
  draining?: boolean
}

export interface Attach {
  session: string
  device: string
  protocol: string
  attributes: Readonly<Record<string, string>>
  /**
   * Only where the pool's affinity key depends on the topic: a session then has one binding per slot, and session and slot
   * together are what epochs, dedupe and state belong to.
   */
  slot?: number
  /** Rises with every attach of this session; a worker refuses one that is not above the last it saw. */
  epoch: number
  /** Version of the table that led here. */
  table: number
  /** Uplink seq up to which the previous owner processed; frames at or below are not delivered again. */
  acked: number
  /** What the previous owner's detach returned. */
  state?: Uint8Array
  /** Downlink seq to go on from, and the frames that the device has not acknowledged yet. */
  sent?: number
  /** True when the previous owner was lost: what follows may have been processed before. */
  redelivered: boolean
}

export interface Attached {
  epoch: number
  /** True when the worker held this session already and goes on where it was. */
  resumed?: boolean
}

export interface AttachRefused {
  epoch: number
  code: string
  message: string
  retryAfterMs?: number
}

export interface Detach {
  epoch: number
}

export interface Detached {
  epoch: number
  /** Last uplink seq that was processed. */
  acked: number
  /** Last downlink seq that was sent. */
  sent: number
  state?: Uint8Array
}

export interface CloseBinding {
  code: string
  message?: string
}

export interface Load {
  sessions: number
}

/** Bytes before a record's body. */
export const RECORD_HEADER = 9

/** Largest record that either side accepts: 1 MiB of frame and its overhead, or 8 MiB of handoff state. */
export const MAX_RECORD = 9 * 1024 * 1024

/** Takes each record: the body is `bytes[start, end)`, valid as long as the chunk that was pushed. */
export type OnRecord = (kind: number, binding: number, bytes: Uint8Array, start: number, end: number) => void

/** Cuts a byte stream into records. One per link; whole records inside a chunk are not copied. */
export class RecordReader {
  #carry: Uint8Array = new Uint8Array(0)
  #carried = 0
  readonly #onRecord: OnRecord
  readonly #limit: number

  /** @param limit largest length that is accepted; {@link push} throws a RangeError above it. */
  constructor(onRecord: OnRecord, limit = MAX_RECORD) {
    this.#onRecord = onRecord
    this.#limit = limit
  }

  push(chunk: Uint8Array): void {
    let pos = 0
    if (this.#carried > 0) {
      pos = this.#completeCarry(chunk)
      if (pos < 0) return
    }
    const length = chunk.length
    while (length - pos >= RECORD_HEADER) {
      const end = pos + 4 + this.#lengthAt(chunk, pos)
      if (end > length) break
      this.#onRecord(chunk[pos + 4] as number, readU32(chunk, pos + 5), chunk, pos + RECORD_HEADER, end)
      pos = end
    }
    if (pos < length) this.#keep(chunk, pos, length)
  }

  /** Fills the carried record from `chunk`; returns where the next one starts, or -1 when it is still not whole. */
  #completeCarry(chunk: Uint8Array): number {
    let pos = 0
    if (this.#carried < 4) {
      const take = Math.min(4 - this.#carried, chunk.length)
      this.#keep(chunk, 0, take)
      pos = take
      if (this.#carried < 4) return -1
    }
    const whole = 4 + this.#lengthAt(this.#carry, 0)
    const take = Math.min(whole - this.#carried, chunk.length - pos)
    this.#reserve(whole)
    this.#keep(chunk, pos, pos + take)
    pos += take
    if (this.#carried < whole) return -1
    const record = this.#carry
    // Detached before the callback: a callback may throw, and the reader must not see the record again.
    this.#carry = new Uint8Array(0)
    this.#carried = 0
    this.#onRecord(record[4] as number, readU32(record, 5), record, RECORD_HEADER, whole)
    return pos
  }

  #lengthAt(bytes: Uint8Array, pos: number): number {
    const length = readU32(bytes, pos)
    if (length < RECORD_HEADER - 4 || length > this.#limit) throw new RangeError(`link record of ${length} bytes`)
    return length
  }

  #keep(chunk: Uint8Array, from: number, to: number): void {
    this.#reserve(this.#carried + to - from)
    this.#carry.set(chunk.subarray(from, to), this.#carried)
    this.#carried += to - from
  }

  #reserve(size: number): void {
    if (this.#carry.length >= size) return
    const grown = new Uint8Array(Math.max(size, 256))
    grown.set(this.#carry.subarray(0, this.#carried))
    this.#carry = grown
  }
}

export function readU32(bytes: Uint8Array, pos: number): number {
  return (
    ((bytes[pos] as number) |
      ((bytes[pos + 1] as number) << 8) |
      ((bytes[pos + 2] as number) << 16) |
      ((bytes[pos + 3] as number) << 24)) >>>
    0
  )
}

function writeU32(bytes: Uint8Array, pos: number, value: number): void {
  bytes[pos] = value
  bytes[pos + 1] = value >>> 8
  bytes[pos + 2] = value >>> 16
  bytes[pos + 3] = value >>> 24
}

/**
 * A batch of this many bytes is better written before the turn ends: the other end begins with it meanwhile, and a system
 * call for a hundred frames or more is no cost.
 */
const RIPE = 16 * 1024

/**
 * A chunk of a link with fewer bytes than this is answered as soon as it is read: under load chunks are longer and answers
 * better collected over the turn, but a few would wait for whatever else the turn brings, and gain nothing.
 */
export const SHORT_CHUNK = 4096

/** What a batch asks of a stream: Node's sockets have it. */
export interface ByteStream {
  /** Takes the bytes, and keeps what cannot be passed on at once: the memory is the stream's until then. */
  write(bytes: Uint8Array): unknown
  /** Bytes that it keeps. */
  readonly writableLength: number
}

/**
 * Collects records into one buffer, to be written at the end of the tick, or when it is ripe. Knows nothing of sockets: the owner takes the bytes
 * and says whether the buffer may be used again.
 */
export class RecordBatch {
  /** No Buffer: V8 finds `set` on it by searching a hash table, at each frame. */
  #bytes: Uint8Array
  #length = 0
  readonly #initial: number

  constructor(initial = 64 * 1024) {
    this.#initial = initial
    this.#bytes = new Uint8Array(initial)
  }

  get length(): number {
    return this.#length
  }

  /** True when it is not worth waiting for more. */
  get ripe(): boolean {
    return this.#length >= RIPE
  }

  /** The buffer to write a body into, after {@link begin}. Changes when it grows: read it again after each begin. */
  get bytes(): Uint8Array {
    return this.#bytes
  }

  /**
   * Starts a record with room for `capacity` body bytes; returns where the body goes. {@link end} closes it.
   */
  begin(kind: number, binding: number, capacity: number): number {
    const at = this.#length
    const need = at + RECORD_HEADER + capacity
    if (need > this.#bytes.length) this.#grow(need)
    const bytes = this.#bytes
    bytes[at + 4] = kind
    writeU32(bytes, at + 5, binding)
    return at + RECORD_HEADER
  }

  /** Ends the record that {@link begin} started; `end` is the position after its body. */
  end(end: number): void {
    writeU32(this.#bytes, this.#length, end - this.#length - 4)
    this.#length = end
  }

  /** A whole record whose body exists already. */
  add(kind: number, binding: number, body: Uint8Array): void {
    const pos = this.begin(kind, binding, body.length)
    this.#bytes.set(body, pos)
    this.end(pos + body.length)
  }

  addAck(binding: number, seq: number): void {
    const pos = this.begin(LinkKind.ACK, binding, varintSize(seq))
    this.end(writeVarint(this.#bytes, pos, seq))
  }

  /** What was collected. The batch is empty afterwards and still uses the same buffer: see {@link replaceBuffer}. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#length)
    this.#length = 0
    return taken
  }

  /**
   * Writes what was collected to a stream; the batch is empty afterwards.
   * @param behind the stream may hold bytes of earlier writes
   * @returns true when the stream passed everything on at once, and keeps nothing
   */
  writeTo(stream: ByteStream, behind: boolean): boolean {
    const bytes = this.take()
    // Of a few bytes that have to wait a copy waits: to a peer that stands still there are many such writes.
    const copies = behind && stream.writableLength > 0 && bytes.length <= this.#bytes.length / 4
    stream.write(copies ? bytes.slice() : bytes)
    if (stream.writableLength === 0) return true
    if (!copies) this.replaceBuffer()
    return false
  }

  /** To be called after {@link take} when the taken bytes are not on the wire yet. */
  replaceBuffer(): void {
    this.#bytes = new Uint8Array(this.#initial)
  }

  #grow(need: number): void {
    const grown = new Uint8Array(Math.max(need, this.#bytes.length * 2))
    grown.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = grown
  }
}
