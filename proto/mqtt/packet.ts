/** MQTT 3.1, 3.1.1 and 5.0: numbers of the wire format, and the one error that a bad packet raises. */

/** Control packet types (MQTT 5.0 section 2.1.2). */
export const PacketType = {
  RESERVED: 0,
  CONNECT: 1,
  CONNACK: 2,
  PUBLISH: 3,
  PUBACK: 4,
  PUBREC: 5,
  PUBREL: 6,
  PUBCOMP: 7,
  SUBSCRIBE: 8,
  SUBACK: 9,
  UNSUBSCRIBE: 10,
  UNSUBACK: 11,
  PINGREQ: 12,
  PINGRESP: 13,
  DISCONNECT: 14,
  AUTH: 15,
} as const

/** Protocol level byte of CONNECT: 3 is MQTT 3.1 (`MQIsdp`), 4 is 3.1.1, 5 is 5.0. 0: nothing was agreed yet. */
export type Version = 0 | 3 | 4 | 5

/** Quality of service (MQTT 5.0 section 4.3). */
export type Qos = 0 | 1 | 2

/** Reason codes (MQTT 5.0 section 2.4). */
export const Reason = {
  SUCCESS: 0x00,
  DISCONNECT_WITH_WILL: 0x04,
  NO_MATCHING_SUBSCRIBERS: 0x10,
  NO_SUBSCRIPTION_EXISTED: 0x11,
  CONTINUE_AUTHENTICATION: 0x18,
  REAUTHENTICATE: 0x19,
  UNSPECIFIED: 0x80,
  MALFORMED_PACKET: 0x81,
  PROTOCOL_ERROR: 0x82,
  IMPLEMENTATION_SPECIFIC: 0x83,
  UNSUPPORTED_VERSION: 0x84,
  CLIENT_ID_NOT_VALID: 0x85,
  BAD_USER_NAME_OR_PASSWORD: 0x86,
  NOT_AUTHORIZED: 0x87,
  SERVER_UNAVAILABLE: 0x88,
  SERVER_BUSY: 0x89,
  BANNED: 0x8a,
  SERVER_SHUTTING_DOWN: 0x8b,
  BAD_AUTHENTICATION_METHOD: 0x8c,
  KEEP_ALIVE_TIMEOUT: 0x8d,
  SESSION_TAKEN_OVER: 0x8e,
  TOPIC_FILTER_INVALID: 0x8f,
  TOPIC_NAME_INVALID: 0x90,
  PACKET_ID_IN_USE: 0x91,
  PACKET_ID_NOT_FOUND: 0x92,
  RECEIVE_MAXIMUM_EXCEEDED: 0x93,
  TOPIC_ALIAS_INVALID: 0x94,
  PACKET_TOO_LARGE: 0x95,
  MESSAGE_RATE_TOO_HIGH: 0x96,
  QUOTA_EXCEEDED: 0x97,
  ADMINISTRATIVE_ACTION: 0x98,
  PAYLOAD_FORMAT_INVALID: 0x99,
  RETAIN_NOT_SUPPORTED: 0x9a,
  QOS_NOT_SUPPORTED: 0x9b,
  USE_ANOTHER_SERVER: 0x9c,
  SERVER_MOVED: 0x9d,
  SHARED_NOT_SUPPORTED: 0x9e,
  CONNECTION_RATE_EXCEEDED: 0x9f,
  MAXIMUM_CONNECT_TIME: 0xa0,
  SUBSCRIPTION_IDS_NOT_SUPPORTED: 0xa1,
  WILDCARDS_NOT_SUPPORTED: 0xa2,
} as const

/** CONNACK return codes of MQTT 3.1 and 3.1.1 (MQTT 3.1.1 section 3.2.2.3). */
export const ReturnCode = {
  ACCEPTED: 0,
  UNACCEPTABLE_VERSION: 1,
  IDENTIFIER_REJECTED: 2,
  SERVER_UNAVAILABLE: 3,
  BAD_USER_NAME_OR_PASSWORD: 4,
  NOT_AUTHORIZED: 5,
} as const

/** Largest remaining length that four bytes can say (MQTT 5.0 section 1.5.5). */
export const MAX_REMAINING_LENGTH = 268_435_455

/**
 * A packet that breaks the protocol. Whoever catches it answers with `reason` where the protocol version and the
 * state of the connection allow it, and closes the network connection [MQTT-4.13.1-1].
 */
export class MqttError extends Error {
  readonly reason: number
  /** True: close without an answer, as the sender cannot be taken for an MQTT client of a known version. */
  readonly silent: boolean

  constructor(reason: number, message: string, silent = false) {
    super(message)
    this.name = 'MqttError'
    this.reason = reason
    this.silent = silent
  }
}

/** A Malformed Packet (MQTT 5.0 section 1.2): reason 0x81. */
export function malformed(message: string): MqttError {
  return new MqttError(Reason.MALFORMED_PACKET, message)
}

/** A Protocol Error (MQTT 5.0 section 1.2): reason 0x82. */
export function protocolError(message: string): MqttError {
  return new MqttError(Reason.PROTOCOL_ERROR, message)
}
