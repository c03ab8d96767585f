/** PUBLISH packets of one client: to the fan-out and to the worker that owns it. Made with the first one. */

import type { ErrorCode } from '../../../proto/errors.js'
import { FrameType } from '../../../proto/frame.js'
import { hash32, hashBytes } from '../../../proto/hash.js'
import { Cursor } from '../../../proto/mqtt/cursor.js'
import { MqttError, malformed, PacketType, protocolError, Reason, type Version } from '../../../proto/mqtt/packet.js'
import { NO_PROPERTIES, type Properties, readProperties } from '../../../proto/mqtt/properties.js'
import type { PublishView } from '../../../proto/mqtt/reader.js'
import { readText } from '../../../proto/mqtt/text.js'
import { isTopicName } from '../../../proto/topic.js'
import { type DeviceSession, type Message, Relay } from '../../ports.js'
import { type Access, checkLevels, isReserved } from './access.js'
import { InboundAliases } from './aliases.js'
import type { EdgeContext } from './context.js'
import { HandOvers } from './hand-overs.js'
import { DeviceMessage, messageProperties } from './message.js'
import type { OutBatch } from './out-batch.js'
import { Replies } from './replies.js'
import type { MqttSession } from './session.js'
import { UplinkAcks } from './uplink-acks.js'

/** The connection that an {@link Uplink} works for. */
export interface UplinkOwner {
  readonly context: EdgeContext
  readonly version: Version
  /** A bridge of a broker before MQTT 5: it is to hear nothing of its own. */
  readonly bridge: boolean
  readonly session: MqttSession
  readonly upstream: DeviceSession
  readonly access: Access
  readonly batch: OutBatch
  /** False once it is closed. */
  readonly alive: boolean
  /** A worker does not keep up: read nothing until it does. */
  stall(): void
}

const EMPTY = Buffer.alloc(0)
const cursor = new Cursor()

export class Uplink {
  readonly #owner: UplinkOwner
  readonly #v5: boolean
  #aliases: InboundAliases | undefined
  #acks: UplinkAcks | undefined
  #handOvers: HandOvers | undefined
  /** The message that is being published; undefined once the fan-out is through with it. */
  #publishing: Message | undefined
  readonly #handedOver = (message: Message): void => {
    if (message === this.#publishing) this.#publishing = undefined
    else this.#finished(message)
  }
  /** A worker was given something, so it may answer. */
  relayed = false
  /** QoS 1 messages whose PUBACK waits for a worker. */
  #unacked = 0
  // The last topic: publishers seldom change it, and a comparison is cheaper than decoding and checking.
  #topicBytes: Buffer = EMPTY
  #topic = ''
  #verdict = 0

  constructor(owner: UplinkOwner) {
    this.#owner = owner
    this.#v5 = owner.version === 5
  }

  /** @returns false when a worker is overloaded: the same packet has to be offered again */
  publish(view: PublishView): boolean {
    const { session } = this.#owner
    const properties = view.hasProperties ? this.#properties(view) : NO_PROPERTIES
    const topic = this.#resolve(view, properties)
    this.#owner.context.counters.received++
    if (view.qos > 0 && this.#alreadyKnown(view, topic)) return true
    if (this.#verdict !== 0) {
      this.#deny(view)
      return true
    }
    const message = this.#message(view, topic, properties, session.device)
    const seq = this.#relay(view, message, properties)
    if (seq === Relay.OVERLOADED) return false
    if (this.#v5) this.#rememberReply(topic, properties)
    if (view.qos === 0) this.#owner.context.fanout.publish(message)
    else if (view.qos === 1) this.#publishAtLeastOnce(message, view.packetId, seq)
    else {
      this.#take(view, topic, message, seq)
      if (seq > 0) this.#wait(seq, view.packetId, 2, Reason.SUCCESS)
    }
    return true
  }

  /** [MQTT-3.3.2-2], [MQTT-3.3.2-8] and the rules for aliases (MQTT 5.0 section 3.3.2.3.4). */
  #resolve(view: PublishView, properties: Properties): string {
    const { topicAlias } = properties
    if (topicAlias === undefined) {
      if (view.topicStart === view.topicEnd) throw malformed('PUBLISH has neither a topic nor an alias')
      return this.#topicOf(view)
    }
    if (topicAlias > this.#owner.context.options.topicAliasMaximum) {
      throw new MqttError(Reason.TOPIC_ALIAS_INVALID, `topic alias ${topicAlias} is above the maximum`)
    }
    if (view.topicStart < view.topicEnd) {
      const topic = this.#topicOf(view)
      this.#aliases ??= new InboundAliases()
      this.#aliases.set(topicAlias, topic)
      return topic
    }
    const known = this.#aliases?.get(topicAlias)
    if (known === undefined) throw protocolError(`topic alias ${topicAlias} was never set`)
    if (known !== this.#topic) this.#use(known, EMPTY)
    return known
  }

  #topicOf(view: PublishView): string {
    const { bytes, topicStart, topicEnd } = view
    const last = this.#topicBytes
    const length = topicEnd - topicStart
    if (last.length === length && length > 0) {
      let i = 0
      while (i < length && bytes[topicStart + i] === last[i]) i++
      if (i === length) return this.#topic
    }
    const topic = readText(bytes, topicStart, topicEnd)
    if (!isTopicName(topic)) throw malformed('PUBLISH has wildcards in its topic')
    checkLevels(topic, this.#owner.context.options.maxTopicLevels)
    this.#use(topic, Buffer.from(bytes.subarray(topicStart, topicEnd)))
    return topic
  }

  #use(topic: string, bytes: Buffer): void {
    this.#topic = topic
    this.#topicBytes = bytes
    this.#verdict = isReserved(topic) ? Reason.NOT_AUTHORIZED : this.#owner.access.publish(topic)
  }

  #properties(view: PublishView): Properties {
    cursor.set(view.bytes, view.propertiesStart, view.payloadStart)
    const properties = readProperties(cursor, PacketType.PUBLISH)
    // [MQTT-3.3.4-6]
    if (properties.subscriptionIds !== undefined) throw protocolError('a client sent a subscription identifier')
    return properties
  }

  /** True when the packet needs no more than an answer: a repetition of a QoS 2 message. */
  #alreadyKnown(view: PublishView, topic: string): boolean {
    const { context } = this.#owner
    const { exactlyOnce } = this.#owner.session
    if (view.qos === 2) {
      const known = exactlyOnce?.entries.get(view.packetId)
      if (known !== undefined && known.hash === hashOf(view, topic)) {
        exactlyOnce?.repeated(known)
        return true
      }
      // A reused identifier is another message, in the place of the one that was under it.
      if (known !== undefined) return false
    }
    // [MQTT-3.3.4-9], counted for each connection (section 4.9).
    if (this.#v5 && this.#unacked + (exactlyOnce?.open ?? 0) >= context.options.receiveMaximum) {
      throw new MqttError(Reason.RECEIVE_MAXIMUM_EXCEEDED, 'more messages in flight than the receive maximum')
    }
    return false
  }

  #deny(view: PublishView): void {
    const { batch, context, session } = this.#owner
    context.counters.denied++
    // Before MQTT 5 there is no way to say no but to close; like other brokers we acknowledge and drop.
    const reason = this.#v5 ? this.#verdict : Reason.SUCCESS
    if (view.qos === 1) batch.ack(PacketType.PUBACK, view.packetId, reason)
    if (view.qos !== 2) return
    if (!this.#v5) {
      this.#take(view, this.#topic, undefined, 0)
      return
    }
    session.exactlyOnce?.drop(view.packetId)
    batch.ack(PacketType.PUBREC, view.packetId, reason)
  }

  #relay(view: PublishView, { topic, payload }: DeviceMessage, properties: Properties): number {
    const { upstream } = this.#owner
    const headers = properties.user === undefined ? undefined : headersOf(properties.user)
    const seq = upstream.relay(FrameType.PUBLISH, topic, payload, view.qos > 0, headers, view.dup)
    if (seq >= 0) this.relayed = true
    else if (seq === Relay.OVERLOADED) this.#owner.stall()
    return seq
  }

  #rememberReply(topic: string, { responseTopic, correlationData }: Properties): void {
    const { session } = this.#owner
    if (responseTopic === undefined) {
      session.replies?.forget(topic)
      return
    }
    session.replies ??= new Replies()
    const correlation = correlationData === undefined ? undefined : Uint8Array.from(correlationData)
    session.replies.remember(topic, { topic: responseTopic, correlation })
  }

  #take(view: PublishView, topic: string, message: Message | undefined, seq: number): void {
    const limit = this.#v5 ? undefined : this.#owner.context.options.receiveMaximum
    this.#owner.session.receiving().take(view.packetId, hashOf(view, topic), message, seq, limit)
  }

  /** QoS 1: acknowledged now, or when the worker and the fan-out are through with the message. */
  #publishAtLeastOnce(message: Message, packetId: number, seq: number): void {
    const { context, batch } = this.#owner
    this.#publishing = message
    const count = context.fanout.publish(message, this.#handedOver)
    const silent = !this.#v5 || count > 0 || !context.options.tellNoSubscribers
    const reason = silent ? Reason.SUCCESS : Reason.NO_MATCHING_SUBSCRIBERS
    const waits = this.#publishing !== undefined
    if (waits) {
      this.#publishing = undefined
      this.#handOvers ??= new HandOvers()
      this.#handOvers.add(message, { packetId, reason, processed: seq <= 0 })
    }
    if (seq > 0) this.#wait(seq, packetId, 1, reason)
    if (waits || seq > 0) this.#unacked++
    else batch.ack(PacketType.PUBACK, packetId, reason)
  }

  /** The fan-out is through with a message that was too much for one turn. */
  #finished(message: Message): void {
    const done = this.#handOvers?.finished(message)
    if (done?.processed === true) this.#puback(done.packetId, done.reason)
  }

  #puback(packetId: number, reason: number): void {
    this.#unacked--
    this.#owner.batch.ack(PacketType.PUBACK, packetId, reason)
  }

  #wait(seq: number, packetId: number, qos: 1 | 2, reason: number): void {
    this.#acks ??= new UplinkAcks()
    this.#acks.push(seq, packetId, qos, reason)
  }

  #message(view: PublishView, topic: string, properties: Properties, device: string): DeviceMessage {
    const { now } = this.#owner.context
    const travels = properties === NO_PROPERTIES ? undefined : messageProperties(properties)
    const { qos, retain, dup } = view
    let { bytes, start } = view
    // What may be kept for long must not hold the chunk that it came in.
    if (qos > 0 || retain) {
      bytes = copyOf(bytes, start, view.end)
      start = 0
    }
    const end = start + view.end - view.start
    const payload = bytes.subarray(end - (view.end - view.payloadStart), end)
    const message = new DeviceMessage(topic, payload, qos, retain, device, travels, now)
    if (!retain && !dup && properties.topicAlias === undefined && properties.messageExpiry === undefined) {
      message.source = bytes
      message.start = start
      message.end = end
      message.idAt = qos > 0 ? view.topicEnd - view.start : 0
      message.sourceV5 = this.#v5
    }
    return message
  }

  /** Workers processed everything up to `seq`. */
  acknowledged(seq: number): void {
    const { exactlyOnce } = this.#owner.session
    exactlyOnce?.processedEarlier(seq)
    this.#acks?.upTo(seq, (packetId, qos, reason) => {
      if (packetId === 0) return
      if (qos === 2) exactlyOnce?.processed(packetId, seq)
      else if (this.#handOvers?.processed(packetId) !== true) this.#puback(packetId, reason)
    })
  }

  /**
   * A worker cannot get this message any more.
   * @returns false when the client has to be disconnected for it to try again: before MQTT 5 there is no negative answer
   */
  failed(seq: number, code: ErrorCode): boolean {
    const entry = this.#acks?.at(seq)
    if (entry === undefined) return true
    const { packetId, qos } = entry
    const { batch, session } = this.#owner
    if (qos === 2) session.exactlyOnce?.refused(packetId, seq)
    if (!this.#v5) return false
    const reason =
      code === 'overloaded' || code === 'no_worker' ? Reason.QUOTA_EXCEEDED : Reason.IMPLEMENTATION_SPECIFIC
    this.#acks?.forget(seq)
    if (qos === 1) {
      this.#handOvers?.forget(packetId)
      this.#puback(packetId, reason)
    } else {
      batch.ack(PacketType.PUBREC, packetId, reason)
    }
    return true
  }
}

function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start)
  bytes.copy(copy, 0, start, end)
  return copy
}

function hashOf(view: PublishView, topic: string): number {
  const payload = view.payload()
  return hashBytes(payload, payload.length, hash32(topic))
}

/** User properties as headers; the last one of a name counts. */
function headersOf(user: readonly (readonly [string, string])[]): Record<string, string> {
  const headers: Record<string, string> = Object.create(null)
  for (const [name, value] of user) headers[name] = value
  return headers
}
