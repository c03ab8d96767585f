/** Listens for gateways on TCP or a Unix socket, and holds the sessions of all their links. */

import { unlink } from 'node:fs/promises'
import type { Server, Socket } from 'node:net'
import { connect, createServer } from 'node:net'
import { SluiceError } from '../../proto/errors.js'
import type { Clock } from './clock.js'
import type { LinkHost, LinkLimits } from './gateway-link.js'
import { GatewayLink } from './gateway-link.js'
import type { WorkerHandler, WorkerLog } from './handler.js'
import type { LiveSession, SessionLimits } from './live-session.js'
import { SessionTable } from './session-table.js'

export interface ServerLimits extends SessionLimits, LinkLimits {
  /** Most sessions of this worker. */
  readonly sessions: number
  /** Bytes that wait for slow handlers over all sessions; above it links are not read until half is gone. */
  readonly totalQueuedBytes: number
  /** How long sessions wait for a gateway that was lost, in milliseconds. A little above the resume window. */
  readonly graceMs: number
}

export const DEFAULT_LIMITS: ServerLimits = {
  sessions: 1_000_000,
  queuedFrames: 1024,
  queuedBytes: 1024 * 1024,
  totalQueuedBytes: 64 * 1024 * 1024,
  windowFrames: 4096,
  windowBytes: 8 * 1024 * 1024,
  linkBytes: 16 * 1024 * 1024,
  helloMs: 5000,
  graceMs: 35_000,
}

/** How often LOAD is told when it changed, in milliseconds. */
const LOAD_MS = 250

export interface LinkServerOptions {
  id: string
  pool: string
  token: string | undefined
  handler: WorkerHandler
  log: WorkerLog
  clock: Clock
  limits: ServerLimits
}

/** Where to listen. */
export type Listen = { path: string } | { host: string; port: number }

export class LinkServer implements LinkHost {
  readonly id: string
  readonly pool: string
  readonly token: string | undefined
  readonly log: WorkerLog
  readonly clock: Clock
  readonly limits: ServerLimits
  readonly sessions: SessionTable
  /** Said in HELLO from then on: for a worker without a coordinator that stops. */
  draining = false
  readonly #links = new Set<GatewayLink>()
  readonly #budget = { bytes: 0 }
  readonly #server: Server
  #stopTicking: (() => void) | undefined
  #paused = false
  #closing = false

  constructor(options: LinkServerOptions) {
    const { handler, log, limits } = options
    this.id = options.id
    this.pool = options.pool
    this.token = options.token
    this.log = log
    this.clock = options.clock
    this.limits = limits
    this.sessions = new SessionTable({ handler, log, limits, budget: this.#budget }, limits.sessions)
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket))
  }

  /** Sessions that live links hold. */
  get load(): number {
    let load = 0
    for (const link of this.#links) load += link.size
    return load
  }

  /**
   * Starts to listen; returns the port, 0 for a Unix socket.
   * @throws SluiceError `conflict` when the address is taken
   */
  async listen(at: Listen): Promise<number> {
    if ('path' in at) await removeStale(at.path)
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, at)))
      this.#server.listen(at, resolve)
    })
    this.#tick()
    const address = this.#server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  /** Sends a PUBLISH by the first gateway that takes it; the gateways' fan-out carries it everywhere. */
  publish(topic: string, payload: Uint8Array): boolean {
    for (const link of this.#links) {
      if (link.gateway !== '' && !link.isHealthCheck && link.publish(topic, payload)) return true
    }
    return false
  }

  up(link: GatewayLink): void {
    if (this.#paused) link.pause()
  }

  down(link: GatewayLink, held: readonly LiveSession[]): void {
    this.#links.delete(link)
    if (link.gateway !== '' && !link.isHealthCheck)
      this.log.info({ gateway: link.gateway, sessions: held.length }, 'gateway link lost')
    if (held.length === 0 || this.#closing) return
    const lost = held.map((session) => ({ session, epoch: session.epoch }))
    this.clock.after(this.limits.graceMs, () => {
      for (const { session, epoch } of lost) this.sessions.expire(session, epoch)
    })
  }

  /** Ends all links and sessions and stops listening. */
  async close(): Promise<void> {
    if (this.#closing) return
    this.#closing = true
    this.#stopTicking?.()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const link of [...this.#links]) link.end()
    this.sessions.endAll('worker_closed')
    await closed
  }

  #accept(socket: Socket): void {
    if (this.#closing) socket.destroy()
    else this.#links.add(new GatewayLink(socket, this))
  }

  #tick(): void {
    this.#stopTicking = this.clock.after(LOAD_MS, () => {
      const { load } = this
      for (const link of this.#links) link.reportLoad(load)
      this.#regulate()
      this.#tick()
    })
  }

  /** Stops and starts reading by what waits for handlers. A worker that cannot go on for 3 s is taken for hung, rightly. */
  #regulate(): void {
    const { bytes } = this.#budget
    if (!this.#paused && bytes > this.limits.totalQueuedBytes) {
      this.#paused = true
      this.log.warn({ bytes }, 'handlers are too slow: gateways are not read until they catch up')
      for (const link of this.#links) link.pause()
    } else if (this.#paused && bytes < this.limits.totalQueuedBytes / 2) {
      this.#paused = false
      for (const link of this.#links) link.resume()
    }
  }
}

function listenError(error: NodeJS.ErrnoException, at: Listen): Error {
  const where = 'path' in at ? at.path : `${at.host}:${at.port}`
  if (error.code === 'EADDRINUSE') {
    return new SluiceError(
      'conflict',
      `the link address ${where} is taken: choose another with --link-port (or socketPath)`,
      { cause: error },
    )
  }
  return new SluiceError('unavailable', `cannot listen on ${where}: ${error.message}`, { cause: error })
}

/** Removes a Unix socket that a killed process left behind; one that somebody listens on stays, and listen reports it. */
async function removeStale(path: string): Promise<void> {
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'))
  })
  if (!alive) await unlink(path).catch(() => undefined)
}
