/** One device's stay on this gateway: its seqs, its windows, its bindings. An edge holds it as {@link DeviceSession}. */

import type { ErrorCode } from '../../proto/errors.js'
import { encodeFrame, FrameType, type FrameView } from '../../proto/frame.js'
import type { Attach, CloseBinding } from '../../proto/link.js'
import type { Counters } from '../counters.js'
import {
  type DevicePort,
  type DeviceSession,
  type EdgeState,
  type OpenSession,
  type Protocol,
  Relay,
} from '../ports.js'
import type { Binding, BindingSession } from './binding.js'
import { DownlinkWindow } from './downlink-window.js'
import { type ExportedSession, UNKNOWN } from './exported-session.js'
import type { SessionAttributes, SessionRoutes } from './routes.js'
import type { SessionLimits } from './session-limits.js'
import { UplinkWindow } from './uplink-window.js'

/** What a session asks of the table of sessions that it is in. */
export interface SessionOwner {
  readonly limits: SessionLimits
  readonly gateway: string
  readonly region: string
  /** Wall clock when the table of sessions was made, whole milliseconds. */
  readonly began: number
  /** Routes of the table in force. */
  routesFor(attributes: SessionAttributes): SessionRoutes
  /** True when a frame's own headers can change where it goes. */
  readonly routesByHeaders: boolean
  /** The session's binding in the pool that `routes` name for this topic; made and attached when it is new. */
  bind(session: Session, pool: string, topic: string): Binding
  /** The session has lost its last connection; it may be resumed for a while. */
  dormant(session: Session): void
  ended(session: Session): void
  readonly counters: Counters
  /** For reading workers' frames; one for the whole gateway. */
  readonly view: FrameView
}

/** What a route matches of it stands on the session itself: an object of its own would be 64 bytes for each idle device. */
export class Session implements DeviceSession, BindingSession, SessionAttributes {
  readonly id: string
  readonly device: string
  readonly protocol: Protocol
  readonly headers: Readonly<Record<string, string>>
  readonly #owner: SessionOwner
  /** After the table began: a small whole number, where V8 makes an object of a date. */
  readonly #sinceMs: number
  #port: DevicePort | undefined
  #resumed = false
  #closed = false
  routes: SessionRoutes
  /** The edge's own; see {@link DeviceSession.edge}. */
  edge: EdgeState | undefined
  /** The binding of the pool that DATA goes to; the others are rare and live in {@link others}. */
  primary: Binding | undefined
  /** By pool, or pool and slot where the affinity key depends on the topic. Made with the first one. */
  others: Map<string, Binding> | undefined
  /** Last uplink seq that was taken. */
  #taken = 0
  #uplink: UplinkWindow | undefined
  /** Last downlink seq that was given out while the window was empty. */
  #confirmed = 0
  #downlink: DownlinkWindow | undefined

  constructor(owner: SessionOwner, id: string, { device, protocol, attributes }: OpenSession, since: number) {
    this.#owner = owner
    this.id = id
    this.device = device
    this.protocol = protocol
    this.headers = attributes
    this.#sinceMs = Math.round(since - owner.began)
    this.edge = undefined
    this.routes = owner.routesFor(this)
  }

  /** Wall clock, milliseconds. */
  get since(): number {
    return this.#owner.began + this.#sinceMs
  }

  get gateway(): string {
    return this.#owner.gateway
  }

  get region(): string {
    return this.#owner.region
  }

  get resumed(): boolean {
    return this.#resumed
  }

  get connected(): boolean {
    return this.#port !== undefined
  }

  get closed(): boolean {
    return this.#closed
  }

  get uplink(): UplinkWindow | undefined {
    return this.#uplink
  }

  get uplinkAcked(): number {
    return Math.max(0, this.#uplink?.acked ?? this.#taken)
  }

  get nextUplinkSeq(): number {
    return Math.max(0, this.#taken) + 1
  }

  describe(): Pick<Attach, 'session' | 'device' | 'protocol' | 'attributes'> {
    return {
      session: this.id,
      device: this.device,
      protocol: this.protocol,
      attributes: this.headers,
    }
  }

  /** Every binding, the primary first. */
  *bindings(): Iterable<Binding> {
    if (this.primary !== undefined) yield this.primary
    if (this.others !== undefined) yield* this.others.values()
  }

  /** Everything that another gateway needs to go on with it; the session is over here. Nothing is said to its workers. */
  handOver(): ExportedSession {
    const downlink = this.#downlink
    const bindings = [...this.bindings()]
    const frames = (downlink?.entries() ?? []).map(({ bytes, binding, workerSeq }) => ({
      bytes,
      binding: bindings.indexOf(binding as Binding),
      workerSeq,
    }))
    const exported: ExportedSession = {
      id: this.id,
      device: this.device,
      protocol: this.protocol,
      headers: this.headers,
      since: this.since,
      uplinkAcked: Math.max(0, this.uplinkAcked),
      confirmed: downlink === undefined ? this.#confirmed : downlink.last - downlink.size,
      frames,
      bindings: bindings.map((binding) => binding.abandon()),
    }
    this.#finish({ code: 'taken_over', message: 'the device went on at another gateway' })
    return exported
  }

  /** Takes up what {@link handOver} gave at another gateway. Bindings are in the order of the export. */
  takeUp({ uplinkAcked, confirmed, frames }: ExportedSession, bindings: readonly Binding[]): void {
    this.#taken = uplinkAcked
    this.#confirmed = confirmed
    if (frames.length === 0) return
    this.#downlink = new DownlinkWindow(confirmed)
    for (const { bytes, binding, workerSeq } of frames) {
      const owner = bindings[binding]
      if (owner !== undefined) this.#downlink.push(bytes, owner, workerSeq)
    }
  }

  /** A connection takes the session; a former one is told that it was taken over. */
  connect(port: DevicePort, resumed: boolean): void {
    const former = this.#port
    this.#port = port
    this.#resumed = resumed
    former?.end('taken_over', 'another connection of the same device took over')
  }

  /** Sends again what the device has not confirmed: called by the edge's first tick, after WELCOME. */
  replay(confirmed: number): void {
    this.deviceAcked(confirmed)
    const port = this.#port
    if (port === undefined) return
    const { view } = this.#owner
    this.#downlink?.replay((bytes, seq) => {
      if (view.read(bytes)) port.deliver(view, 0, bytes.length, seq, true)
    })
  }

  relayFrame(frame: FrameView, frameStart: number, frameEnd: number, held = false): number {
    const seq = frame.seq
    if (seq > 0) {
      const verdict = this.#check(seq)
      if (verdict < 0) return verdict
    }
    const publish = frame.type === FrameType.PUBLISH
    const routes = frame.headerCount > 0 ? this.#routesWith(frame.headers()) : this.routes
    const pool = routes.constant ? routes.dataPool : routes.pool(publish ? 'publish' : 'data', frame.topic())
    if (pool === undefined) return this.#unrouted(seq, held)
    const primary = this.primary
    const binding =
      primary !== undefined && primary.pool === pool && routes.constant
        ? primary
        : this.#owner.bind(this, pool, frame.topicEnd > frame.topicStart ? frame.topic() : '')
    if (this.#overfull(binding, seq)) return Relay.OVERLOADED
    this.#owner.counters.framesUp++
    if (seq === 0) binding.relay(frame.bytes, frameStart, frameEnd, 0)
    else this.#relayAcked(binding, frame.bytes.slice(frameStart, frameEnd), held)
    return seq
  }

  relay(
    type: number,
    topic: string,
    payload: Uint8Array,
    acked: boolean,
    headers?: Readonly<Record<string, string>>,
    redelivered = false,
  ): number {
    const routes = headers === undefined ? this.routes : this.#routesWith(headers)
    const pool = routes.constant ? routes.dataPool : routes.pool(type === FrameType.PUBLISH ? 'publish' : 'data', topic)
    if (pool === undefined) return Relay.UNROUTED
    const primary = this.primary
    const binding =
      primary !== undefined && primary.pool === pool && routes.constant ? primary : this.#owner.bind(this, pool, topic)
    if (acked && this.#taken === UNKNOWN) this.#taken = 0
    const seq = acked ? this.#taken + 1 : 0
    if (this.#overfull(binding, seq)) return Relay.OVERLOADED
    this.#owner.counters.framesUp++
    if (!acked && headers === undefined && !redelivered && binding.relayParts(type, topic, payload)) return 0
    const bytes = encodeFrame({ type: type as FrameType, seq, topic, payload, headers: headers ?? {}, redelivered })
    if (acked) this.#relayAcked(binding, bytes, false)
    else binding.relayKept(bytes, 0)
    return seq
  }

  begin(seq: number): number {
    const verdict = this.#check(seq)
    if (verdict < 0) return verdict
    this.#window().reserve()
    this.#taken = seq
    return seq
  }

  finish(seq: number): void {
    const before = this.uplinkAcked
    this.#uplink?.done(seq)
    if (this.uplinkAcked > before) this.#tellAcked()
  }

  deviceAcked(seq: number): void {
    if (this.#downlink === undefined) return
    this.#downlink.confirm(seq)
    if (this.#downlink.size === 0) {
      this.#confirmed = this.#downlink.last
      this.#downlink = undefined
    }
  }

  detach(port: DevicePort, final: boolean, code: ErrorCode | 'closed'): void {
    if (port !== this.#port) return
    this.#port = undefined
    if (final) this.close({ code })
    else this.#owner.dormant(this)
  }

  /** Ends the session everywhere. */
  close(reason: CloseBinding): void {
    if (this.#closed) return
    for (const binding of this.bindings()) binding.close(reason)
    this.#finish(reason)
  }

  #finish(reason: CloseBinding): void {
    this.#closed = true
    const port = this.#port
    this.#port = undefined
    this.#owner.ended(this)
    port?.end(reason.code as ErrorCode | 'closed', reason.message ?? '')
    this.edge?.ended()
    this.edge = undefined
  }

  /** Asks the device to go; the session stays until its connection does. */
  askToLeave(code: ErrorCode, message: string, details: { retryAfterMs?: number; url?: string }): void {
    this.#port?.end(code, message, details)
  }

  downlink(binding: Binding, bytes: Uint8Array, start: number, end: number): void {
    const { view } = this.#owner
    if (!view.read(bytes, start, end)) {
      this.#owner.counters.badFrames++
      return
    }
    const port = this.#port
    if (view.seq === 0) {
      if (port === undefined) this.#owner.counters.droppedDown++
      else {
        this.#owner.counters.framesDown++
        port.deliver(view, start, end, 0, view.redelivered)
      }
      return
    }
    if (!binding.takeDownlink(view.seq)) return
    this.#downlink ??= new DownlinkWindow(this.#confirmed)
    const seq = this.#downlink.push(bytes.slice(start, end), binding, view.seq)
    this.#owner.counters.framesDown++
    port?.deliver(view, start, end, seq, view.redelivered)
    this.#checkDownlink()
  }

  workerAcked(binding: Binding, seq: number): void {
    const window = this.#uplink
    if (window === undefined) return
    const before = window.acked
    window.ack(binding, seq)
    if (window.acked > before) this.#tellAcked()
  }

  closedByWorker(_binding: Binding, close: CloseBinding): void {
    this.close(close)
  }

  heldTooLong(binding: Binding, code: ErrorCode, dropped: number): void {
    this.#owner.counters.overloaded += dropped
    this.#port?.failed(0, code, `no worker of pool ${binding.pool} accepts sessions`, 1000)
  }

  /** The routes for a frame that brings headers of its own: they are matched beside the session's, and win. */
  #routesWith(headers: Readonly<Record<string, string>>): SessionRoutes {
    if (!this.#owner.routesByHeaders) return this.routes
    const merged: Record<string, string> = { ...this.headers }
    for (const [name, value] of Object.entries(headers)) merged[name.toLowerCase()] = value
    const { device, protocol, gateway, region } = this
    return this.#owner.routesFor({ device, protocol, gateway, region, headers: merged })
  }

  /** OK is 0; duplicates are acknowledged once more, since the device did not hear it. */
  #check(seq: number): number {
    // Continued after its gateway died: the device knows where it was, and begins there.
    if (this.#taken === UNKNOWN) this.#taken = seq - 1
    if (seq === this.#taken + 1) return 0
    if (seq > this.#taken) return Relay.BAD_SEQ
    this.#port?.acknowledged(this.uplinkAcked)
    return Relay.DUPLICATE
  }

  #unrouted(seq: number, held: boolean): number {
    this.#owner.counters.unrouted++
    if (seq > 0 && held) {
      this.#window().reserve()
      this.#taken = seq
    } else if (seq > 0) {
      this.#taken = seq
      this.#uplink?.push(undefined, undefined, false)
      this.#tellAcked()
    }
    return Relay.UNROUTED
  }

  #overfull(binding: Binding, seq: number): boolean {
    if (!binding.full && (seq === 0 || this.#uplink?.full(this.#owner.limits) !== true)) return false
    this.#owner.counters.overloaded++
    return true
  }

  #relayAcked(binding: Binding, bytes: Uint8Array, held: boolean): void {
    const window = this.#window()
    this.#taken++
    const sent = binding.relayKept(bytes, this.#taken)
    window.push(bytes, binding, sent, held)
  }

  #window(): UplinkWindow {
    this.#uplink ??= new UplinkWindow(this.#taken)
    return this.#uplink
  }

  #tellAcked(): void {
    this.#port?.acknowledged(this.uplinkAcked)
  }

  /** "Disconnected when acked ones would be lost; it can resume" (design: 'Overload'). */
  #checkDownlink(): void {
    const window = this.#downlink
    const { downlinkFrames, downlinkBytes } = this.#owner.limits
    // The device may have confirmed everything during deliver().
    if (window === undefined) return
    if (window.size <= downlinkFrames && window.bytes <= downlinkBytes) return
    const port = this.#port
    if (port === undefined) {
      this.close({ code: 'slow_consumer', message: 'the device stayed away longer than its window lasts' })
      return
    }
    this.#port = undefined
    this.#owner.dormant(this)
    port.end('slow_consumer', 'acknowledged frames wait longer than the window lasts', { retryAfterMs: 1000 })
  }
}
