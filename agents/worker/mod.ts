/**
 * The worker SDK: `import { createWorker } from 'sluice/worker'`.
 * docs/workers.md tells how to use it, docs/link-protocol.md what goes over the wire.
 */

import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import { SluiceError } from '../../proto/errors.js'
import { type Clock, systemClock } from './clock.js'
import { ControlClient, controlUrls } from './control-client.js'
import type { WorkerHandler, WorkerLog } from './handler.js'
import { DEFAULT_LIMITS, LinkServer, type Listen, type ServerLimits } from './link-server.js'

export { SluiceError } from '../../proto/errors.js'
export type { WorkerHandler, WorkerLog, WorkerSession } from './handler.js'
export type { ServerLimits as WorkerLimits } from './link-server.js'
export type { Headers, SendOptions } from './send-options.js'
export type { WorkerFrame } from './worker-frame.js'

export interface WorkerOptions {
  /**
   * Base URL of the coordinator, `http://HOST:PORT`. Without it the worker registers nowhere: the coordinator has to discover
   * it (docs/discovery.md).
   */
  coordinator?: string
  /** The pool to serve in. */
  pool: string
  /** Unique in the fleet; a random one by default. Keep it across restarts to keep the worker's slots. */
  id?: string
  /** Where gateways connect: address (127.0.0.1) and port (0: any free one). */
  host?: string
  port?: number
  /** A Unix socket instead of host and port, for gateways on the same machine. */
  socketPath?: string
  /** What gateways are told to connect to, when it is not where this worker listens: `tcp://HOST:PORT`. */
  advertise?: string
  /** Relative capacity, 0 to 1000; 1 by default. */
  weight?: number
  /** The fleet's secret: gateways must show it on links, and the coordinator is shown it. */
  token?: string
  handler: WorkerHandler
  /** Where to log; pino on standard error from `warn` up by default. */
  log?: WorkerLog
  limits?: Partial<ServerLimits>
  /** For tests. */
  clock?: Clock
  random?: () => number
}

/** A running worker. */
export interface Worker {
  readonly id: string
  readonly pool: string
  /** The address that gateways are told: `tcp://HOST:PORT` or `unix:/PATH`. */
  readonly link: string
  /** Sessions that gateways hold here now. */
  readonly sessions: number
  /** Publishes to every subscriber of `topic` in the fleet, at most once. False when no gateway can take it. */
  publish(topic: string, payload: Uint8Array | string): boolean
  /** Asks the coordinator to move everything elsewhere; resolves when nothing is bound here any more. */
  drain(): Promise<void>
  /** Stops at once: links close, sessions end with `worker_closed`, gateways give them to other workers. */
  close(): Promise<void>
}

/** How often a drain is asked for again while the coordinator is away, in milliseconds. */
const DRAIN_RETRY_MS = 500
/**
 * A worker without a coordinator drains until nothing was bound to it for this long, in milliseconds: above the time
 * between two health checks, by which the coordinator learns of it.
 */
const DRAIN_QUIET_MS = 2500
/** Names a coordinator, gateway or person has to type. */
const ID_PATTERN = /^[\w.:@-]{1,128}$/

/**
 * Starts a worker; resolves when it listens and the coordinator, if it is given one, knows it.
 * @throws SluiceError `bad_request` for a wrong option, `conflict` when the address or the id is taken
 */
export async function createWorker(options: WorkerOptions): Promise<Worker> {
  checkOptions(options)
  const log = options.log ?? pino({ name: 'sluice-worker', level: 'warn' }, pino.destination(2))
  const worker = new RunningWorker(options, log)
  await worker.start()
  return worker
}

class RunningWorker implements Worker {
  readonly id: string
  readonly pool: string
  link = ''
  readonly #options: WorkerOptions
  readonly #clock: Clock
  readonly #server: LinkServer
  readonly #control: ControlClient | undefined
  #drained: { promise: Promise<void>; resolve: () => void } | undefined
  #closed = false

  constructor(options: WorkerOptions, log: WorkerLog) {
    this.#options = options
    this.id = options.id ?? `worker-${randomUUID().slice(0, 8)}`
    this.pool = options.pool
    this.#clock = options.clock ?? systemClock
    const { id, pool } = this
    const { token, handler } = options
    const limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.#server = new LinkServer({ id, pool, token, handler, log, clock: this.#clock, limits })
    if (options.coordinator !== undefined) this.#control = this.#register(options.coordinator, log)
  }

  get sessions(): number {
    return this.#server.load
  }

  async start(): Promise<void> {
    const { host = '127.0.0.1', port = 0, socketPath, advertise } = this.#options
    const at: Listen = socketPath === undefined ? { host, port } : { path: socketPath }
    const bound = await this.#server.listen(at)
    const own =
      socketPath === undefined ? `tcp://${host.includes(':') ? `[${host}]` : host}:${bound}` : `unix:${socketPath}`
    this.link = advertise ?? own
    try {
      await this.#control?.start()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  publish(topic: string, payload: Uint8Array | string): boolean {
    return this.#server.publish(topic, typeof payload === 'string' ? new TextEncoder().encode(payload) : payload)
  }

  drain(): Promise<void> {
    if (this.#drained === undefined) {
      let resolve: () => void = () => undefined
      const promise = new Promise<void>((done) => {
        resolve = done
      })
      this.#drained = { promise, resolve }
      if (this.#control === undefined) this.#drainAlone()
      else this.#askToDrain(this.#control)
    }
    return this.#drained.promise
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#control?.close()
    await this.#server.close()
    this.#drained?.resolve()
  }

  #register(coordinator: string, log: WorkerLog): ControlClient {
    const { token, weight = 1, random = Math.random } = this.#options
    const incarnation = randomUUID()
    return new ControlClient({
      coordinator,
      token,
      log,
      clock: this.#clock,
      random,
      describe: () => ({
        id: this.id,
        pool: this.pool,
        link: this.link,
        weight,
        pid: process.pid,
        incarnation,
        sessions: this.sessions,
      }),
      drained: () => this.#drained?.resolve(),
    })
  }

  #askToDrain(control: ControlClient): void {
    if (this.#closed || control.send({ t: 'drain', id: this.id })) return
    this.#clock.after(DRAIN_RETRY_MS, () => this.#askToDrain(control))
  }

  /** Says it to whoever checks its health, and waits until nothing is bound here and nothing comes. */
  #drainAlone(quietMs = 0): void {
    this.#server.draining = true
    if (this.#closed) return
    if (quietMs >= DRAIN_QUIET_MS) this.#drained?.resolve()
    else this.#clock.after(DRAIN_RETRY_MS, () => this.#drainAlone(this.sessions === 0 ? quietMs + DRAIN_RETRY_MS : 0))
  }
}

function checkOptions(options: WorkerOptions): void {
  const { pool, id, port, weight, handler, coordinator } = options
  if (coordinator !== undefined) controlUrls(coordinator)
  if (typeof pool !== 'string' || !ID_PATTERN.test(pool))
    throw wrong('pool', 'has to be a name: letters, digits and . _ : @ -')
  if (id !== undefined && !ID_PATTERN.test(id)) throw wrong('id', 'has to be a name: letters, digits and . _ : @ -')
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65_535))
    throw wrong('port', 'has to be 0 to 65535')
  if (weight !== undefined && !(weight >= 0 && weight <= 1000)) throw wrong('weight', 'has to be 0 to 1000')
  if (typeof handler?.frame !== 'function')
    throw wrong('handler', 'has to be an object with a frame(session, frame) function')
}

function wrong(path: string, what: string): SluiceError {
  return new SluiceError('bad_request', `createWorker: ${path} ${what}`, { path })
}
