/**
 * What gateways publish to NATS.
 *
 * A message, on the subject of its topic (for whoever subscribed) or on a gateway's own (for the shared groups it was
 * chosen for):
 *
 *     u8      version: 1
 *     varint  running number of the sender; what must not be lost has numbers, and a sender, of its own
 *     text    sender: gateway id and a number drawn at its start
 *     varint  n, n times text: `$share/` filters; none on a topic's subject
 *     ...     envelope (envelope.ts)
 *
 * A word about shared groups, on the subject that all gateways hear:
 *
 *     u8      version: 1
 *     u8      kind: 1 ALL (what I said before is void), 2 CHANGE, 3 BEAT (I live), 4 ASK (say ALL), 5 BYE, 6 BACK
 *     text    gateway id
 *     varint  version of the sender's groups that this leads to; 0 with ALL and CHANGE: more follows; with BACK the
 *             milliseconds for which it heard nothing
 *     ...     members and filter (varint, text), repeated: ALL and CHANGE only
 */

import type { Message } from '../ports.js'
import { decodeEnvelope, envelopeOf } from './envelope.js'
import { OctetReader, OctetWriter } from './octets.js'

/** First byte of everything; what another version says is ignored. */
export const NATS_VERSION = 1

export interface BusMessage {
  readonly seq: number
  readonly sender: string
  readonly shared: readonly string[]
  readonly message: Message
}

export function encodeBusMessage(seq: number, sender: string, shared: readonly string[], message: Message): Uint8Array {
  const envelope = envelopeOf(message)
  const out = new OctetWriter(envelope.length + sender.length + 32)
  out.u8(NATS_VERSION)
  out.varint(seq)
  out.text(sender)
  out.varint(shared.length)
  for (const filter of shared) out.text(filter)
  out.raw(envelope)
  return out.take()
}

/** @throws RangeError or TypeError when the bytes are no message of this version */
export function decodeBusMessage(bytes: Uint8Array): BusMessage {
  const reader = readVersion(bytes)
  const seq = reader.varint()
  const sender = reader.text()
  const count = reader.varint()
  if (count > reader.left) throw new RangeError(`${count} filters in ${reader.left} bytes`)
  const shared = Array.from({ length: count }, () => reader.text())
  return { seq, sender, shared, message: decodeEnvelope(bytes, reader.pos) }
}

export const GroupWord = { ALL: 1, CHANGE: 2, BEAT: 3, ASK: 4, BYE: 5, BACK: 6 } as const

export interface GroupNews {
  readonly kind: number
  readonly gateway: string
  readonly version: number
  readonly members: readonly (readonly [filter: string, members: number])[]
}

export function encodeGroupNews({ kind, gateway, version, members }: GroupNews): Uint8Array {
  const out = new OctetWriter(256)
  out.u8(NATS_VERSION)
  out.u8(kind)
  out.text(gateway)
  out.varint(version)
  for (const [filter, count] of members) {
    out.varint(count)
    out.text(filter)
  }
  return out.take()
}

/** @throws RangeError or TypeError when the bytes are none of this version */
export function decodeGroupNews(bytes: Uint8Array): GroupNews {
  const reader = readVersion(bytes)
  const kind = reader.u8()
  if (kind < GroupWord.ALL || kind > GroupWord.BACK) throw new RangeError(`kind ${kind}`)
  const gateway = reader.text()
  const version = reader.varint()
  const members: [string, number][] = []
  while (reader.left > 0) {
    const count = reader.varint()
    members.push([reader.text(), count])
  }
  return { kind, gateway, version, members }
}

function readVersion(bytes: Uint8Array): OctetReader {
  const reader = new OctetReader(bytes)
  const version = reader.u8()
  if (version !== NATS_VERSION) throw new RangeError(`version ${version}, not ${NATS_VERSION}`)
  return reader
}
