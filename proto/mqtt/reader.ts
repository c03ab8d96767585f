/**
 * Cuts a byte stream into MQTT packets without copying: a PUBLISH is described by offsets in one reused view, every
 * other packet is handed over as a range. Chunks must stay unchanged for as long as somebody holds a view of them.
 */

import { MqttError, malformed, PacketType, protocolError, Reason, type Version } from './packet.js'

const EMPTY = Buffer.alloc(0)

/** Where the parts of a PUBLISH lie in `bytes`. One instance is reused for every PUBLISH of a connection. */
export class PublishView {
  bytes: Buffer = EMPTY
  /** The whole packet, with its fixed header. */
  start = 0
  end = 0
  qos: 0 | 1 | 2 = 0
  dup = false
  retain = false
  topicStart = 0
  topicEnd = 0
  /** 0 at QoS 0. */
  packetId = 0
  /** The property length field; the same as `payloadStart` before MQTT 5. */
  propertiesStart = 0
  /** True when there is at least one property. */
  hasProperties = false
  payloadStart = 0

  /** A view of the payload, not a copy. */
  payload(): Buffer {
    return this.bytes.subarray(this.payloadStart, this.end)
  }
}

/** Takes packets from a {@link PacketReader}. Either method may throw an MqttError, which passes through the reader. */
export interface PacketSink {
  /** @returns false to stop: the same packet is offered again by {@link PacketReader.resume} */
  publish(view: PublishView): boolean
  /**
   * Any other packet; its body is `bytes[start, end)`.
   * @returns false to stop after this packet until {@link PacketReader.resume}
   */
  packet(type: number, flags: number, bytes: Buffer, start: number, end: number): boolean
}

/** The incremental parser of one connection. */
export class PacketReader {
  readonly #sink: PacketSink
  readonly #view: PublishView
  /** Largest packet in bytes that is taken, fixed header included. */
  maxPacket: number
  /** Set by the sink when CONNECT settled it; until then only a CONNECT is read. */
  version: Version = 0
  #held: Buffer[] | undefined
  #heldLength = 0
  /** Bytes that must be there before trying again. */
  #need = 0
  #stopped = false

  /** @param view may be shared by all connections of a thread: it is only used during the call of the sink */
  constructor(sink: PacketSink, maxPacket: number, view: PublishView) {
    this.#sink = sink
    this.maxPacket = maxPacket
    this.#view = view
  }

  /** Bytes that were received and not consumed yet. */
  get waiting(): number {
    return this.#heldLength
  }

  /**
   * Takes the next bytes of the stream, and hands on every packet that is complete.
   * @throws MqttError when the stream cannot be read any further
   */
  receive(chunk: Buffer): void {
    if (this.#held === undefined) {
      if (this.#stopped) this.#hold(chunk, 0)
      else this.#consume(chunk)
      return
    }
    this.#held.push(chunk)
    this.#heldLength += chunk.length
    if (!this.#stopped && this.#heldLength >= this.#need) this.#consumeHeld()
  }

  /** Goes on after the sink stopped it. */
  resume(): void {
    this.#stopped = false
    if (this.#held !== undefined) this.#consumeHeld()
  }

  #consumeHeld(): void {
    const held = this.#held as Buffer[]
    const whole = held.length === 1 ? (held[0] as Buffer) : Buffer.concat(held, this.#heldLength)
    this.#held = undefined
    this.#heldLength = 0
    this.#consume(whole)
  }

  #hold(bytes: Buffer, from: number): void {
    this.#held = [from === 0 ? bytes : bytes.subarray(from)]
    this.#heldLength = bytes.length - from
  }

  #consume(bytes: Buffer): void {
    const { length } = bytes
    let pos = 0
    this.#need = 0
    while (pos < length && !this.#stopped) {
      const next = this.#one(bytes, pos, length)
      if (next === pos) break
      pos = next
    }
    if (pos < length) this.#hold(bytes, pos)
  }

  /** Reads the packet at `pos`; returns the position after it, or `pos` when it is not complete or not taken. */
  #one(bytes: Buffer, pos: number, length: number): number {
    const first = bytes[pos] as number
    // [MQTT-3.1.0-1]: refused by its first byte, so that a stranger cannot make us wait for a body.
    if (this.version === 0 && first >> 4 !== PacketType.CONNECT) {
      throw new MqttError(Reason.PROTOCOL_ERROR, 'the first packet is not a CONNECT', true)
    }
    let at = pos + 1
    let remaining = 0
    let byte = 0x80
    for (let shift = 0; byte >= 0x80; shift += 7) {
      if (shift > 21)
        throw new MqttError(Reason.MALFORMED_PACKET, 'the remaining length has more than four bytes', true)
      if (at >= length) {
        this.#need = length - pos + 1
        return pos
      }
      byte = bytes[at++] as number
      remaining |= (byte & 0x7f) << shift
    }
    const end = at + remaining
    if (end - pos > this.maxPacket) throw new MqttError(Reason.PACKET_TOO_LARGE, 'the packet is larger than allowed')
    if (end > length) {
      this.#need = end - pos
      return pos
    }
    if (first >> 4 === PacketType.PUBLISH) return this.#publish(bytes, pos, at, end) ? end : pos
    if (!this.#sink.packet(first >> 4, first & 0x0f, bytes, at, end)) this.#stopped = true
    return end
  }

  #publish(bytes: Buffer, start: number, at: number, end: number): boolean {
    const view = this.#view
    const first = bytes[start] as number
    const qos = (first >> 1) & 3
    // [MQTT-3.3.1-4], [MQTT-3.3.1-2]
    if (qos === 3) throw malformed('PUBLISH has QoS 3')
    if (qos === 0 && (first & 8) !== 0) throw malformed('PUBLISH has DUP at QoS 0')
    if (at + 2 > end) throw malformed('PUBLISH has no topic')
    const topicEnd = at + 2 + (((bytes[at] as number) << 8) | (bytes[at + 1] as number))
    let pos = topicEnd
    view.packetId = 0
    if (qos > 0) {
      if (pos + 2 > end) throw malformed('PUBLISH has no packet identifier')
      view.packetId = ((bytes[pos] as number) << 8) | (bytes[pos + 1] as number)
      // [MQTT-2.2.1-3]
      if (view.packetId === 0) throw protocolError('PUBLISH has packet identifier 0')
      pos += 2
    }
    if (pos > end) throw malformed('PUBLISH ends within its topic')
    view.bytes = bytes
    view.start = start
    view.end = end
    view.qos = qos as 0 | 1 | 2
    view.dup = (first & 8) !== 0
    view.retain = (first & 1) !== 0
    view.topicStart = at + 2
    view.topicEnd = topicEnd
    this.#findPayload(view, pos)
    if (this.#sink.publish(view)) return true
    this.#stopped = true
    return false
  }

  #findPayload(view: PublishView, pos: number): void {
    view.propertiesStart = pos
    view.hasProperties = false
    if (this.version === 5) {
      const byte = pos < view.end ? (view.bytes[pos] as number) : -1
      if (byte < 0) throw malformed('PUBLISH has no property length')
      if (byte > 0) {
        view.hasProperties = true
        const length = propertyBlock(view.bytes, pos, view.end)
        if (pos + length > view.end) throw malformed('the properties are longer than the packet')
        pos += length
      } else pos++
    }
    view.payloadStart = pos
  }
}

/** Bytes of the property block at `pos`, its length field included. */
function propertyBlock(bytes: Buffer, pos: number, end: number): number {
  let value = 0
  for (let i = 0; i < 4; i++) {
    if (pos + i >= end) throw malformed('PUBLISH ends within its property length')
    const byte = bytes[pos + i] as number
    value |= (byte & 0x7f) << (7 * i)
    if (byte < 0x80) return value + i + 1
  }
  throw malformed('the property length has more than four bytes')
}
