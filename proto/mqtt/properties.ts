/** MQTT 5.0 properties (section 2.2.2): one table says what each is, and which packets may carry it. */

import type { Cursor } from './cursor.js'
import { MqttError, malformed, PacketType, Reason } from './packet.js'

/** The properties of one packet. User properties keep their order [MQTT-3.3.2-18]. */
export interface Properties {
  payloadFormat?: number
  messageExpiry?: number
  contentType?: string
  responseTopic?: string
  correlationData?: Uint8Array
  /** More than one only in a PUBLISH to a client. */
  subscriptionIds?: number[]
  sessionExpiry?: number
  assignedClientId?: string
  serverKeepAlive?: number
  authMethod?: string
  authData?: Uint8Array
  requestProblem?: number
  willDelay?: number
  requestResponse?: number
  responseInformation?: string
  serverReference?: string
  reasonString?: string
  receiveMaximum?: number
  topicAliasMaximum?: number
  topicAlias?: number
  maximumQos?: number
  retainAvailable?: number
  user?: [string, string][]
  maximumPacketSize?: number
  wildcardAvailable?: number
  subscriptionIdsAvailable?: number
  sharedAvailable?: number
  /** Ids in the order in which they came, only where user properties stand apart with others in between. */
  order?: readonly number[]
}

const BYTE = 0
const UINT16 = 1
const UINT32 = 2
const VARINT = 3
const TEXT = 4
const BINARY = 5
const PAIR = 6

/** Stands for the will properties in {@link readProperties}; no packet has type 0. */
export const WILL_PROPERTIES = 0

interface Entry {
  readonly id: number
  readonly name: keyof Properties
  readonly kind: number
  /** Bit n: packets of type n may carry it; bit 0: a will may. */
  readonly packets: number
  /** True when a value is allowed; undefined: all are. */
  readonly accepts: ((value: number | string) => boolean) | undefined
}

const on = (...types: number[]): number => types.reduce((mask, type) => mask | (1 << type), 0)
const { CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP } = PacketType
const { SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, DISCONNECT, AUTH } = PacketType
const ACKS = on(PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK)
const MESSAGE = on(PUBLISH, WILL_PROPERTIES)

const flag = (value: number | string): boolean => value === 0 || value === 1
const positive = (value: number | string): boolean => value !== 0
// [MQTT-3.3.2-13], [MQTT-3.3.2-14]: a response topic is a topic name.
const topicName = (value: number | string): boolean => value !== '' && !/[+#]/.test(value as string)

const TABLE: (Entry | undefined)[] = []
const BY_NAME: Record<string, Entry> = Object.create(null)
function define(id: number, name: keyof Properties, kind: number, packets: number, accepts?: Entry['accepts']): void {
  const entry = { id, name, kind, packets, accepts }
  TABLE[id] = entry
  BY_NAME[name] = entry
}
define(0x01, 'payloadFormat', BYTE, MESSAGE, flag)
define(0x02, 'messageExpiry', UINT32, MESSAGE)
define(0x03, 'contentType', TEXT, MESSAGE)
define(0x08, 'responseTopic', TEXT, MESSAGE, topicName)
define(0x09, 'correlationData', BINARY, MESSAGE)
define(0x0b, 'subscriptionIds', VARINT, on(PUBLISH, SUBSCRIBE), positive)
define(0x11, 'sessionExpiry', UINT32, on(CONNECT, CONNACK, DISCONNECT))
define(0x12, 'assignedClientId', TEXT, on(CONNACK))
define(0x13, 'serverKeepAlive', UINT16, on(CONNACK))
define(0x15, 'authMethod', TEXT, on(CONNECT, CONNACK, AUTH))
define(0x16, 'authData', BINARY, on(CONNECT, CONNACK, AUTH))
define(0x17, 'requestProblem', BYTE, on(CONNECT), flag)
define(0x18, 'willDelay', UINT32, on(WILL_PROPERTIES))
define(0x19, 'requestResponse', BYTE, on(CONNECT), flag)
define(0x1a, 'responseInformation', TEXT, on(CONNACK))
define(0x1c, 'serverReference', TEXT, on(CONNACK, DISCONNECT))
define(0x1f, 'reasonString', TEXT, on(CONNACK, DISCONNECT, AUTH) | ACKS)
define(0x21, 'receiveMaximum', UINT16, on(CONNECT, CONNACK), positive)
define(0x22, 'topicAliasMaximum', UINT16, on(CONNECT, CONNACK))
define(0x23, 'topicAlias', UINT16, on(PUBLISH), positive)
define(0x24, 'maximumQos', BYTE, on(CONNACK), flag)
define(0x25, 'retainAvailable', BYTE, on(CONNACK), flag)
define(0x26, 'user', PAIR, MESSAGE | ACKS | on(CONNECT, CONNACK, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT, AUTH))
define(0x27, 'maximumPacketSize', UINT32, on(CONNECT, CONNACK), positive)
define(0x28, 'wildcardAvailable', BYTE, on(CONNACK), flag)
define(0x29, 'subscriptionIdsAvailable', BYTE, on(CONNACK), flag)
define(0x2a, 'sharedAvailable', BYTE, on(CONNACK), flag)

/** What a packet without properties has; shared, never written to. */
export const NO_PROPERTIES: Readonly<Properties> = Object.freeze({})

/**
 * Reads the property length and the properties at the cursor.
 * @param packet type of the packet, or {@link WILL_PROPERTIES}
 * @throws MqttError 0x81 for bytes that are no properties, 0x82 for a duplicate, a value out of range, or a property
 * that does not belong into the packet (0x81 in SUBSCRIBE and UNSUBSCRIBE, where it reads as a broken packet). Bytes
 * are judged before meaning: a packet with both faults is malformed.
 */
export function readProperties(cursor: Cursor, packet: number): Properties {
  const length = cursor.varint()
  if (length === 0) return NO_PROPERTIES
  const stop = cursor.pos + length
  const outer = cursor.end
  if (stop > outer) throw malformed('the properties are longer than the packet')
  const found: Properties = {}
  let fault: MqttError | undefined
  const order: number[] = []
  cursor.end = stop
  while (cursor.pos < stop) {
    const id = cursor.varint()
    const entry = TABLE[id]
    if (entry === undefined) throw malformed(`property 0x${id.toString(16)} does not exist`)
    // A user property that does not follow the one before it.
    if (entry.kind === PAIR && found.user !== undefined && order.at(-1) !== id) found.order = order
    order.push(id)
    const wrong = readOne(cursor, entry, found, packet)
    fault ??= wrong
  }
  cursor.end = outer
  if (fault !== undefined) throw fault
  return found
}

/** Reads one property into `found`; returns what is wrong with it beyond its bytes. */
function readOne(cursor: Cursor, entry: Entry, found: Properties, packet: number): MqttError | undefined {
  const { name } = entry
  const twice = found[name] !== undefined
  if (entry.kind === PAIR) {
    const pair: [string, string] = [cursor.text(), cursor.text()]
    if (found.user === undefined) found.user = [pair]
    else found.user.push(pair)
  } else {
    const value = readValue(cursor, entry.kind)
    if (entry.accepts !== undefined && !entry.accepts(value as number | string)) {
      return new MqttError(Reason.PROTOCOL_ERROR, `property ${name} has a value that is not allowed`)
    }
    ;(found as Record<string, unknown>)[name] = entry.kind === VARINT ? [value as number] : value
  }
  if ((entry.packets & (1 << packet)) === 0) return stranger(name, packet)
  if (twice && entry.kind !== PAIR) return new MqttError(Reason.PROTOCOL_ERROR, `property ${name} occurs twice`)
  return undefined
}

function stranger(name: string, packet: number): MqttError {
  const broken = packet === SUBSCRIBE || packet === UNSUBSCRIBE
  const reason = broken ? Reason.MALFORMED_PACKET : Reason.PROTOCOL_ERROR
  return new MqttError(reason, `property ${name} does not belong into this packet`)
}

function readValue(cursor: Cursor, kind: number): number | string | Uint8Array {
  switch (kind) {
    case BYTE:
      return cursor.byte()
    case UINT16:
      return cursor.uint16()
    case UINT32:
      return cursor.uint32()
    case VARINT:
      return cursor.varint()
    case TEXT:
      return cursor.text()
    default:
      return cursor.binary()
  }
}

/** Bytes that a variable byte integer takes. */
export function varintLength(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : 4
}

/** Writes a variable byte integer (0 to 268,435,455); returns the position after it. */
export function writeVarint(into: Uint8Array, pos: number, value: number): number {
  while (value > 0x7f) {
    into[pos++] = (value & 0x7f) | 0x80
    value >>>= 7
  }
  into[pos++] = value
  return pos
}

/** Bytes of the properties without their length field. */
export function propertiesLength(properties: Readonly<Properties>): number {
  let length = 0
  for (const name in properties) {
    const entry = BY_NAME[name]
    const value = properties[name as keyof Properties]
    if (entry !== undefined && value !== undefined) length += valueLength(entry.kind, value)
  }
  return length
}

function valueLength(kind: number, value: unknown): number {
  switch (kind) {
    case BYTE:
      return 2
    case UINT16:
      return 3
    case UINT32:
      return 5
    case VARINT:
      return (value as number[]).reduce((sum, id) => sum + 1 + varintLength(id), 0)
    case TEXT:
      return 3 + Buffer.byteLength(value as string)
    case BINARY:
      return 3 + (value as Uint8Array).length
    default:
      return (value as [string, string][]).reduce((n, [k, v]) => n + 5 + Buffer.byteLength(k) + Buffer.byteLength(v), 0)
  }
}

/**
 * Writes the properties without their length field, in the order in which they were set, or in theirs if they have
 * one; returns the position after them.
 */
export function writeProperties(into: Buffer, pos: number, properties: Readonly<Properties>): number {
  const { order } = properties
  if (order !== undefined) pos = writeInOrder(into, pos, properties, order)
  for (const name in properties) {
    const entry = BY_NAME[name]
    if (entry === undefined || order?.includes(entry.id)) continue
    const value = properties[name as keyof Properties]
    if (value !== undefined) pos = writeValue(into, pos, entry, value)
  }
  return pos
}

function writeInOrder(into: Buffer, pos: number, properties: Readonly<Properties>, order: readonly number[]): number {
  let users = 0
  for (const id of order) {
    const entry = TABLE[id] as Entry
    const value = entry.kind === PAIR ? properties.user?.slice(users++, users) : properties[entry.name]
    if (value !== undefined) pos = writeValue(into, pos, entry, value)
  }
  return pos
}

function writeValue(into: Buffer, pos: number, { id, kind }: Entry, value: unknown): number {
  if (kind === VARINT) {
    for (const one of value as number[]) pos = writeVarint(into, into.writeUInt8(id, pos), one)
    return pos
  }
  if (kind === PAIR) {
    for (const [k, v] of value as [string, string][])
      pos = writeText(into, writeText(into, into.writeUInt8(id, pos), k), v)
    return pos
  }
  pos = into.writeUInt8(id, pos)
  if (kind === BYTE) return into.writeUInt8(value as number, pos)
  if (kind === UINT16) return into.writeUInt16BE(value as number, pos)
  if (kind === UINT32) return into.writeUInt32BE(value as number, pos)
  if (kind === TEXT) return writeText(into, pos, value as string)
  const data = value as Uint8Array
  into.set(data, into.writeUInt16BE(data.length, pos))
  return pos + 2 + data.length
}

/** Writes a string with its two byte length; returns the position after it. */
export function writeText(into: Buffer, pos: number, text: string): number {
  const length = into.write(text, pos + 2)
  into.writeUInt16BE(length, pos)
  return pos + 2 + length
}
