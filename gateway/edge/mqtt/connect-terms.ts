/** What a CONNECT and the edge's options agree on. */

import type { ConnectPacket } from '../../../proto/mqtt/connect.js'
import { ConnectRefused } from '../../../proto/mqtt/connect.js'
import { MqttError, type Qos, Reason, ReturnCode } from '../../../proto/mqtt/packet.js'
import type { Properties } from '../../../proto/mqtt/properties.js'
import { deviceIdOf } from '../device-id.js'
import { isReserved } from './access.js'
import type { EdgeContext } from './context.js'
import { LARGEST_PACKET, type MqttOptions } from './options.js'

/** Shared: most clients say nothing about themselves. */
const NO_ATTRIBUTES: Readonly<Record<string, string>> = Object.freeze({})

/** A will as the connection keeps it: nothing of it shares memory with the CONNECT. */
export interface Will {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: Qos
  readonly retain: boolean
  readonly properties: Properties
  /** Seconds. */
  readonly delay: number
}

/** What holds for one connection. */
export interface Terms {
  readonly v5: boolean
  /** A broker's bridge: it hears nothing of its own, and the retain flag as it was published. */
  readonly bridge: boolean
  /** The client id as CONNECT has it, or made up here where it has none; see {@link deviceIdOf}. */
  readonly device: string
  /** True when the gateway made the id up. */
  readonly assigned: boolean
  readonly clean: boolean
  /** Seconds, 0 for none. */
  readonly keepAlive: number
  readonly keepAliveChanged: boolean
  /** Seconds that the session outlives the connection. */
  readonly expiry: number
  readonly expiryChanged: boolean
  readonly window: number
  readonly maxPacket: number
  /** Topic aliases towards the client. */
  readonly aliases: number
  readonly wantsResponseInformation: boolean
  readonly attributes: Readonly<Record<string, string>>
  will: Will | undefined
}

/** @throws ConnectRefused when there is no client id and has to be one, MqttError (silent) when the will cannot */
export function negotiate(packet: ConnectPacket, context: EdgeContext): Terms {
  const { version, properties, clean } = packet
  const { options } = context
  const expiry = expiryOf(packet, context)
  const granted = Math.min(expiry, options.maxSessionExpiry)
  const keepAlive = keepAliveOf(packet, options.maxKeepAlive)
  return {
    v5: version === 5,
    bridge: packet.bridge,
    device: deviceOf(packet, context),
    assigned: packet.clientId === '',
    clean,
    keepAlive,
    keepAliveChanged: keepAlive !== packet.keepAlive,
    expiry: granted,
    expiryChanged: granted !== expiry,
    window: Math.min(properties.receiveMaximum ?? 65535, options.maxInflight),
    maxPacket: properties.maximumPacketSize ?? Number.POSITIVE_INFINITY,
    aliases: Math.min(properties.topicAliasMaximum ?? 0, options.outboundAliases),
    wantsResponseInformation: properties.requestResponse === 1 && options.responseInformation !== '',
    attributes: properties.user === undefined ? NO_ATTRIBUTES : Object.fromEntries(properties.user),
    will: willOf(packet),
  }
}

function expiryOf({ version, clean, properties }: ConnectPacket, { options }: EdgeContext): number {
  if (version === 5) return properties.sessionExpiry ?? 0
  return clean ? 0 : options.legacySessionExpiry
}

function keepAliveOf({ version, keepAlive }: ConnectPacket, most: number): number {
  // Before MQTT 5 the client cannot be told of another one.
  if (version !== 5 || most === 0 || (keepAlive > 0 && keepAlive <= most)) return keepAlive
  return most
}

function deviceOf({ version, clientId, clean }: ConnectPacket, context: EdgeContext): string {
  if (clientId === '') {
    // [MQTT-3.1.3-8] of 3.1.1: without an id only a clean session; MQTT 3.1 wants an id always.
    if (version === 3 || (version === 4 && !clean)) {
      throw new ConnectRefused(version, ReturnCode.IDENTIFIER_REJECTED, 'the client identifier is empty')
    }
    return context.newClientId()
  }
  return deviceIdOf(clientId)
}

function willOf({ will }: ConnectPacket): Will | undefined {
  if (will === undefined) return undefined
  const { topic, qos, retain, properties } = will
  // Without a word, as Mosquitto: whoever has others publish there for it when it is gone is no client to talk to.
  if (isReserved(topic)) {
    throw new MqttError(Reason.TOPIC_NAME_INVALID, `the will topic ${topic} is the gateway's own`, true)
  }
  return { topic, payload: Uint8Array.from(will.payload), qos, retain, properties, delay: properties.willDelay ?? 0 }
}

/** The session goes on with another connection, which decides whether the will of this one is still to be sent. */
export function goOnElsewhere(terms: Terms | undefined, { willOnTakeover }: MqttOptions): void {
  // One with a delay is not [MQTT-3.1.3-9]. Without one, the new connection comes before the delay of 0 is over as well,
  // and may delete it [MQTT-3.1.2-8 of 5.0]; MQTT 3.1.1 by its letter publishes it.
  if (terms?.will !== undefined && (terms.will.delay > 0 || !willOnTakeover)) terms.will = undefined
}

/** The properties of the CONNACK that accepts these terms. Only what differs from the specification's defaults. */
export function connackProperties(
  terms: Terms,
  { options }: EdgeContext,
  authMethod: string | undefined,
  authData: Uint8Array | undefined,
): Properties {
  // In the order of Mosquitto, whose tests compare bytes.
  const found: Properties = {}
  if (terms.keepAliveChanged) found.serverKeepAlive = terms.keepAlive
  if (options.topicAliasMaximum > 0) found.topicAliasMaximum = options.topicAliasMaximum
  if (terms.assigned) found.assignedClientId = terms.device
  if (terms.expiryChanged) found.sessionExpiry = terms.expiry
  if (terms.wantsResponseInformation) {
    found.responseInformation = options.responseInformation.replaceAll('%c', terms.device)
  }
  if (authMethod !== undefined) found.authMethod = authMethod
  if (authData !== undefined) found.authData = authData
  if (options.maxPacket < LARGEST_PACKET) found.maximumPacketSize = options.maxPacket
  found.receiveMaximum = options.receiveMaximum
  return found
}

/** The return code before MQTT 5 that comes closest to a reason code. */
export function legacyCode(reason: number): number {
  switch (reason) {
    case Reason.CLIENT_ID_NOT_VALID:
      return ReturnCode.IDENTIFIER_REJECTED
    case Reason.BAD_USER_NAME_OR_PASSWORD:
      return ReturnCode.BAD_USER_NAME_OR_PASSWORD
    case Reason.UNSUPPORTED_VERSION:
      return ReturnCode.UNACCEPTABLE_VERSION
    case Reason.SERVER_UNAVAILABLE:
    case Reason.SERVER_BUSY:
    case Reason.USE_ANOTHER_SERVER:
      return ReturnCode.SERVER_UNAVAILABLE
    default:
      return ReturnCode.NOT_AUTHORIZED
  }
}
