/**
 * A device's stay in the fleet: one session, over as many connections as it takes. It knows what to say next (outbox),
 * what it has seen (downlink seq), and where to go (chooser); connections come and go.
 */

import { type ErrorCode, SluiceError } from '../../proto/errors.js'
import { FrameType, type FrameView } from '../../proto/frame.js'
import { isTopicName } from '../../proto/topic.js'
import { Backoff } from './backoff.js'
import { CLOSE_MOVING, Connection } from './connection.js'
import type { Device } from './device.js'
import { diagnose } from './diagnose.js'
import { Emitter } from './emitter.js'
import { GatewayChooser } from './gateway-chooser.js'
import { asError, errorOfClose, FATAL, milliseconds, readError, SEND_AGAIN } from './notices.js'
import {
  DEFAULT_DEVICE_LIMITS,
  type DeviceEvents,
  type DeviceLimits,
  type DeviceMessage,
  type DeviceOptions,
  type DeviceState,
  type RequestOptions,
  type SendOptions,
} from './options.js'
import { Outbox } from './outbox.js'
import type { Platform } from './platform.js'
import { REQUEST_ID, Requests } from './requests.js'
import { type OnMessage, Subscriptions } from './subscriptions.js'

/** A connection that ends sooner than this counts as a failed attempt, in milliseconds. */
const STABLE_MS = 1000
/** UNSUBSCRIBE of this is the SDK's ping: the gateway acknowledges it, and nobody subscribes to it. */
const PING_FILTER = '$sluice/ping'

const utf8 = new TextEncoder()

/** Who does not care how a send ends does not have to catch it: Node ends a process for an unhandled rejection. */
function ignorable<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined)
  return promise
}

export class DeviceClient implements Device {
  readonly id: string
  gateway = ''
  session = ''
  #state: DeviceState = 'connecting'
  readonly #platform: Platform
  readonly #limits: DeviceLimits
  readonly #token: string | undefined
  readonly #chooser: GatewayChooser
  readonly #outbox: Outbox
  readonly #requests: Requests
  readonly #subscriptions = new Subscriptions()
  readonly #emitter = new Emitter<DeviceEvents>((error) => this.#report(asError(error, 'a listener failed')))
  #connection: Connection | undefined
  /** Last downlink seq that was processed. */
  #seen = 0
  readonly #backoff: Backoff
  #lastError: SluiceError | undefined
  /** What the attempt before ended with, for whoever asks why there is no connection. */
  #earlierError: SluiceError | undefined
  #stopTimers: (() => void)[] = []
  #wake: (() => void) | undefined

  constructor(options: DeviceOptions, bootstrap: readonly string[], platform: Platform) {
    this.id = options.device
    this.#platform = platform
    this.#token = options.token
    this.#limits = { ...DEFAULT_DEVICE_LIMITS, ...options.limits }
    this.#backoff = new Backoff(this.#limits.backoffFirstMs, this.#limits.backoffMostMs, platform.random)
    this.#chooser = new GatewayChooser(platform, bootstrap, options.location, this.#limits)
    this.#outbox = new Outbox(this.#limits)
    this.#requests = new Requests(this.#limits.requests)
  }

  get state(): DeviceState {
    return this.#state
  }
  /** Keeps the device connected until it is closed. `first` hears of the first connection, or of why there is none. */
  async run(first: (error?: SluiceError) => void): Promise<void> {
    this.#repeat(
      () => this.#limits.keepAliveMs / 2,
      () => this.#checkAlive(),
    )
    if (this.#limits.reprobeMs > 0) {
      this.#repeat(
        () => this.#limits.reprobeMs * (0.75 + this.#platform.random() / 2),
        () => void this.reprobe().catch(() => false),
      )
    }
    for (;;) {
      const fatal = await this.#attempt(first)
      if (fatal !== undefined) {
        this.#report(fatal)
        this.#shut(fatal)
        first(fatal)
      }
      if (this.state === 'closed') return
      await this.#pause()
    }
  }

  on<E extends keyof DeviceEvents>(event: E, listener: DeviceEvents[E]): () => void {
    return this.#emitter.on(event, listener)
  }

  /** Why there is no connection, as far as it is known. */
  get lastError(): SluiceError | undefined {
    return this.#lastError ?? this.#earlierError
  }

  send(payload: Uint8Array | string, options: SendOptions = {}): Promise<void> {
    return ignorable(this.#say(FrameType.DATA, options.topic ?? '', payload, options))
  }

  publish(topic: string, payload: Uint8Array | string, options: Omit<SendOptions, 'topic'> = {}): Promise<void> {
    if (isTopicName(topic)) return ignorable(this.#say(FrameType.PUBLISH, topic, payload, options))
    return ignorable(
      Promise.reject(new SluiceError('bad_topic', `publish: ${topic} is not a topic`, { path: 'topic' })),
    )
  }

  async request(payload: Uint8Array | string, options: RequestOptions = {}): Promise<Uint8Array> {
    const topic = options.topic ?? ''
    const timeoutMs = options.timeoutMs ?? 10_000
    const { id, answer } = this.#requests.begin(topic)
    const cancel = this.#platform.after(timeoutMs, () => {
      this.#requests.fail(id, new SluiceError('unavailable', `no answer within ${timeoutMs} ms`))
    })
    try {
      const sent = this.#say(FrameType.DATA, topic, payload, {
        acked: true,
        headers: { ...options.headers, [REQUEST_ID]: id },
      })
      sent.catch((error: Error) => this.#requests.fail(id, error))
      return await answer
    } finally {
      cancel()
    }
  }

  subscribe(filter: string, fn: OnMessage): Promise<() => Promise<void>> {
    return ignorable(this.#subscribe(filter, fn))
  }

  async reprobe(): Promise<boolean> {
    const better = await this.#chooser.better()
    if (better === undefined || this.#connection === undefined) return false
    this.#move('a nearer gateway')
    return true
  }

  close(): void {
    this.#shut(new SluiceError('unavailable', 'the device was closed'))
  }

  async #subscribe(filter: string, fn: OnMessage): Promise<() => Promise<void>> {
    if (this.#subscriptions.add(filter, fn)) {
      await this.#push({ type: FrameType.SUBSCRIBE, topic: filter }, true)
      this.#subscriptions.confirm(filter)
    }
    return async () => {
      if (this.state === 'closed' || !this.#subscriptions.remove(filter, fn)) return
      await this.#push({ type: FrameType.UNSUBSCRIBE, topic: filter }, true)
    }
  }

  /** One visit to one gateway, to its end. Returns the error that makes further attempts useless. */
  async #attempt(first: (error?: SluiceError) => void): Promise<SluiceError | undefined> {
    this.#setState('connecting')
    const before = this.#platform.now()
    try {
      const candidate = await this.#chooser.next()
      if (candidate === undefined || this.state === 'closed') return undefined
      const url = this.#connectUrl(candidate.ws)
      const welcomed = await this.#visit(url, () => {
        this.#chooser.settled(candidate)
        first()
      })
      if (!welcomed) this.#learn(await diagnose(this.#platform, url, candidate.id))
      else if (this.#platform.now() - before >= STABLE_MS) this.#backoff.reset()
    } catch (error) {
      this.#learn(asError(error, 'no gateway could be found'))
    }
    const error = this.#lastError
    return error !== undefined && FATAL.has(error.code) ? error : undefined
  }

  /** Resolves when the connection ended: true when there had been a WELCOME. */
  #visit(url: string, welcomed: () => void): Promise<boolean> {
    this.#earlierError = this.#lastError ?? this.#earlierError
    this.#lastError = undefined
    return new Promise((resolve) => {
      let came = false
      this.#connection = new Connection(this.#platform, url, this.#limits, {
        welcome: (view) => {
          came = true
          welcomed()
          this.#onWelcome(view)
        },
        frame: (view) => this.#onFrame(view),
        ended: (code, reason) => {
          this.#connection = undefined
          this.#lastError ??= errorOfClose(code, reason)
          resolve(came)
        },
      })
    })
  }

  #connectUrl(ws: string): string {
    const url = new URL(ws)
    url.searchParams.set('device', this.id)
    if (this.#token !== undefined) url.searchParams.set('token', this.#token)
    if (this.session !== '') {
      url.searchParams.set('resume', this.session)
      url.searchParams.set('ack', String(this.#seen))
    }
    return url.href
  }

  #onWelcome(view: FrameView): void {
    const { session = '', gateway = '' } = view.headers()
    if (session !== this.session) {
      this.#seen = 0
      if (this.session !== '') this.#outbox.renumber()
      this.session = session
    } else this.#outbox.rewind()
    this.gateway = gateway
    this.#outbox.ack(view.ack)
    this.#setState('connected')
    for (const topic of this.#subscriptions.confirmed()) this.#connection?.send({ type: FrameType.SUBSCRIBE, topic })
    this.#drain()
  }

  #onFrame(view: FrameView): void {
    if (view.ack > 0) {
      this.#outbox.ack(view.ack)
      this.#drain()
    }
    if (view.type === FrameType.GOAWAY) this.#onGoaway(view.headers())
    else if (view.type === FrameType.ERROR) this.#onError(view.headers())
    else if (view.type === FrameType.DATA || view.type === FrameType.PUBLISH) this.#onMessage(view)
  }

  #onMessage(view: FrameView): void {
    const { seq, type } = view
    if (seq === 0 || seq > this.#seen) {
      if (seq > 0) this.#seen = seq
      const message: DeviceMessage = {
        topic: view.topic(),
        payload: view.payload(),
        headers: view.headers(),
        redelivered: view.redelivered,
      }
      if (type === FrameType.PUBLISH) this.#deliver(message)
      else if (!this.#requests.answer(message.topic, message.headers[REQUEST_ID], message.payload))
        this.#emitter.emit('data', message)
    }
    if (seq > 0) this.#connection?.processed(this.#seen)
  }

  #deliver(message: DeviceMessage): void {
    for (const fn of this.#subscriptions.matching(message.topic)) {
      try {
        fn(message)
      } catch (error) {
        this.#report(asError(error, 'a subscriber failed'))
      }
    }
  }

  #onGoaway(headers: Record<string, string>): void {
    const { code = 'draining', url } = headers
    const retryAfterMs = milliseconds(headers.retryAfterMs)
    this.#emitter.emit('goaway', { code, url, retryAfterMs })
    const connection = this.#connection
    if (FATAL.has(code)) {
      this.#learn(new SluiceError(code as ErrorCode, headers.message))
      connection?.close(CLOSE_MOVING, code)
      return
    }
    this.#chooser.leave(url)
    // The connection serves until it is time: a fleet that was asked together does not come back together.
    this.#platform.after((retryAfterMs ?? 0) * this.#platform.random(), () => {
      if (connection !== undefined && this.#connection === connection) this.#move('asked to move')
    })
  }

  #move(why: string): void {
    this.#backoff.skipOnce()
    this.#connection?.close(CLOSE_MOVING, why)
  }

  #onError(headers: Record<string, string>): void {
    const { error, seq } = readError(headers)
    const { code, retryAfterMs } = error
    const connection = this.#connection
    // Once welcomed, most errors are about one frame, and do not tell why a connection ends later.
    if (connection?.up !== true || code === 'taken_over' || code === 'unauthorized') this.#learn(error)
    this.#report(error)
    if (connection?.up === true && SEND_AGAIN.has(code)) {
      this.#platform.after((retryAfterMs ?? this.#limits.backoffFirstMs) * (0.5 + this.#platform.random()), () => {
        if (this.#connection !== connection) return
        this.#outbox.rewind()
        this.#drain()
      })
    } else if (seq > 0 && !error.retryable) this.#outbox.fail(seq, error)
  }

  #say(type: FrameType, topic: string, payload: Uint8Array | string, options: SendOptions): Promise<void> {
    const headers = options.headers === undefined ? {} : { headers: options.headers }
    const bytes = typeof payload === 'string' ? utf8.encode(payload) : payload.slice()
    return this.#push({ type, topic, payload: bytes, ...headers }, options.acked === true)
  }

  /** Not async: the frame keeps its place in the order of the calls. */
  #push(frame: Parameters<Outbox['push']>[0], acked: boolean): Promise<void> {
    if (this.state === 'closed') return Promise.reject(new SluiceError('unavailable', 'the device is closed'))
    if (!acked && (this.#connection?.buffered ?? 0) > this.#limits.buffered) {
      return Promise.reject(new SluiceError('overloaded', 'the connection does not drain: wait before sending more'))
    }
    try {
      const settled = this.#outbox.push(frame, acked)
      this.#drain()
      return settled
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #drain(): void {
    const connection = this.#connection
    if (connection?.up === true) this.#outbox.drain((frame) => connection.send(frame))
  }

  /** A connection that is silent although an answer is due is given up; one that is only idle is asked. */
  #checkAlive(): void {
    const connection = this.#connection
    if (connection?.up !== true) return
    const silent = this.#platform.now() - connection.heardAt
    const { keepAliveMs, silenceMs } = this.#limits
    if (silent < keepAliveMs) return
    if (silent >= keepAliveMs + silenceMs && this.#outbox.inFlight > 0)
      connection.close(CLOSE_MOVING, 'the gateway is silent')
    else if (this.#outbox.inFlight === 0)
      this.#push({ type: FrameType.UNSUBSCRIBE, topic: PING_FILTER }, true).catch(() => undefined)
  }

  async #pause(): Promise<void> {
    const wait = this.#backoff.next()
    if (wait === 0) return
    await new Promise<void>((resolve) => {
      const cancel = this.#platform.after(wait, resolve)
      this.#wake = () => {
        cancel()
        resolve()
      }
    })
  }

  #learn(error: SluiceError | undefined): void {
    if (error === undefined) return
    this.#lastError = error
    if (error.retryAfterMs !== undefined) this.#backoff.notBefore(error.retryAfterMs)
  }

  #report(error: SluiceError): void {
    this.#emitter.emit('error', error)
  }

  #repeat(everyMs: () => number, fn: () => void): void {
    const at = this.#stopTimers.length
    const again = () => {
      this.#stopTimers[at] = this.#platform.after(everyMs(), () => {
        fn()
        if (this.state !== 'closed') again()
      })
    }
    again()
  }

  #setState(state: DeviceState): void {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    this.#emitter.emit('state', state)
  }

  #shut(error: SluiceError): void {
    if (this.state === 'closed') return
    this.#setState('closed')
    for (const stop of this.#stopTimers) stop()
    this.#connection?.close(1000, 'closed')
    this.#wake?.()
    this.#outbox.abandon(error)
    this.#requests.failAll(error)
  }
}
