/**
 * The seams between the gateway's rooms: edges (device side), sessions, fan-out. Each room imports this file and
 * `proto/`, never another room; `gateway.ts` joins them.
 */

import type { ErrorCode } from '../proto/errors.js'
import type { FrameView } from '../proto/frame.js'

/** Time, passed in so that tests own it. */
export interface Clock {
  /** Milliseconds that never go back: for intervals. */
  now(): number
  /** Milliseconds since 1970: for what people read and what is kept on disk. */
  wall(): number
  /** Calls `fn` once after `ms`; the returned function cancels it. */
  after(ms: number, fn: () => void): () => void
}

export type Protocol = 'websocket' | 'mqtt'

/** How an edge asks for a session. */
export interface OpenSession {
  readonly device: string
  readonly protocol: Protocol
  /** What routes can match: lower-case upgrade headers, MQTT 5 user properties. */
  readonly attributes: Readonly<Record<string, string>>
  /** Continue this session; `ack` is the last downlink seq that the device processed. */
  readonly resume?: { readonly session: string; readonly ack: number }
  /** MQTT without clean start: continue whatever session the device has here, if any. */
  readonly continue?: boolean
}

/** Outcomes of {@link DeviceSession.relay} that are not a seq. */
export const Relay = { UNROUTED: -1, OVERLOADED: -2, BAD_SEQ: -3, DUPLICATE: -4 } as const

/** One device's stay, as an edge sees it. */
export interface DeviceSession {
  readonly id: string
  readonly device: string
  readonly resumed: boolean
  /** Last uplink seq of this device that was processed. */
  readonly uplinkAcked: number
  /**
   * Relays an encoded frame (DATA or PUBLISH) as it is, with one copy of its bytes.
   * @param view already read; its bytes need to live only during the call
   * @param held the edge works on it too: its seq counts as processed when {@link finish} was called as well
   * @param frameStart where the frame's bytes start and end in `view.bytes`
   * @returns the frame's seq (0 for fire and forget) when a worker gets it, or a {@link Relay} outcome.
   */
  relayFrame(view: FrameView, frameStart: number, frameEnd: number, held?: boolean): number
  /**
   * Relays a message that is not a frame yet (MQTT): its head is written and its payload copied straight into the link's batch.
   * @param acked true: the session gives it the next uplink seq and tells {@link DevicePort.acknowledged} when it is processed
   * @returns the seq (0 when not acked) when a route took it, or a {@link Relay} outcome.
   */
  relay(
    type: number,
    topic: string,
    payload: Uint8Array,
    acked: boolean,
    headers?: Readonly<Record<string, string>>,
    redelivered?: boolean,
  ): number
  /**
   * The edge itself works on this uplink seq (a SUBSCRIBE): it is taken in its turn, and {@link finish} counts it as processed.
   * @returns the seq, or a {@link Relay} outcome
   */
  begin(seq: number): number
  finish(seq: number): void
  /** The device processed every downlink frame up to `seq`. */
  deviceAcked(seq: number): void
  /** Sends what the device has not confirmed beyond `confirmed` again: for a resumed session, once its greeting is on its way. */
  replay(confirmed: number): void
  /** The edge's own, kept with the session from one connection to the next. */
  edge?: EdgeState | undefined
  /** The connection is gone; the session waits for a resume, or ends now when `final`. */
  detach(port: DevicePort, final: boolean, code: ErrorCode | 'closed'): void
}

/** What an edge keeps with a session: its subscriptions, for instance. */
export interface EdgeState {
  /** The session is over, connected or not. */
  ended(): void
}

/** The device's connection, as the session core sees it. One per connection; a session may outlive several. */
export interface DevicePort {
  /**
   * A worker's frame for this device. The view is valid only during the call; its bytes stay as they are until this turn
   * of the event loop ends, so that a frame can wait for the turn's one write without a copy.
   * @param seq 0, or the downlink seq that the device has to acknowledge; it is not in the frame's bytes yet
   * @param redelivered the device may have seen it
   */
  deliver(view: FrameView, frameStart: number, frameEnd: number, seq: number, redelivered: boolean): void
  /** Everything that the device sent up to `seq` was processed. Called at most once a tick. */
  acknowledged(seq: number): void
  /** A frame that was taken cannot reach a worker any more (seq 0: which one is not known). */
  failed(seq: number, code: ErrorCode, message: string, retryAfterMs?: number): void
  /** The session ends for this connection: taken over, closed by its worker, or drained. */
  end(code: ErrorCode | 'closed', message: string, details?: { retryAfterMs?: number; url?: string }): void
  /** Bytes that wait for the device; the session core stops handing out acked frames above its limit. */
  readonly buffered: number
}

export interface SessionHost {
  /** @throws SluiceError `session_unknown`, `overloaded`, `draining` */
  open(request: OpenSession, port: DevicePort): DeviceSession
}

/** MQTT 5 properties that travel with a message. */
export interface MessageProperties {
  payloadFormat?: 0 | 1
  /** Seconds that are left, counted from {@link Message.at}. */
  expiry?: number
  contentType?: string
  responseTopic?: string
  correlationData?: Uint8Array
  /** In order; a name may occur more than once. */
  user?: readonly (readonly [string, string])[]
  /** MQTT property ids as they came, only where user properties stand apart with others in between. */
  order?: readonly number[]
}

/** A published message on its way through the fan-out. Built once; each protocol keeps its encodings in `encoded`. */
export interface Message {
  readonly topic: string
  /** Owned: it lives as long as the message does. */
  readonly payload: Uint8Array
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  /** Device id of the publisher, for no-local; empty for a worker's publish. */
  readonly publisher: string
  readonly properties: MessageProperties | undefined
  /** Wall-clock milliseconds when the first gateway took it. */
  readonly at: number
  /** Encodings made on first use: the WebSocket frame under `frame`, MQTT ones under version, QoS and retain. */
  readonly encoded: Map<string, Uint8Array>
}

/** Options of one subscription (MQTT 5.0 section 3.8.3.1). */
export interface SubscriptionOptions {
  readonly qos: 0 | 1 | 2
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
  /** Subscription identifier, 0 for none. */
  readonly id: number
}

/** Whoever takes messages from the fan-out: a device session on either protocol, or another gateway. */
export interface Subscriber {
  /** Device id, for no-local and shared subscriptions' bookkeeping. */
  readonly device: string
  /** False while a shared subscription should pass it over (offline, or full). */
  readonly available: boolean
  /**
   * @param qos the lower of the message's and the subscription's
   * @param retain the RETAIN flag to show
   * @param ids identifiers of the subscriptions that matched; undefined for none
   */
  deliver(message: Message, qos: 0 | 1 | 2, retain: boolean, ids: readonly number[] | undefined): void
}

/** A message is with all its subscribers: written, queued, or noted in the journal of a session that lasts. */
export type HandedOver = (message: Message) => void

/** The fan-out, as edges see it. Filters are checked by the caller. `$share/` filters are understood. */
export interface Fanout {
  /**
   * Retained messages that the options ask for are delivered during the call.
   * @param settled called when the other gateways know of the filter too, or do not answer in time; at once when there are none
   * @returns true when the subscriber had this very filter already
   */
  subscribe(subscriber: Subscriber, filter: string, options: SubscriptionOptions, settled: () => void): boolean
  /** @returns false when there was no such subscription */
  unsubscribe(subscriber: Subscriber, filter: string): boolean
  unsubscribeAll(subscriber: Subscriber): void
  /**
   * Delivers here and hands on to other gateways; keeps or clears the retained message.
   * @param handedOver called once, with the message, when every delivery here is made: during the call, or in a later turn
   * when there are many. Who acknowledges the message to its publisher waits for it.
   * @returns the number of local deliveries
   */
  publish(message: Message, handedOver?: HandedOver): number
}
