/**
 * A session as this worker owns it. It outlives its links: a gateway that comes back, or another one that the device
 * went to, attaches the same object again, and what was processed is not processed twice.
 *
 *     opening ──open() settles──► open ──DETACH──► leaving ──detach() settles──► ended
 *        │ throws: REFUSED          └──CLOSE, session.close(), lost for too long──► ended
 */

import { SluiceError } from '../../proto/errors.js'
import type { Attach, AttachRefused, CloseBinding, Detached } from '../../proto/link.js'
import { Downlink, type DownlinkLimits, type DownlinkOwner, type DownlinkPort } from './downlink.js'
import type { WorkerHandler, WorkerLog, WorkerSession } from './handler.js'
import { isThenable } from './handler.js'
import type { SendOptions } from './send-options.js'
import type { QueueBudget, Taken, UplinkLimits, UplinkOwner } from './uplink.js'
import { Uplink } from './uplink.js'
import type { WorkerFrame } from './worker-frame.js'

/** The largest state that a handoff carries, in bytes. */
export const MAX_STATE = 8 * 1024 * 1024

export interface SessionLimits extends UplinkLimits, DownlinkLimits {}

/** The link that a session is bound on, as the session sees it. */
export interface SessionLink extends DownlinkPort {
  readonly gateway: string
  attached(binding: number, epoch: number, resumed: boolean): void
  refused(binding: number, refusal: AttachRefused): void
  detached(binding: number, detached: Detached): void
  close(binding: number, close: CloseBinding): void
  /** ACKs the session's progress once, at the end of this tick. */
  ackSoon(session: LiveSession): void
}

/** What all sessions of a worker share. */
export interface SessionHost {
  readonly handler: WorkerHandler
  readonly log: WorkerLog
  readonly limits: SessionLimits
  readonly budget: QueueBudget
  /** The session does not belong to this worker any more. */
  left(session: LiveSession): void
}

/** Session and slot, where there is one: the unit that epochs, dedupe and state belong to. */
export function bindingKey(attach: Attach): string {
  return attach.slot === undefined ? attach.session : `${attach.session}#${attach.slot}`
}

export class LiveSession implements WorkerSession, UplinkOwner, DownlinkOwner {
  readonly id: string
  /** What the worker knows it by. */
  readonly key: string
  readonly device: string
  protocol: string
  attributes: Readonly<Record<string, string>>
  redelivered: boolean
  data: unknown
  epoch: number
  /** Number on the link; 0 while no link holds the session. */
  binding = 0
  /** True while an ACK waits for the end of the tick. */
  ackWaits = false
  readonly #host: SessionHost
  readonly #uplink: Uplink
  readonly #downlink: Downlink
  #link: SessionLink | undefined
  #gateway: string
  #state: 'opening' | 'open' | 'leaving' | 'ended' = 'opening'
  /** True once it was attached a second time. */
  #again = false

  constructor(host: SessionHost, link: SessionLink, binding: number, attach: Attach) {
    this.#host = host
    this.id = attach.session
    this.key = bindingKey(attach)
    this.device = attach.device
    this.protocol = attach.protocol
    this.attributes = attach.attributes
    this.redelivered = attach.redelivered
    this.epoch = attach.epoch
    this.binding = binding
    this.#link = link
    this.#gateway = link.gateway
    this.#uplink = new Uplink(this, host.limits, host.budget, attach.acked)
    this.#downlink = new Downlink(this, host.limits, attach.sent ?? 0)
  }

  get gateway(): string {
    return this.#gateway
  }

  get link(): SessionLink | undefined {
    return this.#link
  }

  get open(): boolean {
    return this.#state !== 'ended'
  }

  /** True once the gateway was told that the session is open. */
  get announced(): boolean {
    return this.#state !== 'opening'
  }

  /** Last uplink seq that was processed. */
  get acked(): number {
    return this.#uplink.acked
  }

  /** Calls the handler's `open` or `attach`, then tells the gateway. */
  begin(state: Uint8Array | undefined): void {
    const { handler } = this.#host
    try {
      const result =
        state !== undefined && handler.attach !== undefined ? handler.attach(this, state) : handler.open?.(this)
      if (!isThenable(result)) this.#opened()
      else
        result.then(
          () => this.#opened(),
          (error: unknown) => this.#refuse(error),
        )
    } catch (error) {
      this.#refuse(error)
    }
  }

  /** True when `attach` goes on where this object stands; false when another worker had the session in between. */
  continues(attach: Attach): boolean {
    const alive = this.#state === 'opening' || this.#state === 'open'
    if (!alive || attach.state !== undefined) return false
    return attach.acked <= this.#uplink.seen && (attach.sent ?? 0) <= this.#downlink.sent
  }

  /** The session is attached again: the device, its gateway or the link came back. */
  rebind(link: SessionLink, binding: number, attach: Attach): void {
    this.#link?.close(this.binding, { code: 'taken_over', message: 'the session was attached by another gateway' })
    this.#link = link
    this.#gateway = link.gateway
    this.binding = binding
    this.epoch = attach.epoch
    this.protocol = attach.protocol
    this.attributes = attach.attributes
    this.redelivered = attach.redelivered
    this.#again = true
    this.#uplink.goOn()
    if (this.#state === 'open') this.#announce(attach)
  }

  /** A frame from the link. True when the session keeps the frame object. */
  deliver(frame: WorkerFrame): boolean {
    if (this.#state === 'ended') return false
    const taken: Taken = this.#uplink.take(frame)
    if (taken === 'duplicate') this.#link?.ackSoon(this)
    if (taken === 'full') this.#overflow(frame.seq)
    return taken === 'kept'
  }

  /** The device confirmed what was sent up to `seq`. */
  confirmed(seq: number): void {
    this.#downlink.confirmed(seq)
  }

  /** Lets those go on that wait for room, when there is some. */
  roomAgain(): void {
    this.#downlink.roomAgain()
  }

  /** DETACH: finishes what came, then lets go. */
  leave(): void {
    this.#uplink.whenIdle(() => this.#detach())
  }

  /** CLOSE from the gateway. */
  closed(code: string): void {
    this.#link = undefined
    // Another owner gets the unacknowledged frames again, so they are not for this one any more.
    if (code === 'stale_epoch' || code === 'taken_over') this.#uplink.drop()
    this.#uplink.whenIdle(() => this.end(code))
  }

  /** The link broke. The session waits for another attach. */
  lostLink(): void {
    this.#link = undefined
    this.binding = 0
    // A handoff that was under way is off: its state could not be handed to anybody.
    this.#uplink.goOn()
    this.roomAgain()
  }

  send(payload: Uint8Array | string, options: SendOptions = {}): boolean {
    return this.#downlink.send(payload, options)
  }

  drained(): Promise<void> {
    return this.#downlink.drained()
  }

  close(reason: string): void {
    if (this.#state === 'ended') return
    this.#giveUp({ code: 'closed', message: reason }, reason)
  }

  /** Ends the session here and tells the handler, after the frame that it has now. */
  end(reason: string): void {
    if (!this.#finish()) return
    this.#uplink.whenIdle(() => this.#tellClosed(reason))
  }

  handle(frame: WorkerFrame): unknown {
    frame.session = this
    return this.#host.handler.frame(this, frame)
  }

  processed(): void {
    this.#link?.ackSoon(this)
  }

  failed(seq: number, error: unknown): void {
    const { id: session, device } = this
    this.#host.log.error({ session, device, seq, err: error }, 'the handler failed on a frame')
    if (seq === 0 || this.#state === 'ended') return
    this.#giveUp({ code: 'worker_failed', message: 'the handler failed on an acknowledged frame' }, 'worker_failed')
  }

  #opened(): void {
    if (this.#state !== 'opening') {
      this.#uplink.start()
      return
    }
    this.#state = 'open'
    this.#announce(undefined)
    this.#downlink.sendEarly()
    this.#uplink.start()
  }

  /** ATTACHED, then what the gateway does not have of the downlink, then how far the uplink is. */
  #announce(attach: Attach | undefined): void {
    const link = this.#link
    if (link === undefined) return
    link.attached(this.binding, this.epoch, this.#again)
    this.#downlink.resend(attach?.sent ?? 0, attach !== undefined)
    if (attach !== undefined && this.acked > attach.acked) link.ackSoon(this)
    this.roomAgain()
  }

  #refuse(error: unknown): void {
    if (this.#state !== 'opening') {
      this.#uplink.start()
      return
    }
    const { id: session, device, epoch } = this
    this.#host.log.error({ session, device, err: error }, 'the handler refused a session')
    const code = error instanceof SluiceError ? error.code : 'worker_refused'
    const message = error instanceof Error ? error.message : 'the handler refused the session'
    const retryAfterMs = error instanceof SluiceError ? error.retryAfterMs : undefined
    this.#link?.refused(this.binding, { epoch, code, message, ...(retryAfterMs !== undefined && { retryAfterMs }) })
    this.#finish()
  }

  #detach(): void {
    if (this.#state !== 'open') return
    this.#state = 'leaving'
    // From here on a new attach makes a new session: this one's state is being handed out.
    this.#host.left(this)
    const { handler } = this.#host
    try {
      const state = handler.detach?.(this)
      if (!isThenable(state)) this.#letGo(state)
      else
        state.then(
          (value) => this.#letGo(value as Uint8Array | undefined),
          (error: unknown) => this.#letGo(undefined, error),
        )
    } catch (error) {
      this.#letGo(undefined, error)
    }
  }

  #letGo(state: Uint8Array | undefined, error?: unknown): void {
    const { id: session, device, epoch, acked } = this
    if (error !== undefined)
      this.#host.log.error({ session, device, err: error }, 'detach failed: the session moves without its state')
    const size = state?.length ?? 0
    if (size > MAX_STATE)
      this.#host.log.error({ session, device, size }, 'the state is above 8 MiB: the session moves without it')
    const kept = size > 0 && size <= MAX_STATE ? { state: state as Uint8Array } : {}
    if (this.#state === 'leaving')
      this.#link?.detached(this.binding, { epoch, acked, sent: this.#downlink.sent, ...kept })
    this.#finish()
  }

  #overflow(seq: number): void {
    const { id: session, device } = this
    if (seq === 0) return
    this.#host.log.warn(
      { session, device },
      'the handler is too slow: the session ends with acknowledged frames waiting',
    )
    this.#giveUp(
      { code: 'overloaded', message: 'the worker has too many frames of this session waiting' },
      'overloaded',
    )
  }

  #giveUp(close: CloseBinding, reason: string): void {
    this.#link?.close(this.binding, close)
    this.#link = undefined
    this.#uplink.drop()
    this.end(reason)
  }

  /** True the first time. */
  #finish(): boolean {
    if (this.#state === 'ended') return false
    this.#state = 'ended'
    this.#link = undefined
    this.#uplink.drop()
    this.#host.left(this)
    this.#downlink.drop()
    return true
  }

  #tellClosed(reason: string): void {
    const { handler, log } = this.#host
    const failed = (err: unknown) =>
      log.error({ session: this.id, device: this.device, err }, 'the handler failed on close')
    try {
      const result = handler.close?.(this, reason)
      if (isThenable(result)) result.then(undefined, failed)
    } catch (error) {
      failed(error)
    }
  }
}
