/** One client's connection: its packets in, its packets out, and how it ends. */

import type { ErrorCode } from '../../../proto/errors.js'
import { FrameType, type FrameView } from '../../../proto/frame.js'
import { ConnectRefused, readConnect } from '../../../proto/mqtt/connect.js'
import { type ReasonPacket, readAuth } from '../../../proto/mqtt/decode.js'
import { encodeConnack, encodeDisconnect } from '../../../proto/mqtt/encode.js'
import type { Version } from '../../../proto/mqtt/packet.js'
import { MqttError, PacketType, protocolError, type Qos, Reason } from '../../../proto/mqtt/packet.js'
import { NO_PROPERTIES, type Properties } from '../../../proto/mqtt/properties.js'
import { PacketReader, type PacketSink, type PublishView } from '../../../proto/mqtt/reader.js'
import type { DevicePort, DeviceSession, Message } from '../../ports.js'
import type { Access } from './access.js'
import { deliverAnswer } from './answer.js'
import { goOnElsewhere, type Terms, type Will } from './connect-terms.js'
import type { EdgeContext } from './context.js'
import { type Client, dispatch } from './dispatch.js'
import { Downlink } from './downlink.js'
import { endReason } from './end-reasons.js'
import { Entrance, type EntranceOwner, type Entry } from './entrance.js'
import { DeviceMessage, messageProperties } from './message.js'
import { endOf } from './options.js'
import { OutBatch } from './out-batch.js'
import type { Outlet } from './outlet.js'
import type { MqttSession } from './session.js'
import type { ByteTransport } from './transport.js'
import { Uplink } from './uplink.js'

/** Milliseconds until a packet is offered again that an overloaded worker could not take. */
const STALL_MS = 5

type State = 'connecting' | 'active' | 'closed'

export class Connection implements PacketSink, DevicePort, Outlet, Client, EntranceOwner {
  readonly context: EdgeContext
  readonly batch: OutBatch
  readonly #transport: ByteTransport
  readonly #reader: PacketReader
  #state: State = 'connecting'
  #terms: Terms | undefined
  #entrance: Entrance | undefined
  session!: MqttSession
  upstream!: DeviceSession
  access!: Access
  bridge = false
  #uplink: Uplink | undefined
  #downlink!: Downlink
  /** Reading stopped: an answer is awaited, a worker is overloaded, or the client does not read itself. */
  #paused = false
  #waiting = false
  /** Closed, but its worker may still answer; see {@link EdgeContext.stay}. */
  #staying = false
  /** {@link EdgeContext.tick} of the last packet. */
  #seen: number
  /** Ticks without a packet after which the connection is cut; 0 for never. */
  #patience: number

  constructor(context: EdgeContext, transport: ByteTransport) {
    this.context = context
    this.#transport = transport
    this.batch = new OutBatch(transport, context.flush)
    this.#reader = new PacketReader(this, context.options.maxPacket, context.view)
    this.#seen = context.tick
    this.#patience = Math.ceil((context.options.connectTimeoutMs * context.ticksPerSecond) / 1000)
  }

  get version(): Version {
    return this.#reader.version
  }

  get window(): number {
    return this.#terms?.window ?? 1
  }

  get buffered(): number {
    return this.batch.buffered
  }

  get congested(): boolean {
    return this.batch.buffered > this.context.options.maxBuffered
  }

  /** Bytes from the client. They must not change afterwards. */
  receive(bytes: Buffer): void {
    if (this.#state === 'closed') return
    this.#seen = this.context.tick
    this.#guard(() => this.#reader.receive(bytes))
    if (this.congested) this.#pause()
    // A transport that cannot pause goes on; what it brings meanwhile is bounded.
    const { maxPacket, maxBuffered } = this.context.options
    if (this.#reader.waiting > maxPacket + maxBuffered) this.#close(Reason.MESSAGE_RATE_TOO_HIGH)
  }

  /** The transport wrote what it had. */
  drained(): void {
    if (this.#state === 'closed') return
    if (this.#state === 'active') this.session.pump()
    if (this.#paused && !this.#waiting && !this.congested) this.#resume()
  }

  /** The transport is gone. */
  lost(): void {
    this.batch.drop()
    this.#leave()
  }

  /** Keep-alive [MQTT-3.1.2-22] and the time for CONNECT and for PUBREL; called every tick. */
  sweep(): void {
    if (this.#state === 'active' && this.session.exactlyOnce?.silent(this.#paused || this.buffered > 0) === true)
      this.#failed(new MqttError(Reason.RECEIVE_MAXIMUM_EXCEEDED, 'PUBREL does not come'))
    if (this.#patience === 0 || this.context.tick - this.#seen <= this.#patience) return
    if (this.#state !== 'active') {
      this.#close(undefined)
      return
    }
    this.context.counters.keepAliveTimeouts++
    this.#close(Reason.KEEP_ALIVE_TIMEOUT)
  }

  #guard(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#failed(error)
    }
  }

  /** [MQTT-4.13.1-1] and section 4.13.2: say why where there is a way to, then close. */
  #failed(error: unknown): void {
    const { counters, log } = this.context
    if (error instanceof ConnectRefused) {
      this.refuse(error.version, error.code, error.message)
      return
    }
    if (!(error instanceof MqttError)) {
      log.warn({ device: this.session?.device, error: String(error) }, 'a defect ended a connection')
      this.#close(Reason.UNSPECIFIED)
      return
    }
    counters.protocolErrors++
    log.debug(
      { device: this.session?.device, reason: error.reason, error: error.message },
      'a client broke the protocol',
    )
    if (this.#state === 'connecting' && this.version === 5 && !error.silent) {
      this.refuse(5, error.reason, error.message)
      return
    }
    this.#close(error.silent ? undefined : error.reason)
  }

  // ---- packets in

  publish(view: PublishView): boolean {
    if (this.#state === 'closed') return true
    if (this.#state !== 'active') throw protocolError('PUBLISH before the connection was accepted')
    this.#uplink ??= new Uplink(this)
    return this.#uplink.publish(view)
  }

  packet(type: number, flags: number, bytes: Buffer, start: number, end: number): boolean {
    if (this.#state === 'closed') return true
    if (this.#state === 'active') dispatch(this, type, flags, bytes, start, end)
    else if (type === PacketType.CONNECT && this.#entrance === undefined) {
      const packet = readConnect(flags, bytes, start, end)
      this.#reader.version = packet.version
      this.#entrance = new Entrance(this, packet)
      this.#entrance.begin(packet)
    } else if (type === PacketType.AUTH && this.#entrance !== undefined) {
      this.#entrance.auth(readAuth(flags, bytes, start, end), false)
    } else throw protocolError('a packet before the connection was accepted')
    return !this.#waiting
  }

  get alive(): boolean {
    return this.#state === 'active'
  }

  get mayAuthenticate(): boolean {
    return this.#entrance?.method !== undefined
  }

  authenticate(packet: ReasonPacket): void {
    this.#entrance?.auth(packet, true)
  }

  disconnected({ reason, properties }: ReasonPacket): void {
    const { sessionExpiry } = properties
    if (sessionExpiry !== undefined) {
      // [MQTT-3.14.2-2]
      if (sessionExpiry > 0 && this.session.expiry === 0) throw protocolError('a session without expiry cannot get one')
      this.session.expiry = Math.min(sessionExpiry, this.context.options.maxSessionExpiry)
    }
    // [MQTT-3.14.4-3]
    if (reason === Reason.SUCCESS && this.#terms !== undefined) this.#terms.will = undefined
    this.#close(undefined)
  }

  // ---- connecting

  get remoteAddress(): string {
    return this.#transport.remoteAddress
  }

  wait<T>(answer: T | Promise<T>, then: (answer: T) => void): void {
    if (!(answer instanceof Promise)) {
      then(answer)
      return
    }
    this.#waiting = true
    this.#pause()
    void answer.then((value) => {
      this.#waiting = false
      if (this.#state === 'closed') return
      this.#guard(() => then(value))
      this.#resume()
    })
  }

  entered({ terms, session, upstream, access, connack }: Entry): void {
    const { context } = this
    this.#terms = terms
    this.bridge = terms.bridge
    this.session = session
    this.upstream = upstream
    this.useAccess(access)
    this.#downlink = new Downlink(terms, this.batch, context)
    this.#state = 'active'
    context.admission.connections++
    this.#patience = Math.ceil(terms.keepAlive * 1.5 * context.ticksPerSecond)
    session.expiry = terms.expiry
    // One without a delay was held up by a crash.
    if (session.will?.delay === 0) context.publishWill(session.will.message)
    session.will = undefined
    if (terms.will !== undefined) {
      context.journal?.will(session.device, { message: this.#messageOf(terms.will), delay: terms.will.delay })
    }
    session.useUpstream(upstream.id, upstream.uplinkAcked)
    if (this.#entrance?.method === undefined) this.#entrance = undefined
    this.batch.append(connack)
    session.attach(this)
    if (session.lasting) context.journal?.changed(session)
    upstream.replay(session.lastSeq)
  }

  useAccess(access: Access): void {
    this.access = access
    this.session.receives = access.receives
  }

  refuse(version: 3 | 4 | 5, code: number, message: string, properties: Properties = NO_PROPERTIES): void {
    this.context.counters.refused++
    this.context.log.debug({ code, message, from: this.#transport.remoteAddress }, 'a connection was refused')
    this.batch.append(encodeConnack(version, false, code, properties))
    this.#close(undefined)
  }

  leave(reason: number | undefined): void {
    this.#close(reason)
  }

  // ---- the session's side

  sendPublish(
    message: Message,
    qos: Qos,
    retain: boolean,
    ids: readonly number[] | undefined,
    packetId: number,
    dup: boolean,
  ): boolean {
    return this.#downlink.publish(message, qos, retain, ids, packetId, dup)
  }

  acknowledge(type: number, packetId: number): void {
    this.batch.ack(type, packetId, Reason.SUCCESS)
  }

  confirmed(seq: number): void {
    this.upstream.deviceAcked(seq)
  }

  overflow(): void {
    this.#close(Reason.QUOTA_EXCEEDED)
  }

  takenOver(clean: boolean): void {
    this.context.counters.takenOver++
    if (!clean && this.session.lasting) goOnElsewhere(this.#terms, this.context.options)
    this.#close(Reason.SESSION_TAKEN_OVER)
  }

  // ---- the worker's side

  deliver(view: FrameView, _start: number, _end: number, seq: number, _redelivered: boolean): void {
    if (this.#state === 'active' || this.#staying) deliverAnswer(view, seq, this)
  }

  acknowledged(seq: number): void {
    if (this.#state !== 'active') return
    if (this.#uplink === undefined && this.session.received !== undefined) this.#uplink = new Uplink(this)
    this.#uplink?.acknowledged(seq)
  }

  failed(seq: number, code: ErrorCode, message: string): void {
    this.context.log.debug({ device: this.session.device, seq, code, message }, 'a message reached no worker')
    if (seq > 0 && this.#uplink?.failed(seq, code) === false) this.#close(undefined)
  }

  end(code: ErrorCode | 'closed', message: string, details: { retryAfterMs?: number; url?: string } = {}): void {
    if (this.#state === 'closed') return
    this.context.log.debug({ device: this.session.device, code, message }, 'the session core ended a connection')
    const { url } = details
    if (code === 'draining' && url !== undefined) this.#close(Reason.SERVER_MOVED, { serverReference: url })
    else this.#close(endReason(code))
  }

  /** The gateway goes. */
  shutDown(): void {
    this.#close(Reason.SERVER_SHUTTING_DOWN)
  }

  stall(): void {
    this.context.counters.paused++
    this.#pause()
    this.#waiting = true
    this.context.clock.after(STALL_MS, () => {
      this.#waiting = false
      if (this.#state !== 'closed') this.#resume()
    })
  }

  #pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#transport.pause()
  }

  #resume(): void {
    if (this.#state === 'closed' || this.#waiting) return
    this.#guard(() => this.#reader.resume())
    if (this.#waiting || this.congested || !this.#paused) return
    this.#paused = false
    this.#transport.resume()
  }

  // ---- ending

  /** @param reason told to MQTT 5 clients whose connection was accepted; undefined: nothing is said */
  #close(reason: number | undefined, properties: Properties = NO_PROPERTIES): void {
    if (this.#state === 'closed') return
    if (reason !== undefined && this.#state === 'active' && this.version === 5) {
      const bytes = encodeDisconnect(reason, properties)
      if (bytes.length <= (this.#terms?.maxPacket ?? 0)) this.batch.append(bytes)
    }
    this.batch.end()
    this.#leave()
  }

  #leave(): void {
    if (this.#state === 'closed') return
    const wasActive = this.#state === 'active'
    this.#state = 'closed'
    this.context.closed(this)
    if (!wasActive) return
    this.context.admission.connections--
    this.#detach()
  }

  /** The session goes on without us, or ends; the will waits for its time or is published now. */
  #detach(): void {
    const { session, context, upstream } = this
    if (session.outlet !== this) return
    const will = this.#terms?.will
    session.detach(endOf(context.now, session.expiry))
    if (will !== undefined) {
      session.will = { message: this.#messageOf(will), delay: will.delay, dueAt: context.now + will.delay * 1000 }
      // Routes see a will as a publish while the device still has its session; one with a delay has none any more.
      if (will.delay === 0 || !session.lasting) upstream.relay(FrameType.PUBLISH, will.topic, will.payload, false)
    }
    context.journal?.will(session.device, undefined)
    context.dormant(session)
    // Who publishes and leaves at once is still heard, and its answer may be for others.
    if (!session.lasting && this.#uplink?.relayed === true) this.#staying = context.stay(this)
    if (!this.#staying) upstream.detach(this, !session.lasting, 'closed')
  }

  /** The time for answers to a client that is gone is over. */
  forget(): void {
    this.#staying = false
    this.upstream.detach(this, true, 'closed')
  }

  #messageOf({ topic, payload, qos, retain, properties }: Will): Message {
    const { context, session } = this
    const travels = messageProperties(properties)
    return new DeviceMessage(topic, payload, qos, retain, session.device, travels, context.now)
  }
}
