import { LoadStream, type StreamReader } from './load-stream.js'

/** What the load does with one MQTT connection. */
export interface MqttEvents {
  /** Connected, and subscribed where it subscribes. */
  ready(client: MqttClient): void
  publish(client: MqttClient, bytes: Uint8Array, payloadStart: number, end: number): void
  puback(client: MqttClient): void
  lost(client: MqttClient, reason: string): void
}

export interface MqttTarget {
  readonly host: string
  readonly port: number
  /** Filter to subscribe to. */
  readonly filter: string | undefined
  readonly qos: 0 | 1
}

const PUBLISH = 3
const CONNACK = 2
const PUBACK = 4
const SUBACK = 9

/** A client of MQTT 3.1.1 that trusts what it receives. */
export class MqttClient implements StreamReader {
  readonly number: number
  readonly stream: LoadStream
  readonly #target: MqttTarget
  readonly #events: MqttEvents
  #packetId = 0

  constructor(number: number, target: MqttTarget, events: MqttEvents) {
    this.number = number
    this.#target = target
    this.#events = events
    this.stream = new LoadStream(target.host, target.port, this)
  }

  /** Puts a PUBLISH into the output; returns where its `length` bytes go in `stream.bytes`. */
  publish(topic: Uint8Array, length: number): number {
    const { qos } = this.#target
    const remaining = 2 + topic.length + 2 * qos + length
    const head = remaining < 128 ? 2 : 3
    let at = this.stream.room(head + remaining)
    const { bytes } = this.stream
    bytes[at++] = 0x30 | (qos << 1)
    if (remaining < 128) bytes[at++] = remaining
    else {
      bytes[at++] = (remaining & 0x7f) | 0x80
      bytes[at++] = remaining >> 7
    }
    bytes[at++] = topic.length >> 8
    bytes[at++] = topic.length & 0xff
    bytes.set(topic, at)
    at += topic.length
    if (qos === 0) return at
    this.#packetId = (this.#packetId % 65_535) + 1
    bytes[at] = this.#packetId >> 8
    bytes[at + 1] = this.#packetId & 0xff
    return at + 2
  }

  opened(): void {
    const id = Buffer.from(`bench-${process.pid}-${this.number}`)
    const protocol = [0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0]
    this.stream.put(Buffer.from([0x10, protocol.length + 2 + id.length, ...protocol, 0, id.length, ...id]))
    this.stream.flush()
  }

  read(bytes: Uint8Array, end: number): number {
    let at = 0
    while (end - at >= 2) {
      let length = 0
      let head = 1
      let byte = 0x80
      while (byte >= 0x80 && head < 5 && at + head < end) {
        byte = bytes[at + head] as number
        length += (byte & 0x7f) << (7 * (head - 1))
        head++
      }
      if (byte >= 0x80 || end - at < head + length) break
      const start = at + head
      this.#packet(bytes[at] as number, bytes, start, start + length)
      at = start + length
    }
    return at
  }

  lost(reason: string): void {
    this.stream.end()
    this.#events.lost(this, reason)
  }

  #packet(first: number, bytes: Uint8Array, start: number, end: number): void {
    const type = first >> 4
    if (type === PUBLISH) this.#received((first >> 1) & 3, bytes, start, end)
    else if (type === PUBACK) this.#events.puback(this)
    else if (type === CONNACK) this.#connected(bytes[start + 1] as number)
    else if (type === SUBACK) this.#events.ready(this)
  }

  #received(qos: number, bytes: Uint8Array, start: number, end: number): void {
    let at = start + 2 + (((bytes[start] as number) << 8) | (bytes[start + 1] as number))
    if (qos > 0) {
      this.stream.put(Uint8Array.of(0x40, 2, bytes[at] as number, bytes[at + 1] as number))
      at += 2
    }
    this.#events.publish(this, bytes, at, end)
  }

  #connected(code: number): void {
    const { filter, qos } = this.#target
    if (code !== 0) this.lost(`CONNACK ${code}`)
    else if (filter === undefined) this.#events.ready(this)
    else {
      const name = Buffer.from(filter)
      this.stream.put(Buffer.from([0x82, name.length + 5, 0, 1, 0, name.length, ...name, qos]))
    }
  }
}
