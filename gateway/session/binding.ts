/**
 * Session x pool -> worker, and the handoff between workers (design: 'Handoff').
 *
 *     waiting ──choose──► attaching ──ATTACHED──► bound ──move──► detaching ──DETACHED──► attaching ...
 *        ▲                    │ refused, lost        │ lost            │ lost, timed out
 *        └────────────────────┴──────────────────────┴─────────────────┘
 *
 * Uplink frames are relayed only while bound; in every other state the {@link Handoff} holds them, in order. Each attach
 * has a higher epoch and a number of its own on the link, so whatever a former owner still says reaches nobody.
 * No clock, timer or socket in here: the host passes time in and calls {@link Binding.sweep}.
 */

import type { ErrorCode } from '../../proto/errors.js'
import type { Attach, AttachRefused, CloseBinding, Detached } from '../../proto/link.js'
import type { BindingEvents, WorkerPort } from '../worker-port.js'
import type { BindingLimits, BindingSnapshot, Handover } from './binding-terms.js'
import { Handoff } from './handoff.js'
import type { UplinkWindow } from './uplink-window.js'

/** The session that a binding belongs to. */
export interface BindingSession {
  readonly uplink: UplinkWindow | undefined
  describe(): Pick<Attach, 'session' | 'device' | 'protocol' | 'attributes'>
  /** Seq that the device's next acknowledged frame will have. */
  readonly nextUplinkSeq: number
  downlink(binding: Binding, bytes: Uint8Array, start: number, end: number): void
  workerAcked(binding: Binding, seq: number): void
  closedByWorker(binding: Binding, close: CloseBinding): void
  /** Held frames were given up (`dropped` fire-and-forget ones), or wait longer than they should. */
  heldTooLong(binding: Binding, code: ErrorCode, dropped: number): void
}

/** Whoever owns the bindings. */
export interface BindingHost {
  readonly tableVersion: number
  readonly limits: BindingLimits
  /** True when a session may have several bindings in this pool, one for each slot. */
  keyedByTopic(pool: string): boolean
  now(): number
  /**
   * The worker that should own this binding now, if it can be reached.
   * @param avoid passed over when there is another; set after it refused or hung
   * @param anyone true: when the table's choice cannot be reached, take the next best
   */
  choose(binding: Binding, avoid: string | undefined, anyone: boolean): WorkerPort | undefined
  /** The binding needs {@link Binding.sweep} from now on. */
  watch(binding: Binding): void
  /** It does not any more: it is bound, or closed. */
  unwatch(binding: Binding): void
  /** A binding reached a new owner. `from` is empty for a first attach. */
  bound(binding: Binding, receipt: Handover): void
  /** The owner did something a healthy worker does not. */
  suspect(worker: string, event: 'timeout' | 'refused', detail: string): void
}

export type BindingState = 'waiting' | 'attaching' | 'bound' | 'detaching' | 'closed'

/** Attach attempts that may be refused one after the other before the binding waits for {@link BindingLimits.fallbackMs}. */
const QUICK_ATTEMPTS = 3

export class Binding implements BindingEvents {
  readonly session: BindingSession
  readonly #host: BindingHost
  /** Changes when the routes send the session elsewhere. */
  pool: string
  /** Slot of the affinity key, -1 for the policies without slots. */
  slot: number
  #epoch = 0
  #state: BindingState = 'waiting'
  #port: WorkerPort | undefined
  #number = 0
  /** There while it is not bound, and not closed. */
  #handoff: Handoff | undefined
  /** Last uplink seq that a worker acknowledged. */
  #lastSeq = 0
  /** Last downlink seq that a worker gave. */
  #sent = 0

  constructor(session: BindingSession, host: BindingHost, pool: string, slot: number) {
    this.session = session
    this.#host = host
    this.pool = pool
    this.slot = slot
    this.#handoff = Handoff.begin(host.now(), '')
  }

  get state(): BindingState {
    return this.#state
  }

  get epoch(): number {
    return this.#epoch
  }

  /** The worker that owns it, or is asked to; empty while it waits. */
  get worker(): string {
    return this.#port?.worker ?? ''
  }

  /** True while the link of its owner takes no more. */
  get full(): boolean {
    if (this.#state === 'bound') return (this.#port as WorkerPort).full
    return this.#handoff?.full(this.#host.limits) === true
  }

  /** Chooses a worker and attaches. */
  start(): void {
    this.#attachTo(this.#host.choose(this, undefined, false))
  }

  /** Goes on where another gateway's binding stopped: at the same worker if `port` is up, else wherever it belongs. */
  adopt({ epoch, sent, carried, worker }: BindingSnapshot, port: WorkerPort | undefined): void {
    this.#epoch = epoch
    this.#sent = sent
    this.#handoff?.adopt(worker, carried)
    this.#attachTo(port?.up ? port : this.#host.choose(this, undefined, false))
  }

  /** True while its owner is being changed: it cannot go to another gateway now. */
  get unsettled(): boolean {
    return this.#state === 'detaching'
  }

  /**
   * Whether the worker held the session already when it accepts; false, too, when the binding is over before that, or when
   * it is not attaching now.
   */
  whenSettled(tell: (resumed: boolean) => void): void {
    if (this.#handoff === undefined) tell(false)
    else this.#handoff.settled = tell
  }

  /** Lets go without a word to the worker: another gateway's attach, with a higher epoch, follows. */
  abandon(): BindingSnapshot {
    const { pool, slot, worker } = this
    const snapshot = { pool, slot, worker, epoch: this.#epoch, sent: this.#sent }
    const carried = this.#handoff?.carried
    if (this.#number !== 0) this.#port?.retire(this.#number)
    this.#number = 0
    this.#shut()
    return carried === undefined ? snapshot : { ...snapshot, carried }
  }

  /** Relays or holds one encoded frame; true when it was written to a worker. */
  relay(bytes: Uint8Array, start: number, end: number, seq: number): boolean {
    if (this.#state === 'bound') {
      ;(this.#port as WorkerPort).frame(this.#number, bytes, start, end)
      return true
    }
    this.#handoff?.hold(bytes.slice(start, end), seq)
    return false
  }

  /** Relays or holds a frame whose bytes the caller keeps unchanged (an acknowledged one, in the window). */
  relayKept(bytes: Uint8Array, seq: number): boolean {
    if (this.#state === 'bound') {
      ;(this.#port as WorkerPort).frame(this.#number, bytes, 0, bytes.length)
      return true
    }
    this.#handoff?.hold(bytes, seq)
    return false
  }

  /** Relays a fire-and-forget frame that is not encoded yet. False when it is not bound: then encode and {@link relayKept} it. */
  relayParts(type: number, topic: string, payload: Uint8Array): boolean {
    if (this.#state !== 'bound') return false
    ;(this.#port as WorkerPort).frameParts(this.#number, type, topic, payload)
    return true
  }

  /** Starts a planned handoff to whatever the host chooses once the owner let go. False when there is nothing to do now. */
  move(): boolean {
    if (this.#state !== 'bound') return false
    const port = this.#port as WorkerPort
    const now = this.#host.now()
    this.#handoff = Handoff.begin(now, port.worker)
    this.#handoff.step(now)
    this.#state = 'detaching'
    port.detach(this.#number, this.#epoch)
    this.#host.watch(this)
    return true
  }

  /** The table or a link changed: a waiting binding tries again. */
  retry(): void {
    if (this.#state === 'waiting') this.#attachTo(this.#host.choose(this, undefined, false))
  }

  /** The device confirmed what the worker sent up to `workerSeq`. */
  confirmDownlink(workerSeq: number): void {
    if (this.#number !== 0) this.#port?.ack(this.#number, workerSeq)
  }

  /** The session ended. */
  close(code: CloseBinding): void {
    if (this.#state === 'closed') return
    if (this.#number !== 0) this.#port?.close(this.#number, code)
    this.#number = 0
    this.#shut()
  }

  attached(port: WorkerPort, epoch: number, resumed: boolean): void {
    if (this.#state !== 'attaching' || port !== this.#port || epoch !== this.#epoch) return
    const handoff = this.#handoff as Handoff
    this.#handoff = undefined
    this.#state = 'bound'
    const number = this.#number
    const window = this.session.uplink
    const firstSeq = window === undefined ? this.session.nextUplinkSeq : window.acked + 1
    window?.replay(this, (bytes) => port.frameAgain(number, bytes))
    handoff.release((bytes, seq) => {
      port.frame(number, bytes, 0, bytes.length)
      if (seq > 0) window?.markSent(seq)
    })
    this.#host.unwatch(this)
    this.#host.bound(this, handoff.receipt(port.worker, this.#lastSeq, firstSeq, this.#host.now()))
    handoff.end(resumed)
  }

  refused(port: WorkerPort, refusal: AttachRefused): void {
    if (this.#state !== 'attaching' || port !== this.#port) return
    port.forget(this.#number)
    this.#number = 0
    const handoff = this.#handoff as Handoff
    handoff.attempts++
    if (refusal.code === 'stale_epoch' && handoff.attempts <= QUICK_ATTEMPTS) {
      this.#epoch = Math.max(this.#epoch, refusal.epoch)
      this.#attachTo(port)
      return
    }
    if (refusal.code === 'forbidden') {
      // The session is not this device's: no fault of the worker, and none of the others may be asked either.
      this.session.closedByWorker(this, { code: 'forbidden', message: refusal.message })
      return
    }
    this.#host.suspect(port.worker, 'refused', `${refusal.code}: ${refusal.message}`)
    this.#elsewhere(handoff, port.worker)
  }

  detached(port: WorkerPort, detached: Detached): void {
    if (this.#state !== 'detaching' || port !== this.#port || detached.epoch !== this.#epoch) return
    if (detached.acked > 0) this.session.workerAcked(this, detached.acked)
    if (this.#handoff === undefined) return
    port.forget(this.#number)
    this.#number = 0
    this.#handoff.carried = detached.state
    this.#lastSeq = detached.acked
    this.#sent = Math.max(this.#sent, detached.sent)
    this.#attachTo(this.#host.choose(this, undefined, true))
  }

  closedByWorker(port: WorkerPort, close: CloseBinding): void {
    if (port !== this.#port || this.#state === 'closed') return
    port.forget(this.#number)
    this.#number = 0
    this.session.closedByWorker(this, close)
  }

  downlink(port: WorkerPort, bytes: Uint8Array, start: number, end: number): void {
    if (port === this.#port) this.session.downlink(this, bytes, start, end)
  }

  /** True when the worker's frame is new; false when it is one that is kept for the device already. */
  takeDownlink(workerSeq: number): boolean {
    if (workerSeq <= this.#sent) return false
    this.#sent = workerSeq
    return true
  }

  workerAcked(port: WorkerPort, seq: number): void {
    if (port !== this.#port) return
    this.#lastSeq = seq
    this.session.workerAcked(this, seq)
  }

  portLost(port: WorkerPort, hung: boolean): void {
    if (port !== this.#port || this.#state === 'closed') return
    this.#number = 0
    this.#handoff ??= Handoff.begin(this.#host.now(), port.worker)
    // An owner that was bound or detaching takes its state with it; one that had not accepted yet never had it.
    if (this.#state !== 'attaching') this.#handoff.lose(port.worker)
    this.#wait(this.#handoff)
    if (hung) this.#attachTo(this.#host.choose(this, port.worker, true))
  }

  /** Deadlines. Called every 100 ms or so while the host watches this binding. */
  sweep(now: number): void {
    const handoff = this.#handoff
    if (handoff === undefined) return
    const { detachMs, attachMs, fallbackMs, holdMs } = this.#host.limits
    const waited = handoff.waited(now)
    if (this.#state === 'detaching' && waited >= detachMs) this.#leaveBehind(handoff, 'did not let go in time')
    else if (this.#state === 'attaching' && waited >= attachMs) this.#leaveBehind(handoff, 'did not accept in time')
    else if (this.#state === 'waiting' && waited >= fallbackMs) {
      handoff.attempts = 0
      handoff.step(now)
      this.#attachTo(this.#host.choose(this, undefined, true))
    }
    if (handoff === this.#handoff && handoff.heldTooLong(now, holdMs))
      this.session.heldTooLong(this, 'no_worker', handoff.dropUnacknowledged())
  }

  get closed(): boolean {
    return this.#state === 'closed'
  }

  #shut(): void {
    this.#state = 'closed'
    this.#port = undefined
    const handoff = this.#handoff
    this.#handoff = undefined
    this.#host.unwatch(this)
    handoff?.end(false)
  }

  #attachTo(port: WorkerPort | undefined): void {
    const handoff = this.#handoff as Handoff
    if (port === undefined) {
      this.#wait(handoff)
      return
    }
    this.#state = 'attaching'
    this.#port = port
    this.#epoch++
    handoff.step(this.#host.now())
    this.#host.watch(this)
    // Named one by one: a spread makes V8 give up the object's fast form, and there is one for each connect.
    const { session, device, protocol, attributes } = this.session.describe()
    const attach: Attach = {
      session,
      device,
      protocol,
      attributes,
      epoch: this.#epoch,
      table: this.#host.tableVersion,
      acked: this.session.uplink?.acked ?? this.session.nextUplinkSeq - 1,
      redelivered: handoff.redelivered,
      sent: this.#sent,
    }
    if (handoff.carried !== undefined) attach.state = handoff.carried
    if (this.slot >= 0 && this.#host.keyedByTopic(this.pool)) attach.slot = this.slot
    this.#number = port.attach(this, attach)
  }

  #wait(handoff: Handoff): void {
    if (this.#state !== 'waiting') handoff.step(this.#host.now())
    this.#state = 'waiting'
    this.#port = undefined
    this.#host.watch(this)
  }

  /** After a refusal: another worker at once, and after several a pause. */
  #elsewhere(handoff: Handoff, avoid: string): void {
    if (handoff.attempts > QUICK_ATTEMPTS) this.#wait(handoff)
    else this.#attachTo(this.#host.choose(this, avoid, true))
  }

  #leaveBehind(handoff: Handoff, why: string): void {
    const port = this.#port as WorkerPort
    this.#host.suspect(port.worker, 'timeout', why)
    if (this.#number !== 0) port.close(this.#number, { code: 'stale_epoch', message: why })
    this.#number = 0
    if (this.#state === 'detaching') handoff.lose(port.worker)
    handoff.attempts++
    this.#elsewhere(handoff, port.worker)
  }
}
