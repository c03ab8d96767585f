/** One WebSocket to one gateway, from opening to its end: frames in, frames out, acks ride along. */

import { encodeFrame, type FrameFields, FrameType, FrameView } from '../../proto/frame.js'
import type { DeviceSocket, Platform } from './platform.js'

/** Milliseconds. */
export interface ConnectionTimes {
  /** From opening to WELCOME. */
  readonly welcomeMs: number
  /** How long an ack may wait for a frame to ride on. */
  readonly ackMs: number
}

export interface ConnectionEvents {
  /** WELCOME came. */
  welcome(view: FrameView): void
  /** Any later frame. The bytes of a message are its own: views on them stay valid. */
  frame(view: FrameView): void
  /** Called once, whatever ended it. */
  ended(code: number, reason: string): void
}

/** Acks that may wait before one is sent at once. */
const ACK_EVERY = 64
/** Close codes of our own (RFC 6455 section 7.4.2: 4000 to 4999 are private). */
export const CLOSE_MOVING = 4901
const CLOSE_SILENT = 4902
const CLOSE_UNREADABLE = 4903

export class Connection {
  readonly #platform: Platform
  readonly #times: ConnectionTimes
  readonly #events: ConnectionEvents
  readonly #socket: DeviceSocket
  readonly #view = new FrameView()
  #state: 'opening' | 'welcomed' | 'ended' = 'opening'
  #stopWelcome: () => void
  #stopAck: (() => void) | undefined
  #toAck = 0
  #ackCount = 0
  /** When anything came last, by the platform's clock. */
  heardAt: number

  constructor(platform: Platform, url: string, times: ConnectionTimes, events: ConnectionEvents) {
    this.#platform = platform
    this.#times = times
    this.#events = events
    this.heardAt = platform.now()
    const socket = platform.open(url)
    this.#socket = socket
    socket.binaryType = 'arraybuffer'
    socket.addEventListener('message', ({ data }) => this.#receive(data))
    // 'close' always follows; without a listener the ws package would throw.
    socket.addEventListener('error', () => undefined)
    socket.addEventListener('close', ({ code, reason }) => this.#end(code, reason))
    this.#stopWelcome = platform.after(times.welcomeMs, () => this.close(CLOSE_SILENT, 'no WELCOME in time'))
  }

  get up(): boolean {
    return this.#state === 'welcomed'
  }

  /** Bytes that wait in the socket. */
  get buffered(): number {
    return this.#socket.bufferedAmount
  }

  send(frame: FrameFields): void {
    if (this.#state !== 'welcomed') return
    if (this.#toAck === 0) this.#socket.send(encodeFrame(frame))
    else this.#socket.send(encodeFrame({ ...frame, ack: this.#takeAck() }))
  }

  /** Everything up to `seq` was processed here; the gateway is told soon. */
  processed(seq: number): void {
    this.#toAck = seq
    if (++this.#ackCount >= ACK_EVERY) this.#sendAck()
    else this.#stopAck ??= this.#platform.after(this.#times.ackMs, () => this.#sendAck())
  }

  /** Ends it at once; a peer that does not answer is not waited for. */
  close(code: number, reason: string): void {
    if (this.#state === 'ended') return
    this.#sendAck()
    this.#socket.close(code, reason)
    this.#end(code, reason)
  }

  #sendAck(): void {
    if (this.#toAck > 0) this.send({ type: FrameType.ACK })
  }

  #takeAck(): number {
    const ack = this.#toAck
    this.#toAck = this.#ackCount = 0
    this.#stopAck?.()
    this.#stopAck = undefined
    return ack
  }

  #receive(data: unknown): void {
    if (this.#state === 'ended') return
    this.heardAt = this.#platform.now()
    if (!(data instanceof ArrayBuffer) || !this.#view.read(new Uint8Array(data))) {
      this.close(CLOSE_UNREADABLE, 'the gateway sent something that is not a frame')
      return
    }
    if (this.#state === 'welcomed') this.#events.frame(this.#view)
    else if (this.#view.type === FrameType.WELCOME) {
      this.#state = 'welcomed'
      this.#stopWelcome()
      this.#events.welcome(this.#view)
    } else this.#events.frame(this.#view)
  }

  #end(code: number, reason: string): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#stopWelcome()
    this.#stopAck?.()
    this.#events.ended(code, reason)
  }
}
