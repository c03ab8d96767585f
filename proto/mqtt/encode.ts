/** Packets that a server sends. */

import { PacketType, type Qos, type Version } from './packet.js'
import {
  NO_PROPERTIES,
  type Properties,
  propertiesLength,
  varintLength,
  writeProperties,
  writeText,
  writeVarint,
} from './properties.js'

/** Bytes of an acknowledgement without properties; {@link writeAck} needs no more. */
export const ACK_SIZE = 5

/**
 * Writes PUBACK, PUBREC, PUBREL or PUBCOMP; returns the position after it. Reason 0 takes the short form
 * (MQTT 5.0 section 3.4.2.1), and is all that there is before MQTT 5.
 */
export function writeAck(into: Uint8Array, pos: number, type: number, packetId: number, reason: number): number {
  into[pos] = (type << 4) | (type === PacketType.PUBREL ? 2 : 0)
  into[pos + 1] = reason === 0 ? 2 : 3
  into[pos + 2] = packetId >> 8
  into[pos + 3] = packetId & 0xff
  if (reason === 0) return pos + 4
  into[pos + 4] = reason
  return pos + 5
}

/** Starts a packet with `body` bytes behind its fixed header; `at` is where the body begins. */
function begin(first: number, body: number): { packet: Buffer; at: number } {
  const packet = Buffer.allocUnsafe(1 + varintLength(body) + body)
  packet[0] = first
  return { packet, at: writeVarint(packet, 1, body) }
}

function withProperties(
  first: number,
  head: readonly number[],
  properties: Readonly<Properties>,
  tail: readonly number[],
): Buffer {
  const length = propertiesLength(properties)
  const { packet, at } = begin(first, head.length + varintLength(length) + length + tail.length)
  packet.set(head, at)
  const end = writeProperties(packet, writeVarint(packet, at + head.length, length), properties)
  packet.set(tail, end)
  return packet
}

/**
 * MQTT 3.1 has no session-present flag: its byte is reserved.
 * @param code reason code in MQTT 5, return code before
 */
export function encodeConnack(version: Version, present: boolean, code: number, properties = NO_PROPERTIES): Buffer {
  if (version !== 5) return Buffer.from([PacketType.CONNACK << 4, 2, present && version !== 3 ? 1 : 0, code])
  return withProperties(PacketType.CONNACK << 4, [present ? 1 : 0, code], properties, [])
}

/** @param codes one for each filter, in their order [MQTT-3.8.4-6] */
export function encodeSuback(version: Version, packetId: number, codes: readonly number[]): Buffer {
  const head = [packetId >> 8, packetId & 0xff]
  if (version === 5) return withProperties(PacketType.SUBACK << 4, head, NO_PROPERTIES, codes)
  const { packet, at } = begin(PacketType.SUBACK << 4, 2 + codes.length)
  packet.set(head, at)
  packet.set(codes, at + 2)
  return packet
}

/** Before MQTT 5 the codes are left out. */
export function encodeUnsuback(version: Version, packetId: number, codes: readonly number[]): Buffer {
  const head = [packetId >> 8, packetId & 0xff]
  if (version === 5) return withProperties(PacketType.UNSUBACK << 4, head, NO_PROPERTIES, codes)
  return Buffer.from([PacketType.UNSUBACK << 4, 2, ...head])
}

/** PINGRESP; the same bytes every time. */
export const PINGRESP = Buffer.from([PacketType.PINGRESP << 4, 0])

/** Only MQTT 5 servers send it. */
export function encodeDisconnect(reason: number, properties = NO_PROPERTIES): Buffer {
  if (properties === NO_PROPERTIES) return Buffer.from([PacketType.DISCONNECT << 4, 1, reason])
  return withProperties(PacketType.DISCONNECT << 4, [reason], properties, [])
}

export function encodeAuth(reason: number, properties: Readonly<Properties>): Buffer {
  return withProperties(PacketType.AUTH << 4, [reason], properties, [])
}

/** What {@link encodePublish} writes. */
export interface PublishFields {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: Qos
  readonly retain: boolean
  /** Ignored before MQTT 5. */
  readonly properties: Readonly<Properties>
}

/** An encoded PUBLISH, to be copied and patched for each receiver. */
export class EncodedPublish {
  readonly bytes: Buffer
  /** Where the two bytes of the packet identifier go; 0 at QoS 0. */
  readonly idAt: number

  constructor(bytes: Buffer, idAt: number) {
    this.bytes = bytes
    this.idAt = idAt
  }
}

/** Encodes a PUBLISH with DUP 0 and a packet identifier of 0, which {@link EncodedPublish.idAt} says where to patch. */
export function encodePublish(v5: boolean, fields: PublishFields): EncodedPublish {
  const { topic, payload, qos } = fields
  const topicLength = Buffer.byteLength(topic)
  const inner = v5 ? propertiesLength(fields.properties) : 0
  const block = v5 ? varintLength(inner) + inner : 0
  const first = (PacketType.PUBLISH << 4) | (qos << 1) | (fields.retain ? 1 : 0)
  const { packet, at } = begin(first, 2 + topicLength + (qos > 0 ? 2 : 0) + block + payload.length)
  let pos = writeText(packet, at, topic)
  const idAt = qos > 0 ? pos : 0
  if (qos > 0) pos = packet.writeUInt16BE(0, pos)
  if (v5) pos = writeProperties(packet, writeVarint(packet, pos, inner), fields.properties)
  packet.set(payload, pos)
  return new EncodedPublish(packet, idAt)
}
