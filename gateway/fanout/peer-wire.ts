/**
 * What two gateways say to each other over the WebSocket at `/v1/peer`. A binary message is a row of records:
 *
 *     u8      kind
 *     varint  length of the body
 *     ...     body
 *
 * The gateway that dialed (the guest) sends HELLO, INTEREST, MARK and ASK; the one that was dialed (the host) answers with
 * HELLO, then RETAINED for all that it retains, SYNCED, ACK for each MARK, ANSWER for each ASK, and MESSAGE for what
 * matches the interest.
 *
 *     HELLO     varint protocol (1), text gateway id
 *     INTEREST  varint members (0: no more), then the filter in UTF-8 up to the record's end
 *     MARK      varint version: all interest up to this version was sent
 *     ACK       varint version: all interest up to this version counts now
 *     MESSAGE   varint n, n times text: `$share/` filters the guest was chosen for; then an envelope (envelope.ts)
 *     RETAINED  an envelope, to be kept and not delivered; without payload: the topic was cleared
 *     SYNCED    nothing
 *     ASK       varint number, then a question for the other gateway's sessions (claims.ts)
 *     ANSWER    varint number of the question, then the answer; empty: nothing to say
 *
 * A kind that is not known is skipped, so a later version may add some.
 */

import { varintSize } from '../../proto/frame.js'
import type { Message } from '../ports.js'
import { decodeEnvelope, envelopeOf } from './envelope.js'
import { OctetReader, type OctetWriter } from './octets.js'

/** Both ends say it in HELLO; a different one is refused. */
export const PEER_PROTOCOL = 1

const Kind = { HELLO: 1, INTEREST: 2, MARK: 3, ACK: 4, MESSAGE: 5, RETAINED: 6, SYNCED: 7, ASK: 8, ANSWER: 9 } as const

const utf8 = new TextEncoder()
const utf8Strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const NO_FILTERS: readonly string[] = []

/** Takes the records of a message, one call each. */
export interface PeerSink {
  hello(protocol: number, id: string): void
  interest(filter: string, members: number): void
  mark(version: number): void
  ack(version: number): void
  message(message: Message, shared: readonly string[]): void
  retained(message: Message): void
  synced(): void
  /** `body` is a copy. */
  ask(number: number, body: Uint8Array): void
  answer(number: number, body: Uint8Array): void
}

export function writeHello(out: OctetWriter, id: string): void {
  const name = utf8.encode(id)
  out.u8(Kind.HELLO)
  out.varint(varintSize(PEER_PROTOCOL) + varintSize(name.length) + name.length)
  out.varint(PEER_PROTOCOL)
  out.octets(name)
}

export function writeInterest(out: OctetWriter, filter: string, members: number): void {
  const text = utf8.encode(filter)
  out.u8(Kind.INTEREST)
  out.varint(varintSize(members) + text.length)
  out.varint(members)
  out.raw(text)
}

export function writeMark(out: OctetWriter, version: number): void {
  writeNumber(out, Kind.MARK, version)
}

export function writeAck(out: OctetWriter, version: number): void {
  writeNumber(out, Kind.ACK, version)
}

export function writeSynced(out: OctetWriter): void {
  out.u8(Kind.SYNCED)
  out.varint(0)
}

export function writeAsk(out: OctetWriter, number: number, body: Uint8Array): void {
  writeNumbered(out, Kind.ASK, number, body)
}

export function writeAnswer(out: OctetWriter, number: number, body: Uint8Array): void {
  writeNumbered(out, Kind.ANSWER, number, body)
}

export function writeRetained(out: OctetWriter, message: Message): void {
  out.u8(Kind.RETAINED)
  out.octets(envelopeOf(message))
}

export function writeMessage(out: OctetWriter, message: Message, shared: readonly string[] = NO_FILTERS): void {
  const envelope = envelopeOf(message)
  const names = shared.length === 0 ? undefined : shared.map((filter) => utf8.encode(filter))
  let size = varintSize(shared.length) + envelope.length
  for (const name of names ?? []) size += varintSize(name.length) + name.length
  out.u8(Kind.MESSAGE)
  out.varint(size)
  out.varint(shared.length)
  for (const name of names ?? []) out.octets(name)
  out.raw(envelope)
}

function writeNumbered(out: OctetWriter, kind: number, number: number, body: Uint8Array): void {
  out.u8(kind)
  out.varint(varintSize(number) + body.length)
  out.varint(number)
  out.raw(body)
}

function writeNumber(out: OctetWriter, kind: number, value: number): void {
  out.u8(kind)
  out.varint(varintSize(value))
  out.varint(value)
}

/**
 * Hands every record of `bytes` to `sink`. Nothing that the sink gets refers to `bytes`.
 * @throws RangeError or TypeError at the first record that is malformed; those before it were handed over
 */
export function readRecords(bytes: Uint8Array, sink: PeerSink): void {
  const reader = new OctetReader(bytes)
  while (reader.left > 0) {
    const kind = reader.u8()
    const length = reader.varint()
    if (length > reader.left) throw new RangeError(`record of ${length} bytes, ${reader.left} left`)
    const start = reader.pos
    reader.pos += length
    readRecord(kind, bytes, start, reader.pos, sink)
  }
}

function readRecord(kind: number, bytes: Uint8Array, start: number, end: number, sink: PeerSink): void {
  const reader = new OctetReader(bytes, start, end)
  if (kind === Kind.HELLO) sink.hello(reader.varint(), reader.text())
  else if (kind === Kind.INTEREST) {
    const members = reader.varint()
    sink.interest(utf8Strict.decode(bytes.subarray(reader.pos, end)), members)
  } else if (kind === Kind.MARK) sink.mark(reader.varint())
  else if (kind === Kind.ACK) sink.ack(reader.varint())
  else if (kind === Kind.MESSAGE) {
    const shared = readFilters(reader)
    sink.message(decodeEnvelope(bytes, reader.pos, end), shared)
  } else if (kind === Kind.RETAINED) sink.retained(decodeEnvelope(bytes, start, end))
  else if (kind === Kind.SYNCED) sink.synced()
  else if (kind === Kind.ASK) sink.ask(reader.varint(), bytes.slice(reader.pos, end))
  else if (kind === Kind.ANSWER) sink.answer(reader.varint(), bytes.slice(reader.pos, end))
}

function readFilters(reader: OctetReader): readonly string[] {
  const count = reader.varint()
  if (count === 0) return NO_FILTERS
  if (count > reader.left) throw new RangeError(`${count} filters in ${reader.left} bytes`)
  return Array.from({ length: count }, () => reader.text())
}
