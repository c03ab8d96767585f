/**
 * A message on its way between gateways, and in the journal of retained messages. One encoding for peers, NATS and
 * disk, made once per message (kept in `message.encoded` under `bus`):
 *
 *     u8       version: 1
 *     u8       flags: bits 0-1 QoS, bit 2 RETAIN, bit 3 properties follow
 *     varint   at: wall-clock milliseconds when the first gateway took it
 *     text     topic            (text and octets: varint length, then the bytes; text is UTF-8)
 *     text     publisher        device id; empty for a worker
 *     [properties, when bit 3 is set]
 *       u8     mask: bit 0 payloadFormat, 1 expiry, 2 contentType, 3 responseTopic, 4 correlationData, 5 user
 *       u8     payloadFormat, 0 or 1
 *       varint expiry, seconds counted from `at`
 *       text   contentType
 *       text   responseTopic
 *       octets correlationData
 *       varint number of user properties, then name and value as text each, in order, repeated names kept
 *     ...      payload: everything that is left
 *
 * Varints are Protobuf's (7 bits a byte, least significant first, up to 2^53 - 1). Absent properties take no bytes.
 */

import { isTopicName } from '../../proto/topic.js'
import type { Message, MessageProperties } from '../ports.js'
import { OctetReader, OctetWriter } from './octets.js'

/** First byte of every envelope; another one is refused. */
export const ENVELOPE_VERSION = 1

/** Key of the envelope in `message.encoded`. */
export const ENVELOPE_KEY = 'bus'

const HAS_FORMAT = 1
const HAS_EXPIRY = 2
const HAS_CONTENT_TYPE = 4
const HAS_RESPONSE_TOPIC = 8
const HAS_CORRELATION = 16
const HAS_USER = 32

/** The envelope of `message`; made on first use and then shared. */
export function envelopeOf(message: Message): Uint8Array {
  const known = message.encoded.get(ENVELOPE_KEY)
  if (known !== undefined) return known
  const made = encode(message)
  message.encoded.set(ENVELOPE_KEY, made)
  return made
}

function encode(message: Message): Uint8Array {
  const { topic, payload, properties } = message
  const out = new OctetWriter(topic.length + payload.length + 64)
  out.u8(ENVELOPE_VERSION)
  out.u8(message.qos | (message.retain ? 4 : 0) | (properties === undefined ? 0 : 8))
  out.varint(message.at)
  out.text(topic)
  out.text(message.publisher)
  if (properties !== undefined) writeProperties(out, properties)
  out.raw(payload)
  return out.take()
}

function writeProperties(out: OctetWriter, properties: MessageProperties): void {
  const { payloadFormat, expiry, contentType, responseTopic, correlationData, user } = properties
  out.u8(
    (payloadFormat === undefined ? 0 : HAS_FORMAT) |
      (expiry === undefined ? 0 : HAS_EXPIRY) |
      (contentType === undefined ? 0 : HAS_CONTENT_TYPE) |
      (responseTopic === undefined ? 0 : HAS_RESPONSE_TOPIC) |
      (correlationData === undefined ? 0 : HAS_CORRELATION) |
      (user === undefined ? 0 : HAS_USER),
  )
  if (payloadFormat !== undefined) out.u8(payloadFormat)
  if (expiry !== undefined) out.varint(expiry)
  if (contentType !== undefined) out.text(contentType)
  if (responseTopic !== undefined) out.text(responseTopic)
  if (correlationData !== undefined) out.octets(correlationData)
  if (user === undefined) return
  out.varint(user.length)
  for (const [name, value] of user) {
    out.text(name)
    out.text(value)
  }
}

/**
 * The message in `bytes[start, end)`; everything in it is copied.
 * @throws RangeError or TypeError when the bytes are no envelope of this version
 */
export function decodeEnvelope(bytes: Uint8Array, start = 0, end = bytes.length): Message {
  const reader = new OctetReader(bytes, start, end)
  const version = reader.u8()
  if (version !== ENVELOPE_VERSION) throw new RangeError(`envelope version ${version}, not ${ENVELOPE_VERSION}`)
  const flags = reader.u8()
  const qos = flags & 3
  if (qos === 3 || flags > 15) throw new RangeError(`envelope flags ${flags}`)
  const at = reader.varint()
  const topic = reader.text()
  if (!isTopicName(topic)) throw new RangeError('envelope without a valid topic')
  const publisher = reader.text()
  const properties = (flags & 8) === 0 ? undefined : readProperties(reader)
  const payload = bytes.slice(reader.pos, end)
  return {
    topic,
    payload,
    qos: qos as 0 | 1 | 2,
    retain: (flags & 4) !== 0,
    publisher,
    properties,
    at,
    encoded: new Map(),
  }
}

function readProperties(reader: OctetReader): MessageProperties {
  const mask = reader.u8()
  if (mask > 63) throw new RangeError(`property mask ${mask}`)
  const properties: MessageProperties = {}
  if (mask & HAS_FORMAT) properties.payloadFormat = readFormat(reader)
  if (mask & HAS_EXPIRY) properties.expiry = readExpiry(reader)
  if (mask & HAS_CONTENT_TYPE) properties.contentType = reader.text()
  if (mask & HAS_RESPONSE_TOPIC) properties.responseTopic = reader.text()
  if (mask & HAS_CORRELATION) properties.correlationData = reader.octets()
  if (mask & HAS_USER) properties.user = readUser(reader)
  return properties
}

function readFormat(reader: OctetReader): 0 | 1 {
  const format = reader.u8()
  if (format > 1) throw new RangeError(`payload format ${format}`)
  return format as 0 | 1
}

/** MQTT's expiry is a 32-bit number of seconds [MQTT 5.0, 3.3.2.3.3]. */
function readExpiry(reader: OctetReader): number {
  const expiry = reader.varint()
  if (expiry > 0xffffffff) throw new RangeError(`expiry of ${expiry} s`)
  return expiry
}

function readUser(reader: OctetReader): [string, string][] {
  const count = reader.varint()
  // A pair takes two bytes at least: a hostile count must not reserve memory.
  if (count > reader.left / 2) throw new RangeError(`${count} user properties in ${reader.left} bytes`)
  const user: [string, string][] = []
  for (let i = 0; i < count; i++) user.push([reader.text(), reader.text()])
  return user
}

/** True when the message's expiry has passed at `wall` milliseconds. */
export function isExpired(message: Message, wall: number): boolean {
  const expiry = message.properties?.expiry
  return expiry !== undefined && message.at + expiry * 1000 <= wall
}
