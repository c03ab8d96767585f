import { encodePublish } from '../../../proto/mqtt/encode.js'
import type { Qos } from '../../../proto/mqtt/packet.js'
import type { Message } from '../../ports.js'
import { OutboundAliases } from './aliases.js'
import type { Terms } from './connect-terms.js'
import type { MqttCounters } from './counters.js'
import { DeviceMessage, encodedFor, wireProperties } from './message.js'
import type { OutBatch } from './out-batch.js'

/** PUBLISH packets to one client, as its terms and version want them. */
export class Downlink {
  readonly #terms: Terms
  readonly #batch: OutBatch
  readonly #context: { readonly counters: MqttCounters; readonly now: number }
  #aliases: OutboundAliases | undefined

  constructor(terms: Terms, batch: OutBatch, context: { readonly counters: MqttCounters; readonly now: number }) {
    this.#terms = terms
    this.#batch = batch
    this.#context = context
  }

  /** @returns false when the message is larger than the client takes [MQTT-3.1.2-24] */
  publish(
    message: Message,
    qos: Qos,
    retain: boolean,
    ids: readonly number[] | undefined,
    packetId: number,
    dup: boolean,
  ): boolean {
    const { v5, aliases } = this.#terms
    this.#context.counters.sent++
    if (v5 && aliases > 0) return this.#publishAliased(message, qos, retain, ids, packetId, dup)
    if (v5 && ids !== undefined) return this.#publishOwn(message, message.topic, 0, qos, retain, ids, packetId, dup)
    return this.#publishShared(message, qos, retain, packetId, dup)
  }

  #publishShared(message: Message, qos: Qos, retain: boolean, packetId: number, dup: boolean): boolean {
    const { v5 } = this.#terms
    if (!retain && message instanceof DeviceMessage && message.source !== undefined && message.qos === qos) {
      // The packet as it came: the common case costs one copy.
      if (message.sourceV5 === v5)
        return this.#put(message.source, message.start, message.end, message.idAt, packetId, dup)
    }
    const { bytes, idAt } = encodedFor(message, v5, qos, retain, this.#context.now)
    return this.#put(bytes, 0, bytes.length, idAt, packetId, dup)
  }

  #publishAliased(
    message: Message,
    qos: Qos,
    retain: boolean,
    ids: readonly number[] | undefined,
    packetId: number,
    dup: boolean,
  ): boolean {
    const { topic } = message
    this.#aliases ??= new OutboundAliases(this.#terms.aliases)
    const known = this.#aliases.known(topic)
    if (known > 0) return this.#publishOwn(message, '', known, qos, retain, ids, packetId, dup)
    const alias = this.#aliases.assign(topic)
    if (alias > 0) {
      if (this.#publishOwn(message, topic, alias, qos, retain, ids, packetId, dup)) return true
      // Unsent, the client does not know it; without it the message may be small enough.
      this.#aliases.forget(topic)
    }
    if (ids === undefined) return this.#publishShared(message, qos, retain, packetId, dup)
    return this.#publishOwn(message, topic, 0, qos, retain, ids, packetId, dup)
  }

  /** @param packetId 0 at QoS 0 */
  #put(bytes: Uint8Array, start: number, end: number, idAt: number, packetId: number, dup: boolean): boolean {
    if (end - start > this.#terms.maxPacket) return false
    if (packetId === 0) this.#batch.share(bytes, start, end)
    else this.#batch.publish(bytes, start, end, idAt, packetId, dup)
    return true
  }

  /** A PUBLISH that is like no other: it has subscription identifiers or a topic alias. */
  #publishOwn(
    message: Message,
    topic: string,
    alias: number,
    qos: Qos,
    retain: boolean,
    ids: readonly number[] | undefined,
    packetId: number,
    dup: boolean,
  ): boolean {
    const properties = wireProperties(message, this.#context.now, ids, alias)
    const { bytes, idAt } = encodePublish(true, { topic, payload: message.payload, qos, retain, properties })
    return this.#put(bytes, 0, bytes.length, idAt, packetId, dup)
  }
}
