import { ERRORS, type ErrorCode, type SluiceError } from '../../../proto/errors.js'
import { encodeFrame, FrameType, type FrameView } from '../../../proto/frame.js'
import type { Clock, DevicePort, DeviceSession, Fanout, Message } from '../../ports.js'
import type { SendOutcome, ServerSocket } from '../server/server.js'
import type { ConnectRequest } from './connect-request.js'
import type { EdgeCounters } from './edge-counters.js'
import type { Greeting } from './greeting.js'
import type { Outbox, Outlet } from './outbox.js'
import { publishFrame } from './publish-frame.js'
import { type MessageOutlet, SessionSubscriptions } from './subscriptions.js'

/** What all connections of an edge share. */
export interface ConnectionContext {
  readonly greeting: Greeting
  readonly fanout: Fanout
  readonly clock: Clock
  readonly outbox: Outbox
  readonly counters: EdgeCounters
  /** Bytes behind a slow socket above which fire-and-forget frames are dropped. */
  readonly dropAbove: number
  /** How long a device that was asked to leave may stay, milliseconds. */
  readonly leaveMs: number
}

/** Details that ERROR and GOAWAY carry as headers, where there are any. */
interface ErrorDetails {
  readonly seq?: number | undefined
  readonly retryAfterMs?: number | undefined
  readonly url?: string | undefined
}

/** Most bytes of a close frame's reason (RFC 6455 section 5.5: 125 in all, two of them for the code). */
const MAX_REASON = 123

/**
 * One device's WebSocket: the session core's port to it, and the fan-out's. Small on purpose, there is one per idle device:
 * plain fields, no closure, no timer, no map.
 */
export class Connection implements DevicePort, Outlet, MessageOutlet {
  /** What the device asked for; let go once it has its session. */
  request: ConnectRequest | undefined
  readonly #context: ConnectionContext
  /** Undefined before the upgrade is through, and once the socket is closed. */
  #socket: ServerSocket<Connection> | undefined
  session: DeviceSession | undefined
  head = -1
  tail = -1
  ackDue = 0
  listed = false
  /** The device was told of a gap in its seqs, and has not closed it yet. */
  gap = false
  /** The socket took less than it was given. */
  #lagging = false

  constructor(request: ConnectRequest, context: ConnectionContext) {
    this.request = request
    this.#context = context
  }

  get open(): boolean {
    return this.#socket !== undefined
  }

  get buffered(): number {
    return this.#lagging && this.#socket !== undefined ? this.#socket.buffered : 0
  }

  get subscriptions(): SessionSubscriptions | undefined {
    const state = this.session?.edge
    return state instanceof SessionSubscriptions ? state : undefined
  }

  opened(socket: ServerSocket<Connection>): void {
    this.#socket = socket
  }

  /** Takes its session and greets the device. */
  begin(session: DeviceSession): void {
    this.session = session
    const confirmed = this.request?.resume?.ack ?? 0
    this.request = undefined
    const { outbox, greeting } = this.#context
    const welcome = greeting.frame(session)
    outbox.frame(this, welcome, 0, welcome.length, -1, false, true)
    if (session.resumed) {
      const { subscriptions } = this
      if (subscriptions !== undefined) subscriptions.outlet = this
      session.replay(confirmed)
    }
    // Not at the end of the turn: now it shares a system call with the answer to the upgrade.
    outbox.flushOne(this)
  }

  /** The subscriptions of this connection's session, made when the first one comes. */
  ownSubscriptions(session: DeviceSession): SessionSubscriptions {
    const { counters, fanout } = this.#context
    let { subscriptions } = this
    if (subscriptions === undefined) {
      subscriptions = new SessionSubscriptions(session.device, fanout, () => counters.droppedAway++)
      session.edge = subscriptions
    }
    subscriptions.outlet = this
    return subscriptions
  }

  deliver(view: FrameView, frameStart: number, frameEnd: number, seq: number, redelivered: boolean): void {
    if (this.#socket === undefined) return
    if (seq === 0 && this.#full()) return
    // Protobuf's last field wins, so a worker's own numbers are covered by ours. Its `ack` would be taken for the gateway's.
    if (view.ack !== 0 && this.ackDue === 0) this.#context.outbox.acknowledge(this, this.session?.uplinkAcked ?? 0)
    const mark = redelivered && !view.redelivered
    if (seq === 0 && view.seq === 0 && view.ack === 0 && !mark) {
      this.#context.outbox.borrowed(this, view.bytes, frameStart, frameEnd)
      return
    }
    const append = seq === view.seq ? -1 : seq
    this.#context.outbox.frame(this, view.bytes, frameStart, frameEnd, append, mark, seq > 0)
  }

  /** A message of the fan-out. */
  publish(message: Message): void {
    if (this.#socket === undefined || this.#full()) return
    this.#context.outbox.shared(this, publishFrame(message), false)
  }

  acknowledged(seq: number): void {
    if (this.#socket !== undefined) this.#context.outbox.acknowledge(this, seq)
  }

  failed(seq: number, code: ErrorCode, message: string, retryAfterMs?: number): void {
    this.tell(code, message, { seq, retryAfterMs })
  }

  /** Sends ERROR. */
  tell(code: ErrorCode, message: string, details: ErrorDetails = {}): void {
    if (this.#socket === undefined) return
    this.#context.counters.errors++
    this.#queueNotice(FrameType.ERROR, { code, message }, details)
  }

  end(code: ErrorCode | 'closed', message: string, details: { retryAfterMs?: number; url?: string } = {}): void {
    if (this.#socket === undefined) return
    if (code === 'draining') {
      this.#leave(message, details)
      return
    }
    // Not an error of the device: it is elsewhere now. What is left here is told to go, and why.
    if (code === 'taken_over') this.#queueNotice(FrameType.GOAWAY, { code, message }, details)
    else if (code !== 'closed') this.tell(code, message, details)
    this.hangUp(code === 'closed' ? 1000 : closeCode(code), message)
  }

  /** Sends what waits, then closes. `close` of the endpoint follows before this returns. */
  hangUp(code: number, reason: string): void {
    if (this.#socket === undefined) return
    this.#context.outbox.flushOne(this)
    this.#socket?.end(code, shorten(reason))
  }

  /** The socket is gone. */
  closed(): void {
    const { session } = this
    const { subscriptions } = this
    this.#socket = undefined
    this.#context.outbox.discard(this)
    if (subscriptions?.outlet === this) subscriptions.outlet = undefined
    this.session = undefined
    session?.detach(this, false, 'closed')
  }

  drained(): void {
    if (this.#socket !== undefined && this.#socket.buffered === 0) this.#lagging = false
  }

  send(bytes: Uint8Array): SendOutcome {
    if (this.#socket === undefined) return 'ok'
    const outcome = this.#socket.send(bytes)
    if (outcome !== 'ok') this.#lagging = true
    return outcome
  }

  cork(fn: () => void): void {
    this.#socket?.cork(fn)
  }

  overrun(): void {
    if (this.#socket === undefined) return
    this.#context.counters.slowConsumers++
    this.#context.outbox.discard(this)
    this.#socket.end(closeCode('slow_consumer'), ERRORS.slow_consumer.summary)
  }

  dropped(): void {
    this.#context.counters.droppedSlow++
  }

  /** Subscribes or unsubscribes the socket itself, where the server has topics of its own. */
  join(room: string): boolean {
    if (this.#socket === undefined) return false
    // What this turn queued was published before.
    this.#context.outbox.flushOne(this)
    this.#socket.subscribe(room)
    return true
  }

  leaveRoom(room: string): void {
    this.#socket?.unsubscribe(room)
  }

  /** True, and counted, when a fire-and-forget frame has to be dropped because the device does not keep up. */
  #full(): boolean {
    if (!this.#lagging || this.buffered <= this.#context.dropAbove) return false
    this.#context.counters.droppedSlow++
    return true
  }

  #leave(message: string, details: { retryAfterMs?: number; url?: string }): void {
    const { clock, leaveMs } = this.#context
    this.#queueNotice(FrameType.GOAWAY, { message }, details)
    clock.after(leaveMs, () => this.hangUp(1012, message))
  }

  #queueNotice(type: FrameType, words: Record<string, string>, { seq, retryAfterMs, url }: ErrorDetails): void {
    const headers = words
    if (seq) headers.seq = String(seq)
    if (retryAfterMs !== undefined) headers.retryAfterMs = String(retryAfterMs)
    if (url !== undefined) headers.url = url
    this.#context.outbox.shared(this, encodeFrame({ type, headers }), true)
  }
}

/** Close codes for what ends a connection: 4000 plus the number in the error table (RFC 6455 section 7.4.2: private use). */
export function closeCode(code: ErrorCode): number {
  return 4000 + ERRORS[code].number
}

/** Says an error that ends the connection before it has a session. */
export function refuseOpen(connection: Connection, error: SluiceError): void {
  connection.tell(error.code, error.message, { retryAfterMs: error.retryAfterMs })
  connection.hangUp(closeCode(error.code), error.message)
}

/** Cuts at a character's border, so that the rest is still UTF-8. */
function shorten(reason: string): string {
  if (Buffer.byteLength(reason) <= MAX_REASON) return reason
  let end = MAX_REASON
  const bytes = Buffer.from(reason)
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end--
  return bytes.toString('utf8', 0, end)
}
