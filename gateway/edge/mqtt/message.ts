import { type EncodedPublish, encodePublish } from '../../../proto/mqtt/encode.js'
import type { Qos } from '../../../proto/mqtt/packet.js'
import { NO_PROPERTIES, type Properties } from '../../../proto/mqtt/properties.js'
import type { Message, MessageProperties } from '../../ports.js'

/** A message that an MQTT device published. Its map of encodings is made only when somebody asks for it. */
export class DeviceMessage implements Message {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: Qos
  readonly retain: boolean
  readonly publisher: string
  readonly properties: MessageProperties | undefined
  readonly at: number
  #encoded: Map<string, Uint8Array> | undefined
  /**
   * The PUBLISH as it came, `source[start, end)`, when it may leave like that, but for its packet identifier, at the
   * same QoS and without RETAIN, to clients of the same protocol.
   */
  source: Buffer | undefined
  start = 0
  end = 0
  /** Where its packet identifier stands, from `start` on; 0 at QoS 0. */
  idAt = 0
  sourceV5 = false
  /** Encodings at QoS 1 without RETAIN. */
  acked3: EncodedPublish | undefined
  acked5: EncodedPublish | undefined

  constructor(
    topic: string,
    payload: Uint8Array,
    qos: Qos,
    retain: boolean,
    publisher: string,
    properties: MessageProperties | undefined,
    at: number,
  ) {
    this.topic = topic
    this.payload = payload
    this.qos = qos
    this.retain = retain
    this.publisher = publisher
    this.properties = properties
    this.at = at
  }

  get encoded(): Map<string, Uint8Array> {
    this.#encoded ??= new Map()
    return this.#encoded
  }
}

/** The message's properties from those of a PUBLISH or a will, in their order; undefined when there is none that travels. */
export function messageProperties(from: Properties): MessageProperties | undefined {
  const found: MessageProperties = {}
  let some = false
  for (const name in from) {
    some = true
    if (name === 'payloadFormat') found.payloadFormat = from.payloadFormat as 0 | 1
    else if (name === 'messageExpiry') found.expiry = from.messageExpiry as number
    else if (name === 'contentType') found.contentType = from.contentType as string
    else if (name === 'responseTopic') found.responseTopic = from.responseTopic as string
    else if (name === 'correlationData') found.correlationData = Uint8Array.from(from.correlationData as Uint8Array)
    else if (name === 'user') found.user = from.user as [string, string][]
    else if (name === 'order') found.order = from.order as readonly number[]
    else some = Object.keys(found).length > 0
  }
  return some ? found : undefined
}

/** The properties that a PUBLISH to a client carries. */
export function wireProperties(
  message: Message,
  now: number,
  ids: readonly number[] | undefined,
  topicAlias: number,
): Properties {
  const from = message.properties
  const to: Properties = {}
  for (const name in from) {
    if (name === 'payloadFormat') to.payloadFormat = from.payloadFormat as 0 | 1
    // [MQTT-3.3.2-6]: what is left of it.
    else if (name === 'expiry') to.messageExpiry = secondsLeft(message, now)
    else if (name === 'contentType') to.contentType = from.contentType as string
    else if (name === 'responseTopic') to.responseTopic = from.responseTopic as string
    else if (name === 'correlationData') to.correlationData = from.correlationData as Uint8Array
    else if (name === 'user') to.user = from.user as [string, string][]
    else if (name === 'order') to.order = from.order as readonly number[]
  }
  if (ids !== undefined) to.subscriptionIds = ids as number[]
  if (topicAlias > 0) to.topicAlias = topicAlias
  return to
}

/** True when its expiry passed [MQTT-3.3.2-5]. */
export function isExpired(message: Message, now: number): boolean {
  const expiry = message.properties?.expiry
  return expiry !== undefined && now - message.at >= expiry * 1000 && now > message.at
}

function secondsLeft(message: Message, now: number): number {
  const expiry = message.properties?.expiry ?? 0
  return Math.max(expiry > 0 ? 1 : 0, expiry - Math.floor(Math.max(0, now - message.at) / 1000))
}

/**
 * The encoding for receivers without subscription identifiers and aliases, made once per version, QoS and RETAIN.
 * Messages with an expiry are encoded afresh, since it counts down.
 */
export function encodedFor(message: Message, v5: boolean, qos: Qos, retain: boolean, now: number): EncodedPublish {
  if (v5 && message.properties?.expiry !== undefined) return encode(message, v5, qos, retain, now)
  if (qos === 1 && !retain && message instanceof DeviceMessage) {
    if (v5) {
      message.acked5 ??= encode(message, true, 1, false, now)
      return message.acked5
    }
    message.acked3 ??= encode(message, false, 1, false, now)
    return message.acked3
  }
  const key = KEYS[(v5 ? 6 : 0) + qos * 2 + (retain ? 1 : 0)] as string
  const known = message.encoded.get(key)
  if (known !== undefined) return { bytes: known as Buffer, idAt: qos === 0 ? 0 : idOffset(known) }
  const made = encode(message, v5, qos, retain, now)
  message.encoded.set(key, made.bytes)
  return made
}

const KEYS = [3, 5].flatMap((version) =>
  [0, 1, 2].flatMap((qos) => [`mqtt${version}q${qos}`, `mqtt${version}q${qos}r`]),
)

function encode(message: Message, v5: boolean, qos: Qos, retain: boolean, now: number): EncodedPublish {
  const { topic, payload } = message
  const properties = v5 ? wireProperties(message, now, undefined, 0) : NO_PROPERTIES
  return encodePublish(v5, { topic, payload, qos, retain, properties })
}

/** Where the packet identifier of an encoded PUBLISH with QoS 1 or 2 stands. */
function idOffset(bytes: Uint8Array): number {
  let at = 1
  while ((bytes[at++] as number) >= 0x80);
  return at + 2 + (((bytes[at] as number) << 8) | (bytes[at + 1] as number))
}
