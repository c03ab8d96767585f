/**
 * Writes `sluice.v1.Frame` without an encoder object, and extends an encoded frame in place. Protobuf parsers merge
 * fields, so appending `seq`, `ack` or `redelivered` to an encoded frame is the same as having set them (Protobuf
 * encoding, "Last One Wins").
 */

import type { FrameFields } from './frame-fields.js'
import { varintSize, writeVarint } from './varint.js'

// Field tags: number << 3 | wire type; here and in the reader, since imported ones are slower.
const TAG_TYPE = 0x08
const TAG_SEQ = 0x10
const TAG_ACK = 0x18
const TAG_TOPIC = 0x22
const TAG_PAYLOAD = 0x2a
const TAG_HEADERS = 0x32
const TAG_REDELIVERED = 0x38
/** Tags within an entry of the headers. */
const TAG_KEY = 0x0a
const TAG_VALUE = 0x12
const utf8 = new TextEncoder()
const EMPTY = new Uint8Array(0)

/** The most bytes that {@link appendSeq}, {@link appendAck} and {@link appendRedelivered} add together. */
export const APPENDIX_SIZE = 20

/** Appends `seq`, as if the frame had been encoded with it; returns the position after it. */
export function appendSeq(into: Uint8Array, pos: number, seq: number): number {
  into[pos] = TAG_SEQ
  return writeVarint(into, pos + 1, seq)
}

/** Appends `ack`, as if the frame had been encoded with it; returns the position after it. */
export function appendAck(into: Uint8Array, pos: number, ack: number): number {
  into[pos] = TAG_ACK
  return writeVarint(into, pos + 1, ack)
}

/** Appends `redelivered: true`; returns the position after it. */
export function appendRedelivered(into: Uint8Array, pos: number): number {
  into[pos] = TAG_REDELIVERED
  into[pos + 1] = 1
  return pos + 2
}

/** Encodes a whole frame. */
export function encodeFrame(frame: FrameFields): Uint8Array {
  const topic = frame.topic ? utf8.encode(frame.topic) : EMPTY
  const payload = frame.payload ?? EMPTY
  const headers = frame.headers === undefined ? EMPTY : encodeHeaders(frame.headers)
  const out = new Uint8Array(
    frameHeadSize(topic.length, payload.length) + payload.length + headers.length + APPENDIX_SIZE,
  )
  let pos = writeFrameHead(out, 0, frame.type ?? 0, frame.seq ?? 0, topic, payload.length)
  out.set(payload, pos)
  pos += payload.length
  out.set(headers, pos)
  pos += headers.length
  if (frame.ack) pos = appendAck(out, pos, frame.ack)
  if (frame.redelivered) pos = appendRedelivered(out, pos)
  return out.subarray(0, pos)
}

/** The most bytes that {@link writeFrameHead} writes for these lengths. */
export function frameHeadSize(topicLength: number, payloadLength: number): number {
  return 2 + 9 + 1 + varintSize(topicLength) + topicLength + 1 + varintSize(payloadLength)
}

/**
 * Writes everything of a frame up to the payload's first byte: type, seq, topic, and the payload's tag and length.
 * The caller copies exactly `payloadLength` bytes behind it, so a payload goes from its source to the wire in one copy.
 * @param topic UTF-8 bytes
 */
export function writeFrameHead(
  into: Uint8Array,
  pos: number,
  type: number,
  seq: number,
  topic: Uint8Array,
  payloadLength: number,
): number {
  if (type !== 0) {
    into[pos++] = TAG_TYPE
    into[pos++] = type
  }
  if (seq !== 0) pos = appendSeq(into, pos, seq)
  if (topic.length !== 0) {
    into[pos++] = TAG_TOPIC
    pos = writeVarint(into, pos, topic.length)
    into.set(topic, pos)
    pos += topic.length
  }
  if (payloadLength !== 0) {
    into[pos++] = TAG_PAYLOAD
    pos = writeVarint(into, pos, payloadLength)
  }
  return pos
}

/** Encodes headers as the map entries that stand behind a frame's other fields. */
export function encodeHeaders(headers: Readonly<Record<string, string>>): Uint8Array {
  const entries: [Uint8Array, Uint8Array][] = []
  let size = 0
  for (const [name, text] of Object.entries(headers)) {
    const key = utf8.encode(name)
    const value = utf8.encode(text)
    entries.push([key, value])
    const inner = entrySize(key, value)
    size += 1 + varintSize(inner) + inner
  }
  const out = new Uint8Array(size)
  let pos = 0
  for (const [key, value] of entries) {
    out[pos++] = TAG_HEADERS
    pos = writeVarint(out, pos, entrySize(key, value))
    pos = writeText(out, pos, TAG_KEY, key)
    pos = writeText(out, pos, TAG_VALUE, value)
  }
  return out
}

function entrySize(key: Uint8Array, value: Uint8Array): number {
  return 2 + varintSize(key.length) + key.length + varintSize(value.length) + value.length
}

function writeText(into: Uint8Array, pos: number, tag: number, text: Uint8Array): number {
  into[pos++] = tag
  pos = writeVarint(into, pos, text.length)
  into.set(text, pos)
  return pos + text.length
}
