/** The device edge on WebSocket: `/v1/connect`. It joins sockets, sessions and the fan-out, and holds no state of its own. */

import { ERRORS, SluiceError } from '../../../proto/errors.js'
import type { Clock, DeviceSession, Fanout, SessionHost, Subscriber } from '../../ports.js'
import {
  type HttpAnswer,
  type HttpServer,
  json,
  type RequestHead,
  type ServerSocket,
  type UpgradeAnswer,
  type WebSocketEndpoint,
} from '../server/server.js'
import { Admission, type AdmissionOptions } from './admission.js'
import { AttributeCache, type ConnectRequest, type EarlyMessage, readConnectRequest } from './connect-request.js'
import { Connection, type ConnectionContext, refuseOpen } from './connection.js'
import { EdgeCounters } from './edge-counters.js'
import { Greeting } from './greeting.js'
import { Outbox } from './outbox.js'
import { SessionSubscriptions } from './subscriptions.js'
import { Uplink } from './uplink.js'

/** Path of the endpoint. */
export const CONNECT_PATH = '/v1/connect'

export interface EdgeLog {
  debug(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface WebSocketEdgeOptions extends AdmissionOptions {
  /** Largest frame in bytes (default 1 MiB). */
  readonly maxFrame?: number
  /** Bytes behind a slow device above which fire-and-forget frames are dropped (default 256 KiB). */
  readonly dropAbove?: number
  /** Bytes behind a slow device above which it is disconnected for an acknowledged frame (default 4 MiB). */
  readonly disconnectAbove?: number
  /** Seconds of silence, pings included, before a connection is cut (default 60; 8 to 960, or 0 for never). */
  readonly idleSeconds?: number
  /** How long a device that was sent GOAWAY may stay, milliseconds (default 10 s). */
  readonly leaveMs?: number
}

export interface WebSocketEdgeParts {
  readonly host: SessionHost
  readonly fanout: Fanout
  readonly clock: Clock
  readonly gatewayId: string
  readonly log: EdgeLog
  /**
   * Decides before the upgrade who may connect, and as what. Throws a SluiceError to refuse: `unauthorized`, `draining`, …
   * Everybody may when absent.
   */
  readonly admit?: (request: ConnectRequest) => void | Promise<void>
  /**
   * Called once the connection is open; the session is opened, and the device greeted, when the promise settles. What the
   * device sends meanwhile waits.
   */
  readonly claim?: (request: ConnectRequest) => Promise<void> | undefined
  /** Tells the fan-out that a subscriber's socket is gone while its session stays. */
  readonly disconnected?: (subscriber: Subscriber) => void
  /** Tells it that a session with subscriptions has a socket again. */
  readonly connected?: (subscriber: Subscriber) => void
  /** Called before acknowledgements are written: what they promise must be safe when it returns. */
  readonly beforeAcks?: () => void
  /** Runs a function when this turn of the event loop has seen its input; setImmediate when absent. */
  readonly turn?: (fn: () => void) => void
  /** In [0, 1). Math.random when absent: jitter needs no better. */
  readonly random?: () => number
  readonly options?: WebSocketEdgeOptions
}

/** The fan-out's way into the server's own publish. Rooms are opaque names. */
export interface EdgeRooms {
  /** @returns false when this subscriber is not a connected WebSocket */
  subscribe(subscriber: Subscriber, room: string): boolean
  unsubscribe(subscriber: Subscriber, room: string): void
  publish(room: string, frame: Uint8Array): void
}

/** What the gateway registers under {@link CONNECT_PATH}. */
export interface WebSocketEdge extends WebSocketEndpoint<Connection> {
  readonly counters: EdgeCounters
  /** Runs `fn`, and writes what it queued for devices, where that would leave with the turn of the event loop. */
  together(fn: () => void): void
}

export function createWebSocketEdge(parts: WebSocketEdgeParts): WebSocketEdge {
  return new DeviceEndpoint(parts, parts.options ?? {})
}

/** Native rooms of the edges on `server`. It does not need an edge, so the fan-out can be made first. */
export function createEdgeRooms(server: Pick<HttpServer, 'publish'>): EdgeRooms {
  return {
    subscribe: joinRoom,
    unsubscribe: leaveRoom,
    publish: (room, frame) => void server.publish(room, frame),
  }
}

/** Devices in browsers come from any origin, and learn only this way why they were refused. */
const ANY_ORIGIN = { 'access-control-allow-origin': '*' }

/** Messages, and bytes of each, that are kept for a device whose session is still being opened. */
const MAX_EARLY = 64
const MAX_EARLY_BYTES = 64 * 1024

class DeviceEndpoint implements WebSocketEdge {
  readonly counters = new EdgeCounters()
  readonly maxPayload: number
  readonly maxBackpressure: number
  readonly idleSeconds: number
  readonly #parts: WebSocketEdgeParts
  readonly #context: ConnectionContext
  readonly #admission: Admission
  readonly #uplink: Uplink
  readonly #attributes = new AttributeCache()

  constructor(parts: WebSocketEdgeParts, options: WebSocketEdgeOptions) {
    this.maxPayload = options.maxFrame ?? 1024 * 1024
    this.maxBackpressure = options.disconnectAbove ?? 4 * 1024 * 1024
    this.idleSeconds = options.idleSeconds ?? 60
    this.#parts = parts
    this.#context = {
      greeting: new Greeting(parts.gatewayId),
      fanout: parts.fanout,
      clock: parts.clock,
      outbox: new Outbox(parts.turn ?? ((fn) => void setImmediate(fn)), parts.beforeAcks),
      counters: this.counters,
      dropAbove: options.dropAbove ?? 256 * 1024,
      leaveMs: options.leaveMs ?? 10_000,
    }
    this.#admission = new Admission(options, parts.clock, parts.random ?? Math.random)
    this.#uplink = new Uplink(parts.fanout, parts.clock)
  }

  upgrade(head: RequestHead): UpgradeAnswer<Connection> | Promise<UpgradeAnswer<Connection>> {
    try {
      const request = readConnectRequest(head, this.#attributes)
      this.#admission.admit()
      const admitted = this.#parts.admit?.(request)
      if (admitted === undefined) return { data: new Connection(request, this.#context) }
      return admitted.then(
        () => ({ data: new Connection(request, this.#context) }),
        (error) => this.#refusal(error),
      )
    } catch (error) {
      return this.#refusal(error)
    }
  }

  /** A plain GET learns first what is wrong with its URL, as an upgrade would. */
  plain(head: RequestHead): HttpAnswer {
    try {
      readConnectRequest(head, this.#attributes)
      const busy = this.#admission.refusal()
      if (busy !== undefined) throw busy
    } catch (error) {
      if (error instanceof SluiceError) return json(ERRORS[error.code].status, error, ANY_ORIGIN)
      throw error
    }
    return json(426, new SluiceError('bad_request', 'this path speaks WebSocket'), { upgrade: 'websocket' })
  }

  open(socket: ServerSocket<Connection>): void {
    const connection = socket.data
    const { counters } = this
    counters.opened++
    counters.connections = ++this.#admission.connections
    connection.opened(socket)
    const request = connection.request as ConnectRequest
    const claimed = this.#parts.claim?.(request)
    if (claimed === undefined) this.#begin(connection, request)
    else {
      request.early = []
      claimed.then(
        () => this.#begin(connection, request),
        (error: unknown) => this.#failed(connection, error),
      )
    }
  }

  message({ data: connection }: { readonly data: Connection }, bytes: Uint8Array, isBinary: boolean): void {
    const { session } = connection
    const { counters } = this
    if (session === undefined) {
      const early = connection.request?.early
      if (early !== undefined) keep(connection, early, bytes, isBinary)
      return
    }
    counters.received++
    if (!isBinary) {
      counters.badMessages++
      connection.hangUp(1003, 'frames are binary messages')
    } else if (!this.#uplink.take(connection, session, bytes)) {
      counters.badMessages++
      connection.hangUp(1007, 'not a sluice.v1.Frame')
    }
  }

  drain({ data: connection }: { readonly data: Connection }): void {
    connection.drained()
  }

  close({ data: connection }: { readonly data: Connection }, code: number): void {
    const { counters } = this
    counters.connections = --this.#admission.connections
    if (code === 1009) counters.badMessages++
    const { subscriptions } = connection
    connection.closed()
    if (subscriptions !== undefined && subscriptions.outlet === undefined) this.#parts.disconnected?.(subscriptions)
  }

  together(fn: () => void): void {
    this.#context.outbox.together(fn)
  }

  #begin(connection: Connection, request: ConnectRequest): void {
    const { early } = request
    if (!connection.open) return
    try {
      connection.begin(this.#openSession(connection, request))
    } catch (error) {
      this.#failed(connection, error)
      return
    }
    const { subscriptions } = connection
    if (subscriptions?.outlet === connection) this.#parts.connected?.(subscriptions)
    for (const { bytes, isBinary } of early ?? []) this.message({ data: connection }, bytes, isBinary)
  }

  #failed(connection: Connection, error: unknown): void {
    connection.request = undefined
    if (!(error instanceof SluiceError)) this.#parts.log.error({ err: error }, 'a session could not be opened')
    refuseOpen(connection, error instanceof SluiceError ? error : new SluiceError('internal'))
  }

  /** A session that is gone is replaced by a new one: WELCOME says `resumed: false`, and seqs start at 1 again. */
  #openSession(connection: Connection, { device, attributes, resume }: ConnectRequest): DeviceSession {
    const request = { device, protocol: 'websocket', attributes } as const
    if (resume === undefined) return this.#parts.host.open(request, connection)
    try {
      return this.#parts.host.open({ ...request, resume }, connection)
    } catch (error) {
      if (!(error instanceof SluiceError && error.code === 'session_unknown')) throw error
      return this.#parts.host.open(request, connection)
    }
  }

  #refusal(error: unknown): UpgradeAnswer<Connection> {
    if (!(error instanceof SluiceError)) throw error
    const { counters } = this
    if (error.code === 'overloaded') counters.refusedBusy++
    else counters.refused++
    const headers: Record<string, string> = { 'content-type': 'application/json' }
    if (error.retryAfterMs !== undefined) headers['retry-after'] = String(Math.ceil(error.retryAfterMs / 1000))
    return { status: ERRORS[error.code].status, headers, body: JSON.stringify(error) }
  }
}

/** A device need not wait for its WELCOME. */
function keep(connection: Connection, early: EarlyMessage[], bytes: Uint8Array, isBinary: boolean): void {
  if (early.length < MAX_EARLY && bytes.length <= MAX_EARLY_BYTES) early.push({ bytes: bytes.slice(), isBinary })
  else connection.tell('overloaded', 'the session is still being opened', { retryAfterMs: 100 })
}

function joinRoom(subscriber: Subscriber, room: string): boolean {
  const { outlet } = subscriber instanceof SessionSubscriptions ? subscriber : { outlet: undefined }
  return outlet instanceof Connection && outlet.join(room)
}

function leaveRoom(subscriber: Subscriber, room: string): void {
  if (subscriber instanceof SessionSubscriptions && subscriber.outlet instanceof Connection)
    subscriber.outlet.leaveRoom(room)
}
