/**
 * One of several coordinators. It is a follower or the leader, and changes between them while it listens: requests and
 * control connections go to whatever it is at the moment.
 */

import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { SluiceError } from '../../../proto/errors.js'
import { HttpServer, MAX_BODY } from '../api/http-server.js'
import { metricsEndpoint } from '../api/metrics.js'
import { type Endpoint, Router, raw } from '../api/router.js'
import type { Clock, Log } from '../clock.js'
import { CONTROL_PATH, ControlServer } from '../control-server.js'
import type { Coordinator, CoreOptions } from '../core.js'
import { type FleetStatus, fleetStatus } from '../status.js'
import type { RouteSpec } from '../table-builder.js'
import { Election, type ElectionEvents } from './election.js'
import { FORWARDED_HEADER, Forwarding } from './forwarding.js'
import { type LeaderNews, WATCH_PATH } from './leader-watch.js'
import { Leadership } from './leadership.js'
import { type Leader, Lease } from './lease.js'
import { createNatsStore } from './nats-store.js'
import { Replica } from './replica.js'
import type { SharedStore } from './shared-keys.js'

/** How it is started. */
export interface SharedCoordinatorOptions extends CoreOptions {
  readonly host: string
  readonly port: number
  readonly token?: string
  /** NATS servers. */
  readonly servers: string
  readonly natsPrefix?: string
  readonly advertise?: string
  /** Routes to begin with, while the store has none. */
  readonly file: RouteSpec | undefined
  readonly clock: Clock
  readonly log: Log
}

/** How long a start waits until somebody leads, in milliseconds; after that it goes on without. */
const SETTLE_MS = 5000
/** Pause before the state is read again that could not be read at the start, in milliseconds. */
const READ_AGAIN_MS = 500
/** Answered here, whoever leads. */
const LOCAL: ReadonlySet<string> = new Set(['/healthz', '/readyz', '/metrics', '/v1/coordinators', WATCH_PATH])

/**
 * Starts one; resolves when it accepts connections and somebody leads, or after 5 s.
 * @param open reaches the store that they share; NATS unless given
 * @throws SluiceError `bad_request` for an address that the others cannot reach, or the error of listening
 */
export async function startSharedCoordinator(
  options: SharedCoordinatorOptions,
  open: (options: SharedCoordinatorOptions) => SharedStore = openNats,
): Promise<Coordinator> {
  const { host, advertise } = options
  if (advertise === undefined && (host === '0.0.0.0' || host === '::')) {
    throw new SluiceError(
      'bad_request',
      `the other coordinators cannot reach ${host}: say how they do with --advertise http://NAME:PORT`,
      { path: '--advertise' },
    )
  }
  if (advertise !== undefined && !/^https?:\/\/[^/]/.test(advertise))
    throw new SluiceError('bad_request', `--advertise ${advertise} is not a URL such as http://NAME:PORT`, {
      path: '--advertise',
    })
  const coordinator = new SharedCoordinator(options, open(options))
  await coordinator.start()
  return coordinator
}

function openNats({ servers, natsPrefix: prefix = 'sluice', clock, log }: SharedCoordinatorOptions): SharedStore {
  return createNatsStore({ servers, prefix, clock, log })
}

class SharedCoordinator implements Coordinator, ElectionEvents {
  readonly #options: SharedCoordinatorOptions
  readonly #store: SharedStore
  readonly #id: string
  readonly #instance = randomUUID()
  readonly #http: HttpServer
  readonly #local: Router
  readonly #forwarding: Forwarding
  readonly #replica: Replica
  #election: Election | undefined
  #leadership: Leadership | undefined
  #followed = ''
  /** Registrations while nobody leads. */
  #waiting: ControlServer
  #port = 0
  #url = ''
  #settled: () => void = () => {}
  #closed = false

  constructor(options: SharedCoordinatorOptions, store: SharedStore) {
    const { token, clock, log, places } = options
    this.#options = options
    this.#store = store
    this.#id = options.id ?? `coordinator-${this.#instance.slice(0, 8)}`
    this.#forwarding = new Forwarding(this.#id)
    this.#replica = new Replica({
      id: this.#id,
      keys: store.keys,
      problem: () => this.#election?.problem,
      clock,
      log,
      ...(places === undefined ? {} : { places }),
    })
    this.#waiting = this.#waitingRoom()
    this.#local = new Router(this.#localEndpoints())
    this.#http = new HttpServer({
      router: { find: (method, path) => this.#find(method, path) },
      before: (request, response) => this.#before(request, response),
      streams: new Map([
        ['/v1/events', (request, response, query) => this.#leads().events.handle(request, response, query)],
        [WATCH_PATH, (request, response) => this.#leads().lines.handle(request, response)],
      ]),
      upgrades: new Map([[CONTROL_PATH, (request, socket, head) => this.#upgrade(request, socket, head)]]),
      ...(token === undefined ? {} : { token }),
      log,
    })
  }

  get port(): number {
    return this.#port
  }

  get url(): string {
    return this.#url
  }

  async start(): Promise<void> {
    const { host, port, advertise, clock, log, token } = this.#options
    const settled = new Promise<void>((resolve) => {
      this.#settled = resolve
    })
    this.#port = await this.#http.listen(host, port).catch(async (error: unknown) => {
      await this.#store.close()
      throw error
    })
    this.#url = (advertise ?? `http://${host.includes(':') ? `[${host}]` : host}:${this.#port}`).replace(/\/+$/, '')
    this.#election = new Election({
      lease: new Lease(this.#store.keys, clock),
      self: { instance: this.#instance, url: this.#url },
      token,
      clock,
      log,
      events: this,
      epochFloor: () => this.#replica.epoch,
    })
    this.#readState()
    this.#election.start()
    const cancel = clock.after(SETTLE_MS, () => this.#settled())
    await settled
    cancel()
  }

  status(): FleetStatus {
    const core = this.#leadership?.core ?? this.#replica.core
    if (core !== undefined) return fleetStatus(core.plane, this.#options.clock.now())
    return { version: 0, converged: false, sessions: 0, gateways: [], workers: [] }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#election?.close()
    const leadership = this.#leadership
    this.#leadership = undefined
    await leadership?.close()
    this.#waiting.close()
    this.#forwarding.close()
    await this.#http.close()
    await this.#store.close()
  }

  async lead(leader: Leader): Promise<void> {
    const election = this.#election
    if (election === undefined || this.#closed) return
    const { clock, log, file } = this.#options
    const leadership = await Leadership.begin({
      core: { ...this.#options, id: this.#id },
      keys: this.#store.keys,
      leader,
      election,
      file,
      // When it does not lead any more, it answers what it wrote, not what it knew before it led.
      written: (state) => this.#replica.know(state),
      clock,
      log,
    }).catch(async (error: unknown) => {
      // The state may be of a later leader than the lease knows.
      await this.#replica.read().catch(() => {})
      throw error
    })
    if (this.#closed) return leadership.resign()
    this.#leadership = leadership
    log.info({ epoch: leader.epoch, url: leader.url }, 'this coordinator leads')
    this.#forwarding.close()
    this.#followed = leader.instance
    this.#emptyWaitingRoom()
    this.#settled()
  }

  follow(leader: Leader | undefined, reachable: boolean): void {
    if (leader?.instance !== this.#followed) this.#forwarding.dropTunnels()
    this.#followed = leader?.instance ?? ''
    this.#forwarding.to(reachable ? leader?.url : undefined)
    if (!reachable) return
    this.#emptyWaitingRoom()
    this.#settled()
  }

  news({ revision }: LeaderNews): void {
    this.#replica.follow(revision)
  }

  resign(): void {
    const leadership = this.#leadership
    this.#leadership = undefined
    leadership?.resign()
    this.#readState()
  }

  #readState(): void {
    this.#replica.read().catch(() => {
      if (!this.#closed) this.#options.clock.after(READ_AGAIN_MS, () => this.#leadership ?? this.#readState())
    })
  }

  #leads(): Leadership {
    if (this.#leadership !== undefined) return this.#leadership
    throw new SluiceError('unavailable', 'this coordinator does not lead', { retryAfterMs: 1000 })
  }

  #find(method: string, path: string): ReturnType<Router['find']> {
    if (LOCAL.has(path) && !(path === '/readyz' && this.#leadership !== undefined))
      return this.#local.find(method, path)
    const router = this.#leadership?.router ?? new Router(this.#replica.endpoints())
    return router.find(method, path)
  }

  /** A follower's requests are the leader's, as long as it answers; reads are answered from the replica otherwise. */
  async #before(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const path = (request.url ?? '').split('?', 1)[0] ?? ''
    if (LOCAL.has(path) || this.#leadership !== undefined || request.headers[FORWARDED_HEADER] !== undefined)
      return false
    if (!this.#forwarding.reachable) return false
    // Said here: the leader closes a connection that sends more, and its answer may be lost with it.
    if (Number(request.headers['content-length'] ?? 0) > MAX_BODY)
      throw new SluiceError('frame_too_large', `a request body may have at most ${MAX_BODY} bytes`)
    if (await this.#forwarding.forward(request, response)) return true
    if (request.method === 'GET' || request.method === 'HEAD') return false
    throw new SluiceError('unavailable', 'the leader did not answer; whether it did what it was asked is not known', {
      retryAfterMs: 1000,
    })
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (this.#leadership !== undefined) this.#leadership.control.upgrade(request, socket, head)
    else if (request.headers[FORWARDED_HEADER] !== undefined) refuse(socket)
    else if (this.#forwarding.reachable) this.#forwarding.tunnel(request, socket, head, () => refuse(socket))
    else this.#waiting.upgrade(request, socket, head)
  }

  #waitingRoom(): ControlServer {
    const { clock, log } = this.#options
    const register = (...[registration, peer]: Parameters<Replica['register']>) =>
      this.#replica.register(registration, peer)
    return new ControlServer({ plane: { registerGateway: register, registerWorker: register }, clock, log })
  }

  /** Whoever waits comes again, and meets the leader. */
  #emptyWaitingRoom(): void {
    if (this.#waiting.size === 0) return
    this.#waiting.close()
    this.#waiting = this.#waitingRoom()
  }

  #localEndpoints(): Endpoint[] {
    const { clock } = this.#options
    return [
      { method: 'GET', path: '/healthz', open: true, handle: () => ({ status: 'ok' }) },
      { method: 'GET', path: '/readyz', open: true, handle: () => this.#readiness() },
      { method: 'GET', path: '/v1/coordinators', handle: () => this.#describe() },
      metricsEndpoint(
        () => this.#leadership?.core.plane,
        () => clock.now(),
        () => clock.wall(),
      ),
    ]
  }

  #readiness(): unknown {
    const version = this.#leadership?.core.plane.table.version ?? this.#replica.table?.version
    if (version !== undefined) return { status: 'ready', version }
    if (this.#forwarding.reachable) return { status: 'ready' }
    const away = this.#store.up ? 'nobody leads yet' : 'NATS is away, and no state is known here'
    const reason = this.#election?.problem ?? away
    return raw({ status: 503, contentType: 'application/json', body: JSON.stringify({ status: 'waiting', reason }) })
  }

  /** `GET /v1/coordinators`: what this one knows of itself and the leader. */
  #describe(): unknown {
    const leader = this.#election?.leader
    return {
      id: this.#id,
      url: this.#url,
      role: this.#leadership === undefined ? 'follower' : 'leader',
      leader: leader === undefined ? null : { url: leader.url, epoch: leader.epoch },
      leaderSeems: this.#leadership === undefined ? (this.#election?.verdict ?? 'unknown') : 'alive',
      store: this.#store.up ? 'up' : 'away',
      // Equal on all of them when nobody is behind.
      revision: this.#leadership?.revision ?? this.#replica.revision,
    }
  }
}

function refuse(socket: Duplex): void {
  socket.end('HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
}
