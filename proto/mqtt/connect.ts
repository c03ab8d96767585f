/** CONNECT (MQTT 5.0 section 3.1, MQTT 3.1.1 section 3.1) and its answer's codes. */

import { Cursor } from './cursor.js'
import { MqttError, malformed, PacketType, type Qos, Reason, ReturnCode, type Version } from './packet.js'
import { NO_PROPERTIES, type Properties, readProperties, WILL_PROPERTIES } from './properties.js'

/** The message that a server publishes when the connection ends badly (MQTT 5.0 section 3.1.2.5). */
export interface Will {
  readonly topic: string
  /** A view of the packet: copy it to keep it. */
  readonly payload: Uint8Array
  readonly qos: Qos
  readonly retain: boolean
  readonly properties: Properties
}

export interface ConnectPacket {
  readonly version: 3 | 4 | 5
  /** The client is a broker that bridges, and said so: see {@link BRIDGE}. */
  readonly bridge: boolean
  /** Clean Start of 5.0, Clean Session before. */
  readonly clean: boolean
  /** Seconds; 0 turns the check off. */
  readonly keepAlive: number
  readonly properties: Properties
  /** May be empty. */
  readonly clientId: string
  readonly will: Will | undefined
  readonly username: string | undefined
  readonly password: Uint8Array | undefined
}

/** A CONNECT that is refused with a CONNACK of the given version; `code` is in that version's numbers. */
export class ConnectRefused extends Error {
  readonly version: 3 | 4 | 5
  readonly code: number

  constructor(version: 3 | 4 | 5, code: number, message: string) {
    super(message)
    this.name = 'ConnectRefused'
    this.version = version
    this.code = code
  }
}

/**
 * The top bit of the protocol level: no specification has it, brokers before MQTT 5 announce a bridge with it, Mosquitto
 * by default. Who refuses it sees them come back without it, and then echoes to them what they sent.
 */
const BRIDGE = 0x80

const silent = (message: string): MqttError => new MqttError(Reason.MALFORMED_PACKET, message, true)

/**
 * Decodes a CONNECT; its body is `bytes[start, end)`.
 * @throws ConnectRefused when a CONNACK says why, MqttError (silent) when the network connection is just closed
 */
export function readConnect(flags: number, bytes: Buffer, start: number, end: number): ConnectPacket {
  const cursor = new Cursor().set(bytes, start, end)
  const { version, bridge } = readVersion(cursor)
  // [MQTT-2.1.3-1]; MQTT 3.1 does not use the flags of the fixed header.
  if (version !== 3 && flags !== 0) throw silent('CONNECT has reserved flags')
  const bits = readFlags(cursor, version)
  const keepAlive = quietly(() => cursor.uint16())
  try {
    return { version, bridge, ...readRest(cursor, version, bits, keepAlive) }
  } catch (error) {
    if (error instanceof MqttError && !error.silent && version === 5)
      throw new ConnectRefused(5, error.reason, error.message)
    throw error instanceof MqttError ? silent(error.message) : error
  }
}

function quietly<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw silent((error as Error).message)
  }
}

/** [MQTT-3.1.2-1], [MQTT-3.1.2-2] */
function readVersion(cursor: Cursor): { version: 3 | 4 | 5; bridge: boolean } {
  const name = quietly(() => cursor.text())
  if (name !== 'MQTT' && name !== 'MQIsdp') throw silent('CONNECT names another protocol')
  const level = quietly(() => cursor.byte())
  const bridge = level === (BRIDGE | (name === 'MQTT' ? 4 : 3))
  if (bridge) return { version: name === 'MQTT' ? 4 : 3, bridge }
  if (name === 'MQTT' ? level === 4 || level === 5 : level === 3) return { version: level as 3 | 4 | 5, bridge }
  if (level === 3 || level === 4) {
    throw new ConnectRefused(4, ReturnCode.UNACCEPTABLE_VERSION, `protocol level ${level} does not go with ${name}`)
  }
  throw new ConnectRefused(5, Reason.UNSUPPORTED_VERSION, `protocol level ${level} is not supported`)
}

/** [MQTT-3.1.2-3], [MQTT-3.1.2-11] to [MQTT-3.1.2-15] */
function readFlags(cursor: Cursor, version: Version): number {
  const bits = quietly(() => cursor.byte())
  if (version !== 3 && (bits & 1) !== 0) throw silent('CONNECT has its reserved flag set')
  if ((bits & 0x18) === 0x18) throw silent('the will has QoS 3')
  if ((bits & 0x04) === 0 && (bits & 0x38) !== 0) throw silent('will flags are set without a will')
  // [MQTT-3.1.2-22] of 3.1.1; 5.0 allows a password without a user name.
  if (version !== 5 && (bits & 0xc0) === 0x40) throw silent('a password needs a user name before MQTT 5')
  return bits
}

function readRest(
  cursor: Cursor,
  version: Version,
  bits: number,
  keepAlive: number,
): Omit<ConnectPacket, 'version' | 'bridge'> {
  const properties = version === 5 ? readProperties(cursor, PacketType.CONNECT) : NO_PROPERTIES
  if (properties.authData !== undefined && properties.authMethod === undefined) {
    throw new MqttError(Reason.PROTOCOL_ERROR, 'authentication data without a method')
  }
  const clientId = readClientId(cursor)
  const will = (bits & 0x04) === 0 ? undefined : readWill(cursor, version, bits)
  // MQTT 3.1 lets both be missing although their flags are set (section 3.1).
  const left = (): boolean => version !== 3 || cursor.left > 0
  const username = (bits & 0x80) !== 0 && left() ? quietly(() => cursor.text()) : undefined
  const password = (bits & 0x40) !== 0 && left() ? quietly(() => cursor.binary()) : undefined
  if (cursor.left > 0) throw malformed('CONNECT is longer than its fields')
  return { clean: (bits & 0x02) !== 0, keepAlive, properties, clientId, will, username, password }
}

function readClientId(cursor: Cursor): string {
  const complete = holdsField(cursor)
  try {
    return cursor.text()
  } catch (error) {
    // [MQTT-3.1.3-8]: an id that is there but not valid text has a code of its own.
    if (complete) throw new MqttError(Reason.CLIENT_ID_NOT_VALID, 'the client identifier is not valid text')
    throw error
  }
}

/** True when the packet holds all bytes of the field at the cursor, whatever they are. */
function holdsField(cursor: Cursor): boolean {
  return cursor.left >= 2 && cursor.left - 2 >= cursor.bytes.readUInt16BE(cursor.pos)
}

function readWill(cursor: Cursor, version: Version, bits: number): Will {
  const properties = version === 5 ? readProperties(cursor, WILL_PROPERTIES) : NO_PROPERTIES
  // Whole but not valid text: closed without a word, as a user name like that is. Cut off: malformed.
  const topic = holdsField(cursor) ? quietly(() => cursor.text()) : cursor.text()
  if (topic === '' || /[+#]/.test(topic)) throw malformed('the will topic is not a topic name')
  const payload = cursor.binary()
  return { topic, payload, qos: ((bits >> 3) & 3) as Qos, retain: (bits & 0x20) !== 0, properties }
}
