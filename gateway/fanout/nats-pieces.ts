/**
 * Records that are larger than the server's `max_payload` (1 MiB unless configured) travel in pieces, on the record's own
 * subject, one right behind the other:
 *
 *     u8      version: 2 (a whole record begins with 1)
 *     varint  running number of the transfer
 *     text    sender: gateway id and a number drawn at its start
 *     varint  bytes of the whole
 *     varint  where this piece begins in it
 *     ...     piece
 *
 * A connection with several matching subscriptions gets each piece several times: only the one that goes on where the
 * last one ended is taken.
 */

import { varintSize } from '../../proto/frame.js'
import { OctetReader, OctetWriter } from './octets.js'

/** First byte of every piece. */
export const PIECE_VERSION = 2
/** Largest record that is sent in pieces: half of what a NATS server lets wait for one client (`max_pending`). */
export const MAX_WHOLE = 32 * 1024 * 1024
/** Bytes of unfinished records that are held; the oldest are given up first. */
const MAX_OPEN = 2 * MAX_WHOLE
/** What an unfinished record weighs besides its bytes. */
const WEIGHT = 1024

/** Bytes that a piece has beside the record's. */
function overhead(sender: string): number {
  return 1 + 8 + varintSize(sender.length * 3) + sender.length * 3 + 8 + 8
}

/** The pieces of `record`, each of at most `most` bytes; undefined when it is too large, or `most` too small to be of use. */
export function splitRecord(
  record: Uint8Array,
  most: number,
  sender: string,
  transfer: number,
): Uint8Array[] | undefined {
  const room = most - overhead(sender)
  if (record.length > MAX_WHOLE || room < 256) return undefined
  const pieces: Uint8Array[] = []
  for (let from = 0; from < record.length; from += room) {
    const piece = record.subarray(from, from + room)
    const out = new OctetWriter(piece.length + overhead(sender))
    out.u8(PIECE_VERSION)
    out.varint(transfer)
    out.text(sender)
    out.varint(record.length)
    out.varint(from)
    out.raw(piece)
    pieces.push(out.take())
  }
  return pieces
}

interface Unfinished {
  readonly transfer: number
  readonly whole: Uint8Array
  filled: number
}

/** Puts records together again, one at a time of each sender. */
export class PieceJoiner {
  readonly #open = new Map<string, Unfinished>()
  readonly #mostOpen: number
  #bytes = 0

  /** @param mostOpen bytes of unfinished records */
  constructor(mostOpen = MAX_OPEN) {
    this.#mostOpen = mostOpen
  }

  /**
   * @returns the record once its last piece came
   * @throws RangeError or TypeError when the bytes are no piece
   */
  take(bytes: Uint8Array): Uint8Array | undefined {
    const reader = new OctetReader(bytes)
    const version = reader.u8()
    if (version !== PIECE_VERSION) throw new RangeError(`version ${version}, not ${PIECE_VERSION}`)
    const transfer = reader.varint()
    const sender = reader.text()
    const size = reader.varint()
    const from = reader.varint()
    if (size > MAX_WHOLE || from + reader.left > size || reader.left === 0) {
      throw new RangeError(`piece of ${reader.left} bytes at ${from} of ${size}`)
    }
    const open = this.#openOf(sender, transfer, size, from)
    if (open === undefined) return undefined
    open.whole.set(bytes.subarray(reader.pos), from)
    open.filled += reader.left
    if (open.filled < size) return undefined
    this.#forget(sender)
    return open.whole
  }

  /** The record that this piece goes on with, or begins; undefined when it is a repetition, or what was before it is lost. */
  #openOf(sender: string, transfer: number, size: number, from: number): Unfinished | undefined {
    const open = this.#open.get(sender)
    if (open?.transfer === transfer) return open.filled === from && open.whole.length === size ? open : undefined
    if (from > 0) return undefined
    this.#forget(sender)
    for (const oldest of this.#open.keys()) {
      if (this.#bytes + size + WEIGHT <= this.#mostOpen) break
      this.#forget(oldest)
    }
    const made = { transfer, whole: new Uint8Array(size), filled: 0 }
    this.#open.set(sender, made)
    this.#bytes += size + WEIGHT
    return made
  }

  #forget(sender: string): void {
    const open = this.#open.get(sender)
    if (open === undefined) return
    this.#bytes -= open.whole.length + WEIGHT
    this.#open.delete(sender)
  }
}
