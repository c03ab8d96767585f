/** Packets that a client sends, besides CONNECT and PUBLISH. Each function throws MqttError. */

import { Cursor } from './cursor.js'
import { MqttError, malformed, PacketType, protocolError, type Qos, Reason, type Version } from './packet.js'
import { NO_PROPERTIES, type Properties, readProperties } from './properties.js'

/** PUBACK, PUBREC, PUBREL or PUBCOMP. One instance is reused: see {@link readAck}. */
export class Ack {
  packetId = 0
  reason = 0
}

/** One filter of a SUBSCRIBE with its options (MQTT 5.0 section 3.8.3.1). */
export interface FilterRequest {
  readonly filter: string
  readonly qos: Qos
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
}

export interface SubscribePacket {
  readonly packetId: number
  /** 0 for none. */
  readonly subscriptionId: number
  readonly filters: readonly FilterRequest[]
}

export interface UnsubscribePacket {
  readonly packetId: number
  readonly filters: readonly string[]
}

/** DISCONNECT or AUTH. */
export interface ReasonPacket {
  readonly reason: number
  readonly properties: Properties
}

const cursor = new Cursor()

const R = Reason
const PUBACK_REASONS = new Set<number>([
  R.SUCCESS,
  R.NO_MATCHING_SUBSCRIBERS,
  R.UNSPECIFIED,
  R.IMPLEMENTATION_SPECIFIC,
  R.NOT_AUTHORIZED,
  R.TOPIC_NAME_INVALID,
  R.PACKET_ID_IN_USE,
  R.QUOTA_EXCEEDED,
  R.PAYLOAD_FORMAT_INVALID,
])
const PUBREL_REASONS = new Set<number>([R.SUCCESS, R.PACKET_ID_NOT_FOUND])
// MQTT 5.0 table 3-10, column "Client".
const DISCONNECT_REASONS = new Set<number>([
  R.SUCCESS,
  R.DISCONNECT_WITH_WILL,
  R.UNSPECIFIED,
  R.MALFORMED_PACKET,
  R.PROTOCOL_ERROR,
  R.IMPLEMENTATION_SPECIFIC,
  R.TOPIC_NAME_INVALID,
  R.RECEIVE_MAXIMUM_EXCEEDED,
  R.TOPIC_ALIAS_INVALID,
  R.PACKET_TOO_LARGE,
  R.MESSAGE_RATE_TOO_HIGH,
  R.QUOTA_EXCEEDED,
  R.ADMINISTRATIVE_ACTION,
  R.PAYLOAD_FORMAT_INVALID,
])

/** The fixed header's flags are fixed from 3.1.1 on [MQTT-2.1.3-1]; MQTT 3.1 leaves DUP and QoS in some to the client. */
function checkFlags(version: Version, flags: number, wanted: number): void {
  if (version !== 3 && flags !== wanted) throw malformed('the reserved flags of the fixed header are wrong')
}

/** Reads PUBACK, PUBREC, PUBREL or PUBCOMP into `ack` (MQTT 5.0 sections 3.4 to 3.7). */
export function readAck(
  ack: Ack,
  version: Version,
  type: number,
  flags: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  checkFlags(version, flags, type === PacketType.PUBREL ? 2 : 0)
  if (end - start < 2) throw malformed('the packet has no packet identifier')
  ack.packetId = ((bytes[start] as number) << 8) | (bytes[start + 1] as number)
  ack.reason = 0
  if (ack.packetId === 0) throw protocolError('packet identifier 0')
  if (end - start === 2) return
  if (version !== 5) throw malformed('the packet is longer than its packet identifier')
  ack.reason = bytes[start + 2] as number
  if (end - start > 3) {
    cursor.set(bytes, start + 3, end)
    readProperties(cursor, type)
    if (cursor.left > 0) throw malformed('the packet is longer than its fields')
  }
  const allowed = type === PacketType.PUBACK || type === PacketType.PUBREC ? PUBACK_REASONS : PUBREL_REASONS
  if (!allowed.has(ack.reason)) throw protocolError(`reason code 0x${ack.reason.toString(16)} is not for this packet`)
}

function readPacketId(): number {
  const packetId = cursor.uint16()
  // [MQTT-2.2.1-3]
  if (packetId === 0) throw malformed('packet identifier 0')
  return packetId
}

/** MQTT 5.0 section 3.8. Filters are not checked beyond being text. */
export function readSubscribe(
  version: Version,
  flags: number,
  bytes: Buffer,
  start: number,
  end: number,
): SubscribePacket {
  checkFlags(version, flags, 2)
  cursor.set(bytes, start, end)
  const packetId = readPacketId()
  const properties = version === 5 ? readProperties(cursor, PacketType.SUBSCRIBE) : NO_PROPERTIES
  const filters: FilterRequest[] = []
  // [MQTT-3.8.3-2]
  if (cursor.left === 0) throw malformed('SUBSCRIBE has no filter')
  while (cursor.left > 0) filters.push(readFilter(version))
  return { packetId, subscriptionId: properties.subscriptionIds?.[0] ?? 0, filters }
}

function readFilter(version: Version): FilterRequest {
  const filter = cursor.text()
  const options = cursor.byte()
  const qos = options & 3
  const retainHandling = (options >> 4) & 3
  // [MQTT-3.8.3-5]; MQTT 3.1.1 has nothing but the QoS, and MQTT 3.1 reserves the rest without a rule.
  if (qos === 3) throw malformed('a subscription has QoS 3')
  if (version === 4 && options > 2) throw malformed('reserved subscription options are set')
  if (version === 5 && (options > 0x3f || retainHandling === 3))
    throw malformed('reserved subscription options are set')
  return {
    filter,
    qos: qos as Qos,
    noLocal: version === 5 && (options & 4) !== 0,
    retainAsPublished: version === 5 && (options & 8) !== 0,
    retainHandling: (version === 5 ? retainHandling : 0) as 0 | 1 | 2,
  }
}

/** MQTT 5.0 section 3.10. */
export function readUnsubscribe(
  version: Version,
  flags: number,
  bytes: Buffer,
  start: number,
  end: number,
): UnsubscribePacket {
  checkFlags(version, flags, 2)
  cursor.set(bytes, start, end)
  const packetId = readPacketId()
  if (version === 5) readProperties(cursor, PacketType.UNSUBSCRIBE)
  const filters: string[] = []
  // [MQTT-3.10.3-2]
  if (cursor.left === 0) throw malformed('UNSUBSCRIBE has no filter')
  while (cursor.left > 0) filters.push(cursor.text())
  return { packetId, filters }
}

/** PINGREQ (MQTT 5.0 section 3.12): nothing to return, but much to refuse. */
export function checkPing(version: Version, flags: number, start: number, end: number): void {
  checkFlags(version, flags, 0)
  if (end > start) throw malformed('PINGREQ has a body')
}

/** MQTT 5.0 section 3.14; without a body the reason is 0. */
export function readDisconnect(
  version: Version,
  flags: number,
  bytes: Buffer,
  start: number,
  end: number,
): ReasonPacket {
  checkFlags(version, flags, 0)
  if (version !== 5 && end > start) throw malformed('DISCONNECT has a body')
  const packet = readReason(PacketType.DISCONNECT, bytes, start, end)
  if (!DISCONNECT_REASONS.has(packet.reason)) throw protocolError('this reason code is not for a client to send')
  return packet
}

/** MQTT 5.0 section 3.15. */
export function readAuth(flags: number, bytes: Buffer, start: number, end: number): ReasonPacket {
  checkFlags(5, flags, 0)
  const packet = readReason(PacketType.AUTH, bytes, start, end)
  const { reason } = packet
  if (reason !== R.CONTINUE_AUTHENTICATION && reason !== R.REAUTHENTICATE) {
    throw new MqttError(R.PROTOCOL_ERROR, 'this reason code is not for a client to send')
  }
  return packet
}

function readReason(type: number, bytes: Buffer, start: number, end: number): ReasonPacket {
  cursor.set(bytes, start, end)
  const reason = cursor.left > 0 ? cursor.byte() : 0
  const properties = cursor.left > 0 ? readProperties(cursor, type) : NO_PROPERTIES
  if (cursor.left > 0) throw malformed('the packet is longer than its fields')
  return { reason, properties }
}
