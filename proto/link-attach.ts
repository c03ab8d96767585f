/**
 * ATTACH and ATTACHED, written straight into a link's batch: every connect of a device brings one of each, and a storm of
 * connects meets them while V8 still runs its code cold. They are the maps that link-control.ts reads, byte for byte msgpack
 * (github.com/msgpack/msgpack, spec.md); the library makes all others. test/bench/attach.ts measures the two ways.
 */

import { type Attach, LinkKind, type RecordBatch } from './link.js'

const utf8 = new TextEncoder()

/** Bytes before a text, or a number: a byte that tells the format, and at most eight. */
const HEAD = 9
/** UTF-8 of one UTF-16 unit. */
const WIDEST = 3
/** Longest text that is tried byte by byte; the longer ones are the rare ones. */
const SHORT = 64

const SESSION = key('session')
const DEVICE = key('device')
const PROTOCOL = key('protocol')
const ATTRIBUTES = key('attributes')
const SLOT = key('slot')
const EPOCH = key('epoch')
const TABLE = key('table')
const ACKED = key('acked')
const STATE = key('state')
const SENT = key('sent')
const REDELIVERED = key('redelivered')
const RESUMED = key('resumed')
/** All names of ATTACH, the map's head and the numbers' and the flag's bytes. */
const FIXED = 256

const TRUE = 0xc3
const FALSE = 0xc2

/**
 * Appends an ATTACH record. Fields that are undefined are left out. What most devices of a fleet have in common is kept
 * encoded and copied as one piece: the less code, the sooner V8 has compiled it.
 */
export function writeAttach(batch: RecordBatch, binding: number, attach: Attach): void {
  const { session, device, slot, state } = attach
  const kind = kindOf(attach)
  const room = FIXED + kind.length + WIDEST * (session.length + device.length) + (state?.length ?? 0)
  const begin = batch.begin(LinkKind.ATTACH, binding, room)
  const { bytes } = batch
  bytes[begin] = 0x80 | (8 + present(slot) + present(state) + present(attach.sent))
  let pos = putText(bytes, put(bytes, begin + 1, SESSION), session)
  pos = putText(bytes, put(bytes, pos, DEVICE), device)
  pos = put(bytes, pos, kind)
  if (slot !== undefined) pos = putCount(bytes, put(bytes, pos, SLOT), slot)
  pos = state === undefined ? put(bytes, pos, standingOf(attach)) : putStanding(bytes, pos, attach)
  batch.end(pos)
}

/** Appends an ATTACHED record. */
export function writeAttached(batch: RecordBatch, binding: number, epoch: number, resumed: boolean): void {
  const begin = batch.begin(LinkKind.ATTACHED, binding, FIXED)
  const { bytes } = batch
  bytes[begin] = resumed ? 0x82 : 0x81
  let pos = putCount(bytes, put(bytes, begin + 1, EPOCH), epoch)
  if (resumed) {
    pos = put(bytes, pos, RESUMED)
    bytes[pos++] = TRUE
  }
  batch.end(pos)
}

/** The epoch of an ATTACHED body that says nothing else, with a number up to 2^32 - 1; -1 for any other. */
export function epochOnly(bytes: Uint8Array, start: number, end: number): number {
  if (bytes[start] !== 0x81) return -1
  let pos = start + 1
  for (let i = 0; i < EPOCH.length; i++) if (bytes[pos++] !== EPOCH[i]) return -1
  const head = bytes[pos++] as number
  if (head < 0x80) return pos === end ? head : -1
  const width = head === 0xcc ? 1 : head === 0xcd ? 2 : head === 0xce ? 4 : 0
  if (width === 0 || pos + width !== end) return -1
  let value = 0
  while (pos < end) value = value * 256 + (bytes[pos++] as number)
  return value
}

type Kind = Pick<Attach, 'protocol' | 'attributes'>
let lastKind: Kind = { protocol: '', attributes: {} }
let lastKindEncoded = encodeKind(lastKind)

/**
 * Protocol and attributes, encoded. Devices of a kind bring the same headers, and edges keep one object for all of them: the
 * last one is kept.
 */
function kindOf({ protocol, attributes }: Kind): Uint8Array {
  if (attributes !== lastKind.attributes || protocol !== lastKind.protocol) {
    lastKind = { protocol, attributes }
    lastKindEncoded = encodeKind(lastKind)
  }
  return lastKindEncoded
}

function encodeKind({ protocol, attributes }: Kind): Uint8Array {
  const entries = Object.entries(attributes)
  let room = FIXED + WIDEST * protocol.length
  for (const [name, value] of entries) room += WIDEST * (name.length + value.length) + 2 * HEAD
  const bytes = new Uint8Array(room)
  let pos = putText(bytes, put(bytes, 0, PROTOCOL), protocol)
  pos = putMapHead(bytes, put(bytes, pos, ATTRIBUTES), entries.length)
  for (const [name, value] of entries) pos = putText(bytes, putText(bytes, pos, name), value)
  return bytes.slice(0, pos)
}

type Standing = Pick<Attach, 'epoch' | 'table' | 'acked' | 'state' | 'sent' | 'redelivered'>
let lastStanding: Standing = { epoch: 1, table: 0, acked: 0, redelivered: false }
let lastStandingEncoded = encodeStanding(lastStanding)

/** Where a binding without a state stands, encoded. New ones stand where the last one did. */
function standingOf(attach: Standing): Uint8Array {
  const { epoch, table, acked, sent, redelivered } = attach
  const last = lastStanding
  const same = epoch === last.epoch && table === last.table && acked === last.acked && sent === last.sent
  if (!same || redelivered !== last.redelivered) {
    lastStanding =
      sent === undefined ? { epoch, table, acked, redelivered } : { epoch, table, acked, sent, redelivered }
    lastStandingEncoded = encodeStanding(lastStanding)
  }
  return lastStandingEncoded
}

function encodeStanding(standing: Standing): Uint8Array {
  const bytes = new Uint8Array(FIXED)
  return bytes.slice(0, putStanding(bytes, 0, standing))
}

function putStanding(
  bytes: Uint8Array,
  at: number,
  { epoch, table, acked, state, sent, redelivered }: Standing,
): number {
  let pos = putCount(bytes, put(bytes, at, EPOCH), epoch)
  pos = putCount(bytes, put(bytes, pos, TABLE), table)
  pos = putCount(bytes, put(bytes, pos, ACKED), acked)
  if (state !== undefined) pos = putBinary(bytes, put(bytes, pos, STATE), state)
  if (sent !== undefined) pos = putCount(bytes, put(bytes, pos, SENT), sent)
  pos = put(bytes, pos, REDELIVERED)
  bytes[pos] = redelivered ? TRUE : FALSE
  return pos + 1
}

function key(name: string): Uint8Array {
  const bytes = new Uint8Array(HEAD + name.length)
  return bytes.slice(0, putText(bytes, 0, name))
}

function present(value: unknown): number {
  return value === undefined ? 0 : 1
}

/** All that put something return the position after it; there has to be room. */
function put(bytes: Uint8Array, at: number, what: Uint8Array): number {
  const { length } = what
  if (length > SHORT) bytes.set(what, at)
  else for (let i = 0; i < length; i++) bytes[at + i] = what[i] as number
  return at + length
}

function putText(bytes: Uint8Array, at: number, text: string): number {
  const { length } = text
  if (length > SHORT) return putEncoded(bytes, at, text)
  const begin = putHead(bytes, at, length, 0xa0, 32, 0xd9)
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i)
    if (unit >= 0x80) return putEncoded(bytes, at, text)
    bytes[begin + i] = unit
  }
  return begin + length
}

function putEncoded(bytes: Uint8Array, at: number, text: string): number {
  const encoded = utf8.encode(text)
  const begin = putHead(bytes, at, encoded.length, 0xa0, 32, 0xd9)
  bytes.set(encoded, begin)
  return begin + encoded.length
}

function putBinary(bytes: Uint8Array, at: number, what: Uint8Array): number {
  const begin = putHead(bytes, at, what.length, 0, 0, 0xc4)
  bytes.set(what, begin)
  return begin + what.length
}

function putMapHead(bytes: Uint8Array, at: number, size: number): number {
  if (size < 16) {
    bytes[at] = 0x80 | size
    return at + 1
  }
  bytes[at] = 0xde
  return putUint(bytes, at + 1, size, 2)
}

/** Head of a text or binary: in one byte below `fixed`, else one of three formats that follow each other, from `first`. */
function putHead(bytes: Uint8Array, at: number, length: number, fix: number, fixed: number, first: number): number {
  if (length < fixed) {
    bytes[at] = fix | length
    return at + 1
  }
  const size = length < 0x100 ? 0 : length < 0x10000 ? 1 : 2
  bytes[at] = first + size
  return putUint(bytes, at + 1, length, 1 << size)
}

function putCount(bytes: Uint8Array, at: number, value: number): number {
  if (value < 0x80) {
    bytes[at] = value
    return at + 1
  }
  const size = value < 0x100 ? 0 : value < 0x10000 ? 1 : value < 0x1_0000_0000 ? 2 : 3
  bytes[at] = 0xcc + size
  return putUint(bytes, at + 1, value, 1 << size)
}

/** Big-endian. Not by shifts: they end at 32 bits. */
function putUint(bytes: Uint8Array, at: number, value: number, width: number): number {
  let rest = value
  for (let i = width - 1; i >= 0; i--) {
    bytes[at + i] = rest % 256
    rest = Math.floor(rest / 256)
  }
  return at + width
}
