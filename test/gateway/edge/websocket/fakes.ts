import {
  type DevicePort,
  type DeviceSession,
  type EdgeState,
  type Fanout,
  type HandedOver,
  type Message,
  type OpenSession,
  Relay,
  type SessionHost,
  type Subscriber,
  type SubscriptionOptions,
} from '../../../../gateway/ports.js'
import { SluiceError } from '../../../../proto/errors.js'
import { encodeFrame, type FrameFields, FrameType, FrameView } from '../../../../proto/frame.js'
import { topicMatches } from '../../../../proto/topic.js'

/** A session whose worker is the test: it keeps what the edge relays, and answers when told to. */
export class FakeSession implements DeviceSession {
  readonly id: string
  readonly device: string
  readonly request: OpenSession
  resumed = false
  uplinkAcked = 0
  taken = 0
  edge: EdgeState | undefined
  port: DevicePort | undefined
  /** What the next frames come to; undefined: a worker gets them. */
  outcome: number | undefined
  /** Answers every DATA frame with itself. */
  echo = false
  readonly relayed: FrameFields[] = []
  readonly raw: Buffer[] = []
  readonly finished: number[] = []
  readonly deviceAcks: number[] = []
  readonly replays: number[] = []
  readonly detached: { final: boolean; code: string }[] = []
  /** Held ones that a worker has to process as well. */
  readonly #withWorker = new Set<number>()
  readonly #view = new FrameView()

  constructor(id: string, request: OpenSession) {
    this.id = id
    this.device = request.device
    this.request = request
  }

  relayFrame(view: FrameView, frameStart: number, frameEnd: number, held = false): number {
    const { seq } = view
    if (seq > 0) {
      const verdict = this.begin(seq)
      if (verdict < 0) return verdict
    }
    const bytes = Buffer.from(view.bytes.subarray(frameStart, frameEnd))
    if (this.outcome !== undefined) {
      if (this.outcome === Relay.OVERLOADED && seq > 0) this.taken--
      if (this.outcome === Relay.UNROUTED && seq > 0 && !held) this.finish(seq)
      return this.outcome
    }
    this.raw.push(bytes)
    this.relayed.push(decode(bytes))
    if (held) this.#withWorker.add(seq)
    if (this.echo) {
      if (seq > 0) this.acknowledge(seq)
      this.send(bytes, seq)
    }
    return seq
  }

  relay(): number {
    throw new Error('the WebSocket edge relays frames')
  }

  begin(seq: number): number {
    if (seq <= this.taken) return Relay.DUPLICATE
    if (seq > this.taken + 1) return Relay.BAD_SEQ
    this.taken = seq
    return seq
  }

  finish(seq: number): void {
    this.finished.push(seq)
    if (!this.#withWorker.has(seq)) this.acknowledge(seq)
  }

  acknowledge(seq: number): void {
    this.uplinkAcked = seq
    this.port?.acknowledged(seq)
  }

  /** A worker's frame on its way down. */
  send(bytes: Uint8Array, seq = 0, redelivered = false): void {
    const copy = new Uint8Array(bytes.length + 8).fill(0xee)
    copy.set(bytes, 4)
    if (!this.#view.read(copy, 4, 4 + bytes.length)) throw new Error('the test sends a bad frame')
    this.port?.deliver(this.#view, 4, 4 + bytes.length, seq, redelivered)
    // The seam says that bytes last until the turn ends, and the view until the call does.
    setImmediate(() => copy.fill(0xee))
    this.#view.read(WORN, 0, WORN.length)
  }

  deviceAcked(seq: number): void {
    this.deviceAcks.push(seq)
  }

  replay(confirmed: number): void {
    this.replays.push(confirmed)
    this.send(encodeFrame({ payload: Buffer.from('again') }), confirmed + 1, true)
  }

  detach(port: DevicePort, final: boolean, code: string): void {
    if (port !== this.port) return
    this.port = undefined
    this.detached.push({ final, code })
  }
}

/** What a view shows that is used after its time. */
const WORN = encodeFrame({ type: FrameType.ERROR, seq: 999, payload: Buffer.from('a worn view') })

export class FakeHost implements SessionHost {
  readonly sessions: FakeSession[] = []
  refuse: SluiceError | undefined
  /** Called with each new session before the edge gets it. */
  prepare: (session: FakeSession) => void = () => undefined

  open(request: OpenSession, port: DevicePort): FakeSession {
    if (this.refuse) throw this.refuse
    if (request.resume) return this.#resume(request, port)
    const session = new FakeSession(`s${this.sessions.length + 1}`, request)
    this.sessions.push(session)
    session.port = port
    this.prepare(session)
    return session
  }

  get last(): FakeSession {
    const session = this.sessions.at(-1)
    if (!session) throw new Error('no session was opened')
    return session
  }

  #resume(request: OpenSession, port: DevicePort): FakeSession {
    const session = this.sessions.find(({ id }) => id === request.resume?.session)
    if (!session) throw new SluiceError('session_unknown')
    session.resumed = true
    session.port = port
    return session
  }
}

/** A fan-out in a list. It settles a subscription when told to. */
export class FakeFanout implements Fanout {
  readonly published: Message[] = []
  readonly subscriptions: { subscriber: Subscriber; filter: string; options: SubscriptionOptions }[] = []
  settleAtOnce = true
  refuse: SluiceError | undefined
  readonly settling: (() => void)[] = []
  handsOverAtOnce = true
  readonly handingOver: (() => void)[] = []

  subscribe(subscriber: Subscriber, filter: string, options: SubscriptionOptions, settled: () => void): boolean {
    if (this.refuse) throw this.refuse
    const known = this.subscriptions.some((s) => s.subscriber === subscriber && s.filter === filter)
    if (!known) this.subscriptions.push({ subscriber, filter, options })
    if (this.settleAtOnce) settled()
    else this.settling.push(settled)
    return known
  }

  unsubscribe(subscriber: Subscriber, filter: string): boolean {
    const at = this.subscriptions.findIndex((s) => s.subscriber === subscriber && s.filter === filter)
    if (at >= 0) this.subscriptions.splice(at, 1)
    return at >= 0
  }

  unsubscribeAll(subscriber: Subscriber): void {
    for (const { filter } of this.subscriptions.filter((s) => s.subscriber === subscriber))
      this.unsubscribe(subscriber, filter)
  }

  publish(message: Message, handedOver?: HandedOver): number {
    this.published.push(message)
    if (handedOver !== undefined) {
      if (this.handsOverAtOnce) handedOver(message)
      else this.handingOver.push(() => handedOver(message))
    }
    const to = this.subscriptions.filter(({ filter }) => topicMatches(filter, message.topic))
    for (const { subscriber } of to) subscriber.deliver(message, 0, false, undefined)
    return to.length
  }
}

const view = new FrameView()

/** A frame as plain fields; defaults are left out. */
export function decode(bytes: Uint8Array): FrameFields {
  if (!view.read(bytes)) throw new Error('not a frame')
  const frame: FrameFields = {}
  if (view.type !== FrameType.DATA) frame.type = view.type as FrameType
  if (view.seq > 0) frame.seq = view.seq
  if (view.ack > 0) frame.ack = view.ack
  if (view.topic() !== '') frame.topic = view.topic()
  if (view.payloadEnd > view.payloadStart) frame.payload = Buffer.from(view.payload())
  if (view.headerCount > 0) frame.headers = { ...view.headers() }
  if (view.redelivered) frame.redelivered = true
  return frame
}
