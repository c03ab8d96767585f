import { SluiceError } from '../../../proto/errors.js'
import { FrameType, FrameView } from '../../../proto/frame.js'
import { isTopicFilter, isTopicName, parseShared } from '../../../proto/topic.js'
import {
  type Clock,
  type DeviceSession,
  type Fanout,
  type Message,
  Relay,
  type SubscriptionOptions,
} from '../../ports.js'
import type { Connection } from './connection.js'
import { FRAME_KEY } from './publish-frame.js'

/** A WebSocket SUBSCRIBE has no options. */
const SUBSCRIPTION: SubscriptionOptions = { qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0 }
/** What a device is told to wait when a queue is full. */
const OVERLOADED_RETRY_MS = 200

/** Takes what devices send. One for all connections: a frame is looked at and gone when {@link take} returns. */
export class Uplink {
  readonly #view = new FrameView()
  readonly #fanout: Fanout
  readonly #clock: Clock

  constructor(fanout: Fanout, clock: Clock) {
    this.#fanout = fanout
    this.#clock = clock
  }

  /** @returns false when the bytes are no frame: the connection is to be closed with 1007 */
  take(connection: Connection, session: DeviceSession, bytes: Uint8Array): boolean {
    const view = this.#view
    if (!view.read(bytes) || !isText(view)) return false
    if (view.ack !== 0) session.deviceAcked(view.ack)
    switch (view.type) {
      case FrameType.DATA:
        this.#data(connection, session, bytes.length)
        break
      case FrameType.PUBLISH:
        this.#publish(connection, session, bytes)
        break
      case FrameType.SUBSCRIBE:
        this.#subscribe(connection, session)
        break
      case FrameType.UNSUBSCRIBE:
        this.#unsubscribe(connection, session)
        break
      case FrameType.ACK:
        break
      default:
        this.#refuse(connection, session, 'bad_frame', `a device may not send frames of type ${view.type}`)
    }
    return true
  }

  #data(connection: Connection, session: DeviceSession, length: number): void {
    const { seq } = this.#view
    const outcome = session.relayFrame(this.#view, 0, length)
    if (outcome >= 0) connection.gap = false
    else if (outcome === Relay.UNROUTED) {
      connection.gap = false
      connection.tell('no_route', 'no route matches this frame', { seq })
    } else this.#notTaken(connection, session, outcome, seq)
  }

  #publish(connection: Connection, session: DeviceSession, bytes: Uint8Array): void {
    const view = this.#view
    const topic = view.topic()
    if (!isTopicName(topic)) {
      this.#refuse(connection, session, 'bad_topic', 'a topic is not empty and has no wildcards')
      return
    }
    const { seq } = view
    const outcome = session.relayFrame(view, 0, bytes.length, seq > 0)
    if (outcome !== Relay.UNROUTED && outcome < 0) {
      this.#notTaken(connection, session, outcome, seq)
      return
    }
    connection.gap = false
    const handedOver = seq > 0 ? () => session.finish(seq) : undefined
    this.#fanout.publish(this.#message(view, topic, session.device, bytes), handedOver)
  }

  /** The payload's one copy. A frame without seq and ack is a PUBLISH for WebSocket subscribers as it is. */
  #message(view: FrameView, topic: string, publisher: string, bytes: Uint8Array): Message {
    const plain = view.seq === 0 && view.ack === 0 && !view.redelivered
    const copy = plain ? bytes.slice() : undefined
    const encoded = new Map<string, Uint8Array>()
    if (copy !== undefined) encoded.set(FRAME_KEY, copy)
    return {
      topic,
      payload: copy === undefined ? view.payload().slice() : copy.subarray(view.payloadStart, view.payloadEnd),
      qos: view.seq > 0 ? 1 : 0,
      retain: false,
      publisher,
      properties: view.headerCount === 0 ? undefined : { user: Object.entries(view.headers()) },
      at: this.#clock.wall(),
      encoded,
    }
  }

  #subscribe(connection: Connection, session: DeviceSession): void {
    const filter = this.#filter(connection, session)
    if (filter === undefined) return
    const { seq } = this.#view
    if (!this.#begin(connection, session, seq)) return
    const settled = () => {
      if (seq > 0) session.finish(seq)
    }
    try {
      this.#fanout.subscribe(connection.ownSubscriptions(session), filter, SUBSCRIPTION, settled)
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error
      settled()
      connection.tell(error.code, error.message, { seq, retryAfterMs: error.retryAfterMs })
    }
  }

  #unsubscribe(connection: Connection, session: DeviceSession): void {
    const filter = this.#filter(connection, session)
    if (filter === undefined) return
    const { seq } = this.#view
    if (!this.#begin(connection, session, seq)) return
    const { subscriptions } = connection
    if (subscriptions !== undefined) this.#fanout.unsubscribe(subscriptions, filter)
    if (seq > 0) session.finish(seq)
  }

  #filter(connection: Connection, session: DeviceSession): string | undefined {
    const filter = this.#view.topic()
    const shared = parseShared(filter)
    const fine = shared === undefined ? isTopicFilter(filter) : shared !== 'invalid'
    if (fine) return filter
    this.#refuse(connection, session, 'bad_topic', 'the filter is not a valid MQTT topic filter')
    return undefined
  }

  /** Tells the error and counts the frame's seq as processed: what was refused for good must not hold up what follows. */
  #refuse(connection: Connection, session: DeviceSession, code: 'bad_topic' | 'bad_frame', message: string): void {
    const { seq } = this.#view
    if (!this.#begin(connection, session, seq)) return
    if (seq > 0) session.finish(seq)
    connection.tell(code, message, { seq })
  }

  /** Takes the seq of a frame that the edge itself works on. */
  #begin(connection: Connection, session: DeviceSession, seq: number): boolean {
    if (seq === 0) return true
    const outcome = session.begin(seq)
    if (outcome < 0) {
      this.#notTaken(connection, session, outcome, seq)
      return false
    }
    connection.gap = false
    return true
  }

  /** A duplicate was acknowledged again by the session; the device learns of anything else, of a gap once. */
  #notTaken(connection: Connection, session: DeviceSession, outcome: number, seq: number): void {
    if (outcome === Relay.OVERLOADED) {
      // What follows in flight cannot be taken either: this error stands for all of it.
      if (seq > 0 && connection.gap) return
      connection.gap = seq > 0
      connection.tell('overloaded', 'too much is waiting for a worker', { seq, retryAfterMs: OVERLOADED_RETRY_MS })
    } else if (outcome === Relay.BAD_SEQ && !connection.gap) {
      connection.gap = true
      const message = `seq ${seq} leaves a gap; everything up to ${session.uplinkAcked} was processed`
      connection.tell('bad_seq', message, { seq })
    }
  }
}

/** Strings of Protobuf are UTF-8, and workers' decoders rely on it. Payloads are nobody's business. */
function isText(view: FrameView): boolean {
  const { bytes, topicEnd } = view
  let ascii = true
  for (let i = view.topicStart; i < topicEnd; i++) {
    if ((bytes[i] as number) >= 0x80) {
      ascii = false
      break
    }
  }
  if (ascii && view.headerCount === 0) return true
  try {
    if (!ascii) view.topic()
    if (view.headerCount > 0) view.headers()
    return true
  } catch {
    return false
  }
}
