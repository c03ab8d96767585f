/**
 * One session's frames on their way to its device. Fire-and-forget ones go straight into the link's batch; acknowledged
 * ones are numbered and kept until the device has confirmed them, so that they can be sent again on another link.
 */

import { SluiceError } from '../../proto/errors.js'
import { encodeFrame } from '../../proto/frame.js'
import { DownlinkWindow } from './downlink-window.js'
import type { Headers, SendOptions } from './send-options.js'

/** The largest payload of one frame, in bytes. */
export const MAX_PAYLOAD = 1024 * 1024

export interface DownlinkLimits {
  /** Acknowledged frames and bytes of one session that the device has not confirmed. */
  readonly windowFrames: number
  readonly windowBytes: number
  /** Fire-and-forget frames that may be sent before the gateway knows that the session is open. */
  readonly queuedFrames: number
}

/** The link as the downlink sees it. */
export interface DownlinkPort {
  /** True while more waits for the gateway than may. */
  readonly full: boolean
  /** Writes a DATA frame straight into the link's batch. */
  frame(binding: number, topic: string, payload: Uint8Array, headers: Headers | undefined): void
  frameKept(binding: number, bytes: Uint8Array, redelivered: boolean): void
}

/** The session that the downlink belongs to. */
export interface DownlinkOwner {
  /** Undefined while no link holds the session. */
  readonly link: DownlinkPort | undefined
  /** The session's number on the link. */
  readonly binding: number
  /** False until the gateway was told that the session is open. */
  readonly announced: boolean
  /** False once the session ended. */
  readonly open: boolean
}

const utf8 = new TextEncoder()

/** A fire-and-forget frame that is sent before the gateway was told that the session is open. */
interface Early {
  topic: string
  payload: Uint8Array
  headers: Headers | undefined
}

export class Downlink {
  readonly #owner: DownlinkOwner
  readonly #limits: DownlinkLimits
  #sent: number
  #window: DownlinkWindow | undefined
  #early: Early[] | undefined
  #waiting: (() => void)[] | undefined

  /** @param sent last seq that a former owner gave out */
  constructor(owner: DownlinkOwner, limits: DownlinkLimits, sent: number) {
    this.#owner = owner
    this.#limits = limits
    this.#sent = sent
  }

  /** Last seq that was given out. */
  get sent(): number {
    return this.#sent
  }

  /**
   * @returns false when the frame was dropped: no room, no link, or no session any more
   * @throws SluiceError `frame_too_large`
   */
  send(payload: Uint8Array | string, { topic = '', acked, headers }: SendOptions): boolean {
    const bytes = typeof payload === 'string' ? utf8.encode(payload) : payload
    if (bytes.length > MAX_PAYLOAD) {
      throw new SluiceError('frame_too_large', `a payload of ${bytes.length} bytes; at most ${MAX_PAYLOAD} can be sent`)
    }
    return acked === true ? this.#sendAcked(topic, bytes, headers) : this.#sendOnce(topic, bytes, headers)
  }

  /** Resolves when there is room again, or when nothing can be sent any more. */
  drained(): Promise<void> {
    if (this.#room() || !this.#owner.open) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting ??= []
      this.#waiting.push(resolve)
    })
  }

  /** The device confirmed what was sent up to `seq`. */
  confirmed(seq: number): void {
    this.#window?.ack(seq)
    this.roomAgain()
  }

  /** Lets those go on that wait for room, when there is some. */
  roomAgain(): void {
    if (this.#waiting === undefined || !(this.#room() || !this.#owner.open)) return
    const waiting = this.#waiting
    this.#waiting = undefined
    for (const go of waiting) go()
  }

  /** Sends the acknowledged frames beyond `seq`; `again`: the device may have them. */
  resend(seq: number, again: boolean): void {
    const { link, binding } = this.#owner
    if (link !== undefined) this.#window?.visitAfter(seq, (bytes) => link.frameKept(binding, bytes, again))
  }

  /** Sends what was sent too early. */
  sendEarly(): void {
    const { link, binding } = this.#owner
    const early = this.#early
    this.#early = undefined
    for (const { topic, payload, headers } of early ?? []) link?.frame(binding, topic, payload, headers)
  }

  /** The session ended: nothing is kept, nobody waits. */
  drop(): void {
    this.#early = undefined
    this.#window = undefined
    this.roomAgain()
  }

  #sendOnce(topic: string, payload: Uint8Array, headers: Headers | undefined): boolean {
    const { link, binding, announced, open } = this.#owner
    if (link === undefined || link.full || !open) return false
    if (announced) link.frame(binding, topic, payload, headers)
    else {
      this.#early ??= []
      if (this.#early.length >= this.#limits.queuedFrames) return false
      this.#early.push({ topic, payload: payload.slice(), headers })
    }
    return true
  }

  #sendAcked(topic: string, payload: Uint8Array, headers: Headers = {}): boolean {
    const { link, binding, announced, open } = this.#owner
    if (!open || !this.#room()) return false
    const seq = ++this.#sent
    const bytes = encodeFrame({ topic, payload, seq, headers })
    this.#window ??= new DownlinkWindow()
    this.#window.push(seq, bytes)
    if (announced) link?.frameKept(binding, bytes, false)
    return true
  }

  #room(): boolean {
    if (this.#owner.link?.full === true) return false
    const { windowFrames, windowBytes } = this.#limits
    const window = this.#window
    return window === undefined || (window.size < windowFrames && window.bytes < windowBytes)
  }
}
