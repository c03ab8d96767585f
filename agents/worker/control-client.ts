/** The worker's connection to the coordinator: registers, sends heartbeats, and comes back whenever it breaks. */

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { WebSocket } from 'ws'
import type { FromCoordinator, RegisterWorker, ToCoordinator } from '../../proto/control.js'
import { CONTROL_PROTOCOL, MAX_CONTROL_BYTES, packControl, unpackControl } from '../../proto/control.js'
import { ERRORS, type ErrorCode, SluiceError } from '../../proto/errors.js'
import type { Clock } from './clock.js'
import type { WorkerLog } from './handler.js'

export interface ControlOptions {
  /** Base URL of the coordinator, `http://` or `https://`; of several with commas between. */
  coordinator: string
  token: string | undefined
  log: WorkerLog
  clock: Clock
  /** 0 to 1, for jitter. */
  random: () => number
  /** What to register; asked for on every connect. */
  describe(): Omit<RegisterWorker, 't' | 'protocol'>
  /** The coordinator says that nothing is bound to this worker any more. */
  drained(): void
}

/** Waits between attempts, in milliseconds: full jitter under a doubling ceiling. */
const BACKOFF = { first: 100, most: 5000 } as const
/** From connecting to the end of the upgrade, in milliseconds. */
const HANDSHAKE_MS = 3000
/** A coordinator that answers nothing for this long is left, in milliseconds: it stands still, or its machine is gone. */
const SILENT_MS = 2500

export class ControlClient {
  readonly #options: ControlOptions
  readonly #lag = monitorEventLoopDelay({ resolution: 20 })
  #socket: WebSocket | undefined
  #registered = false
  #attempts = 0
  /** Heartbeats since the coordinator last said anything. */
  #unanswered = 0
  /** Several coordinators take turns from attempt to attempt. */
  #turn = 0
  #closed = false
  #stopTimer: (() => void) | undefined
  #first: { resolve: () => void; reject: (error: Error) => void } | undefined

  constructor(options: ControlOptions) {
    this.#options = options
  }

  /**
   * Resolves at the first registration. A coordinator that is away is waited for.
   * @throws SluiceError with the coordinator's code when it refuses this worker for good
   */
  start(): Promise<void> {
    this.#lag.enable()
    return new Promise((resolve, reject) => {
      this.#first = { resolve, reject }
      this.#connect()
    })
  }

  /** False when the coordinator is not connected. */
  send(message: ToCoordinator): boolean {
    if (!this.#registered || this.#socket?.readyState !== WebSocket.OPEN) return false
    this.#socket.send(packControl(message))
    return true
  }

  close(): void {
    this.#closed = true
    this.#stopTimer?.()
    this.#lag.disable()
    this.#socket?.close(1000)
    this.#first?.reject(new SluiceError('unavailable', 'the worker was closed before the coordinator answered'))
    this.#first = undefined
  }

  #connect(): void {
    const { token, coordinator } = this.#options
    const urls = controlUrls(coordinator)
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const options = { headers, maxPayload: MAX_CONTROL_BYTES, handshakeTimeout: HANDSHAKE_MS, perMessageDeflate: false }
    const socket = new WebSocket(urls[this.#turn++ % urls.length] as string, options)
    this.#socket = socket
    let why = ''
    socket.on('open', () => this.#register(socket))
    socket.on('message', (data: Buffer) => this.#receive(data))
    socket.on('pong', () => {
      this.#unanswered = 0
    })
    socket.on('error', (error) => {
      why = error.message
    })
    socket.on('close', () => this.#lost(why))
  }

  #register(socket: WebSocket): void {
    const register: RegisterWorker = { t: 'register_worker', protocol: CONTROL_PROTOCOL, ...this.#options.describe() }
    socket.send(packControl(register))
  }

  #receive(data: Uint8Array): void {
    let message: FromCoordinator
    try {
      message = unpackControl(data) as FromCoordinator
    } catch (error) {
      this.#options.log.warn({ err: error }, 'the coordinator sent something that cannot be decoded')
      return
    }
    if (message?.t === 'registered') this.#onRegistered(message.heartbeatMs, message.coordinator)
    else if (message?.t === 'refused') this.#onRefused(message.code, message.message)
    else if (message?.t === 'drained') this.#options.drained()
  }

  #onRegistered(heartbeatMs: number, coordinator: string): void {
    this.#registered = true
    this.#attempts = 0
    this.#unanswered = 0
    this.#options.log.info({ coordinator }, 'registered with the coordinator')
    this.#first?.resolve()
    this.#first = undefined
    // A hostile or broken number must not make a busy loop.
    this.#beat(Math.min(60_000, Math.max(20, Number(heartbeatMs) || 1000)))
  }

  #onRefused(code: string, message: string): void {
    const known: ErrorCode = code in ERRORS ? (code as ErrorCode) : 'internal'
    const error = new SluiceError(known, `the coordinator refused this worker: ${message}`)
    this.#options.log.error({ code }, error.message)
    if (this.#first === undefined || error.retryable) return
    this.#first.reject(error)
    this.#first = undefined
    this.close()
  }

  #beat(everyMs: number): void {
    this.#stopTimer?.()
    this.#stopTimer = this.#options.clock.after(everyMs, () => {
      const lagMs = Math.round(this.#lag.max / 1e6) || 0
      this.#lag.reset()
      if (++this.#unanswered * everyMs > SILENT_MS) {
        this.#socket?.terminate()
        return
      }
      if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.ping()
      if (this.send({ t: 'worker_heartbeat', sessions: this.#options.describe().sessions, lagMs })) this.#beat(everyMs)
    })
  }

  #lost(why: string): void {
    const was = this.#registered
    this.#registered = false
    this.#stopTimer?.()
    if (this.#closed) return
    const { random, clock, log, coordinator } = this.#options
    // The ws package tells a refused upgrade by its status only. A running worker goes on: its token may be put right.
    if (this.#first !== undefined && /\b40[13]$/.test(why)) {
      this.#first.reject(new SluiceError('unauthorized', `the coordinator ${coordinator} refused this worker's token`))
      this.#first = undefined
      this.close()
      return
    }
    const ceiling = Math.min(BACKOFF.most, BACKOFF.first * 2 ** this.#attempts++)
    const waitMs = Math.round(random() * ceiling)
    if (was || this.#attempts % 10 === 1)
      log.warn({ coordinator, why }, 'no connection to the coordinator; trying again')
    this.#stopTimer = clock.after(waitMs, () => this.#connect())
  }
}

/** One or more base URLs with commas between. @throws SluiceError `bad_request` naming the one that is none */
export function controlUrls(coordinators: string): string[] {
  return coordinators.split(',').map((url) => controlUrl(url.trim()))
}

/** `http://HOST:PORT` → `ws://HOST:PORT/v1/control`. */
function controlUrl(coordinator: string): string {
  const url = URL.canParse(coordinator) ? new URL(coordinator) : undefined
  if (url === undefined || !/^(https?|wss?):$/.test(url.protocol)) {
    throw new SluiceError('bad_request', `coordinator ${coordinator} is not an http:// or https:// URL`, {
      path: 'coordinator',
    })
  }
  url.protocol = url.protocol.replace('http', 'ws')
  url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/control`
  return url.href
}
