/**
 * One gateway: joins edges, sessions, links, fan-out and the table feed. Nothing below it knows of the others.
 *
 *     device ─ edge ─ session ─ binding ─ link ─ worker
 *                └─ fan-out ─ bus ─ other gateways          feed ─ coordinator
 */

import { join } from 'node:path'
import type { DrainGateway, FleetLoad, GatewayHeartbeat, MoveBudget, Query } from '../proto/control.js'
import { SluiceError } from '../proto/errors.js'
import { FrameType, FrameView } from '../proto/frame.js'
import { nearestGateways } from '../proto/nearest.js'
import { EMPTY_TABLE, type GatewayEntry, type RoutingTable } from '../proto/table.js'
import { unpackTable } from '../proto/table-delta.js'
import { isTopicName } from '../proto/topic.js'
import { type BridgeSet, createBridges, NO_BRIDGES } from './bridge/bridge-set.js'
import { Claims } from './claims.js'
import { Feed, type FeedEvents } from './control/feed.js'
import { TableFile } from './control/table-file.js'
import { Counters } from './counters.js'
import { placeToGo, startDeparture } from './departure.js'
import { createMqttEdge, type MqttEdge } from './edge/mqtt/edge.js'
import { createMqttEndpoint } from './edge/mqtt/websocket.js'
import { createHttpServer } from './edge/server/create-server.js'
import type { HttpServer } from './edge/server/server.js'
import { CONNECT_PATH, createEdgeRooms, createWebSocketEdge, type WebSocketEdge } from './edge/websocket/edge.js'
import { createFanoutCounters } from './fanout/counters.js'
import { createFanout, type LocalFanout } from './fanout/fan-out.js'
import { createFleetBus, type FleetBus, memberName } from './fleet-bus.js'
import type { GatewayLog, GatewayOptions } from './gateway-options.js'
import { type GatewayStore, openGatewayStore } from './gateway-store.js'
import { openPlaces, type Places } from './geo/places.js'
import { addGatewayApi, type GatewayView } from './http-api.js'
import { type LinkEvents, LinkSet } from './link/link-set.js'
import { createMetrics } from './metrics.js'
import { listenMqttTls, type TlsListener } from './mqtt-tls.js'
import { listenForPeers } from './peer-listener.js'
import { planSessions } from './plan-view.js'
import type { Clock, Protocol } from './ports.js'
import { compileRoutes } from './route/router.js'
import { countBindings } from './session/occupancy.js'
import { SessionTable } from './session/session-table.js'
import { SessionTransfer } from './session-transfer.js'
import { viewSession } from './session-view.js'
import { WorkerChooser } from './worker-chooser.js'

/** Where a running gateway is reached. */
export interface GatewayUrls {
  readonly http: string
  readonly ws: string
  readonly mqtt: string
}

/** Pools without slots are looked at this often, in heartbeats. */
const EVEN_OUT_BEATS = 4

/** How long a burst of links that come up is collected before sessions look whether they belong there. */
const SETTLE_MS = 5

export class Gateway implements FeedEvents, LinkEvents {
  readonly id: string
  readonly #options: GatewayOptions
  readonly #clock: Clock
  readonly #log: GatewayLog
  readonly #counters = new Counters()
  readonly #links: LinkSet
  readonly #chooser: WorkerChooser
  readonly #sessions: SessionTable
  readonly #bus: FleetBus
  readonly #store: GatewayStore | undefined
  readonly #claims: Claims
  readonly #fanout: LocalFanout
  readonly #server: HttpServer
  readonly #webSocket: WebSocketEdge
  readonly #mqtt: MqttEdge
  #mqttTls: TlsListener | undefined
  /** Where others dial this thread, when it is one of several. */
  #peerServer: HttpServer | undefined
  readonly #file: TableFile | undefined
  readonly #view = new FrameView()
  #bridges: BridgeSet = NO_BRIDGES
  #places: Places = () => undefined
  #feed: Feed | undefined
  #table: RoutingTable = EMPTY_TABLE
  #load: FleetLoad['gateways'] = {}
  #settling: (() => void) | undefined
  #draining = false
  /** Stops sending devices away. */
  #departure: (() => void) | undefined
  #meshed = false
  /** What was said last: each change is logged once. */
  #hasCoordinator: boolean | undefined
  #beats = 0
  #urls: GatewayUrls = { http: '', ws: '', mqtt: '' }

  private constructor(options: GatewayOptions, server: HttpServer, store: GatewayStore | undefined) {
    this.#store = store
    this.id = options.id
    this.#options = options
    this.#clock = options.clock
    this.#log = options.log
    this.#server = server
    const { id, clock, log, token, random } = options
    this.#links = new LinkSet({ gateway: id, clock, events: this, ...(token === undefined ? {} : { token }) })
    this.#chooser = new WorkerChooser(this.#links, clock, random)
    this.#sessions = new SessionTable({
      gateway: id,
      region: options.region,
      clock,
      counters: this.#counters,
      chooser: this.#chooser,
      newId: options.newId,
      suspect: (worker, event, detail) => {
        this.#chooser.failed(worker)
        this.#feed?.send({ t: 'link_report', worker, event, detail })
      },
      ...(options.resumeWindowMs === undefined ? {} : { resumeWindowMs: options.resumeWindowMs }),
    })
    const counters = createFanoutCounters()
    this.#bus = createFleetBus(options, counters, (question) => this.#claims.answer(question))
    const transfer = new SessionTransfer(memberName(options), this.#bus, () => this.#mqtt.travel, clock)
    this.#claims = new Claims(memberName(options), this.#bus, this.#sessions, clock, transfer)
    this.#fanout = createFanout({
      clock,
      log,
      bus: this.#bus.bus,
      counters,
      native: createEdgeRooms(server),
      ...(store === undefined ? {} : { journal: store.retained }),
    })
    const edge = { host: this.#sessions, fanout: this.#fanout, clock, log }
    this.#mqtt = createMqttEdge({
      ...edge,
      newId: options.newId,
      random,
      admit: ({ device, attributes, clean }) => {
        this.#refuseWhileDraining('mqtt')
        const mqtt = clean ? 'end' : 'take'
        return this.#claims.claim({ device, attributes, protocol: 'mqtt', resume: undefined, mqtt })
      },
      ...(options.mqttRules === undefined ? {} : { rules: options.mqttRules }),
      options: options.mqtt ?? {},
      ...(store === undefined ? {} : { journal: store.sessions }),
    })
    this.#webSocket = createWebSocketEdge({
      ...edge,
      gatewayId: id,
      admit: () => this.#refuseWhileDraining('websocket'),
      claim: (request) => this.#claims.claim({ ...request, protocol: 'websocket' }),
      disconnected: (subscriber) => this.#fanout.disconnected(subscriber),
      connected: (subscriber) => this.#fanout.connected(subscriber),
      ...(store === undefined ? {} : { beforeAcks: () => store.sessions.commit() }),
      random,
      options: options.websocket ?? {},
    })
    server.websocket(CONNECT_PATH, this.#webSocket)
    this.#file = options.data === undefined ? undefined : new TableFile(join(options.data, `${id}.table`))
  }

  /**
   * Starts a gateway: it listens, then registers with its coordinator, and serves the last good table meanwhile.
   * @throws SluiceError `conflict` naming the port that is taken
   */
  static async start(options: GatewayOptions): Promise<Gateway> {
    const { prefer, log, clock, thread, tls } = options
    const server = await createHttpServer({
      log,
      clock,
      shared: thread !== undefined,
      ...(prefer === undefined ? {} : { prefer }),
      ...(tls === undefined ? {} : { tls }),
    })
    const store = options.data === undefined ? undefined : await openGatewayStore(options.data, options.id, clock)
    const gateway = new Gateway(options, server, store)
    gateway.#addPaths()
    const complain = (problem: string) => log.error({ problem }, 'the geo database is not read again')
    gateway.#places = await openPlaces({ ...options, now: () => clock.now(), complain })
    await gateway.#loadTable()
    await gateway.#addBridges()
    await gateway.#listen()
    gateway.#bus.useTable(gateway.#table)
    gateway.#register()
    return gateway
  }

  get urls(): GatewayUrls {
    return this.#urls
  }

  get table(): RoutingTable {
    return this.#table
  }

  get sessions(): number {
    return this.#sessions.size
  }

  /** Stops: no new connections, devices are told to go elsewhere, links and the feed end. */
  async close(): Promise<void> {
    this.#server.stopListening()
    this.#settling?.()
    this.#departure?.()
    this.#feed?.close()
    this.#sessions.close()
    const ended = this.#mqttTls?.close()
    await this.#mqtt.close()
    await ended
    await this.#bridges.close()
    await this.#fanout.close()
    await new Promise<void>((resolve) => setImmediate(resolve))
    this.#links.close()
    await this.#server.close()
    await this.#peerServer?.close()
    await this.#store?.close()
  }

  useTable(table: RoutingTable): void {
    // Everything that can fail comes before the swap.
    const router = compileRoutes(table)
    this.#table = table
    this.#links.sync(table.workers)
    this.#chooser.useTable(table)
    this.#sessions.useTable(table, router)
    this.#settle()
    this.#bus.useTable(table)
    this.#bridges.useTable(table)
    this.#counters.tablesApplied++
    this.#file?.save(table, this.#clock.wall()).catch((error: unknown) => {
      this.#log.error({ err: String(error) }, 'the routing table could not be saved')
    })
  }

  linkUp(worker: string): void {
    this.#chooser.linked(worker, true)
    this.#feed?.send({ t: 'link_report', worker, event: 'up' })
    this.#sessions.retryWaiting()
    this.#settle()
  }

  linkDown(worker: string, hung: boolean, reason: string): void {
    this.#chooser.linked(worker, false)
    this.#log.warn({ worker, reason }, 'link down')
    this.#feed?.send({ t: 'link_report', worker, event: hung ? 'timeout' : 'down', detail: reason })
  }

  load(worker: string, sessions: number): void {
    this.#chooser.reported(worker, sessions)
  }

  held(worker: string, change: 1 | -1): void {
    this.#chooser.held(worker, change)
  }

  workerPublish(worker: string, bytes: Uint8Array, start: number, end: number): void {
    const view = this.#view
    if (!view.read(bytes, start, end) || view.type !== FrameType.PUBLISH || !isTopicName(view.topic())) {
      this.#counters.badFrames++
      this.#log.warn({ worker }, 'a PUBLISH of a worker was refused: not a PUBLISH frame with a valid topic')
      return
    }
    this.#fanout.publish({
      topic: view.topic(),
      payload: view.payload().slice(),
      qos: view.seq > 0 ? 1 : 0,
      retain: false,
      publisher: '',
      properties: undefined,
      at: this.#clock.wall(),
      encoded: new Map(),
    })
  }

  fleetLoad(load: FleetLoad): void {
    this.#load = load.gateways
  }

  drain({ draining, windowMs }: DrainGateway): void {
    this.#draining = draining
    this.#departure?.()
    this.#departure = draining ? this.#sendAway(windowMs) : undefined
  }

  budget({ perSecond, inFlight, paused, abort }: MoveBudget): void {
    this.#sessions.mover.configure({ perSecond, inFlight }, paused)
    if (abort === true) this.#sessions.mover.abort()
  }

  answer({ what, device, table }: Query): unknown {
    if (what === 'plan' && table !== undefined) return planSessions(this.#sessions.sessions(), unpackTable(table))
    const session = what === 'session' && device !== undefined ? this.#sessions.find(device) : undefined
    return session === undefined ? undefined : viewSession(session, this.id)
  }

  heartbeat(): Omit<GatewayHeartbeat, 't' | 'lagMs'> {
    this.#links.prune()
    this.#reportMoves()
    if (++this.#beats % EVEN_OUT_BEATS === 0 && this.#sessions.mover.pending === 0) this.#settle()
    const { connects, disconnects, errors, framesUp, framesDown } = this.#counters
    return {
      sessions: this.#sessions.size,
      pools: countBindings(this.#sessions.sessions()),
      counters: { connects, disconnects, errors, framesUp, framesDown },
      p99Ms: this.#links.takeP99(),
    }
  }

  connected(up: boolean, detail: string): void {
    if (up === this.#hasCoordinator) return
    this.#hasCoordinator = up
    if (!up) this.#log.warn({ reason: detail }, 'the coordinator is away; serving the last table until it is back')
    else {
      this.#log.info({ coordinator: detail }, 'registered with the coordinator')
      // A coordinator that was restarted has to learn who vouches for whom.
      for (const { worker, up } of this.#links.entries())
        if (up) this.#feed?.send({ t: 'link_report', worker, event: 'up' })
    }
  }

  /** Why the gateway is not ready to take devices. */
  unready(): string | undefined {
    if (this.#draining) return 'draining'
    if (this.#table.version === 0) return 'no routing table yet'
    for (const { id, state } of this.#table.workers.values())
      if (state === 'up' && !this.#links.get(id)?.up) return `the link to worker ${id} is not up`
    // Only at first: a gateway that dies later must not make the others unready.
    this.#meshed ||= this.#bus.ready
    return this.#meshed ? undefined : 'not connected to every other gateway yet'
  }

  /** Asks the devices to go to the next nearest gateway, spread over the window. */
  #sendAway(windowMs: number): () => void {
    const { random } = this.#options
    return startDeparture({ sessions: this.#sessions, clock: this.#clock, windowMs, next: this.#next(), random })
  }

  /** The next nearest gateway that takes devices. */
  #next(): GatewayEntry | undefined {
    const here = this.#table.gateways.get(this.id)
    const query = {
      limit: 1,
      except: this.id,
      ...(here?.location && { at: here.location }),
      region: this.#options.region,
    }
    const [next] = nearestGateways(this.#table.gateways.values(), query, (id) => this.#load[id] ?? 0)
    return next?.state === 'up' ? next : undefined
  }

  /** @throws SluiceError `draining`, with the place to go to where there is one */
  #refuseWhileDraining(protocol: Protocol): void {
    if (!this.#draining) return
    throw new SluiceError('draining', undefined, { retryAfterMs: 1000, ...placeToGo(this.#next(), protocol) })
  }

  /** Sessions whose worker the table or a link changed are handed off; pools without slots are evened out. */
  #settle(): void {
    this.#settling ??= this.#clock.after(SETTLE_MS, () => {
      this.#settling = undefined
      this.#chooser.evenOut()
      this.#sessions.replan()
    })
  }

  async #listen(): Promise<void> {
    const { host, port, mqttPort, advertise = host, thread, tls } = this.#options
    const { endpoint } = this.#bus
    if (thread !== undefined && endpoint !== undefined)
      this.#peerServer = await listenForPeers(this.#options, thread.peerPort, endpoint)
    const httpPort = await this.#server.listen(host, port)
    if (tls !== undefined) this.#mqttTls = await listenMqttTls(this.#mqtt, host, mqttPort, tls)
    const mqtt = this.#mqttTls?.port ?? (await this.#mqtt.listen(host, mqttPort))
    const s = tls === undefined ? '' : 's'
    const name = advertise.includes(':') ? `[${advertise}]` : advertise
    this.#urls = {
      http: `http${s}://${name}:${httpPort}`,
      ws: `ws${s}://${name}:${httpPort}/v1/connect`,
      mqtt: `mqtt${s}://${name}:${mqtt}`,
    }
  }

  async #loadTable(): Promise<void> {
    try {
      const saved = await this.#file?.load()
      if (saved !== undefined) this.useTable(saved.table)
    } catch (error) {
      this.#log.error(
        { err: error instanceof Error ? error.message : String(error) },
        'the saved routing table is refused',
      )
    }
  }

  #register(): void {
    const { coordinator, region, location, capacity = 0, pid, newId, token, clock, random, thread } = this.#options
    if (coordinator === undefined) return
    const register = { id: this.id, region, ...this.#urls, capacity, pid, incarnation: newId() }
    this.#feed = new Feed({
      coordinator,
      register: location === undefined ? register : { ...register, location },
      clock,
      random,
      events: this,
      ...(token === undefined ? {} : { token }),
      ...(thread === undefined ? {} : { dial: thread.dial }),
    })
  }

  /** @throws SluiceError `bad_request` naming the setting at fault */
  async #addBridges(): Promise<void> {
    const { bridges = [], coordinator, clock, random } = this.#options
    const port = { fanout: this.#fanout, clock, log: this.#log, random }
    this.#bridges = await createBridges(bridges, port, this.id, coordinator === undefined)
    this.#bridges.useTable(this.#table)
  }

  #addPaths(): void {
    const metrics = createMetrics({
      gateway: this.id,
      thread: this.#options.thread?.index,
      counters: this.#counters,
      more: () => ({ ...this.#fanout.counters, ...this.#mqtt.counters, ...this.#webSocket.counters }),
      sessions: () => this.#sessions.size,
      tableVersion: () => this.#table.version,
      pendingMoves: () => this.#sessions.mover.pending,
      links: () => this.#links.entries(),
      bridges: () => this.#bridges.status(),
    })
    const gateway = this
    const view: GatewayView = {
      get table() {
        return gateway.#table
      },
      get load() {
        return gateway.#load
      },
      places: (remote, forwarded) => gateway.#places(remote, forwarded),
      unready: () => this.unready(),
      status: () => this.#status(),
      metrics: () => metrics.text(),
      metricsType: metrics.contentType,
    }
    const { thread } = this.#options
    addGatewayApi(this.#server, thread === undefined ? view : thread.widen(view))
    this.#server.websocket('/mqtt', createMqttEndpoint(this.#mqtt))
    if (this.#bus.endpoint !== undefined && thread === undefined) this.#server.websocket('/v1/peer', this.#bus.endpoint)
  }

  #status(): unknown {
    return {
      id: this.id,
      pid: this.#options.pid,
      version: this.#table.version,
      sessions: this.#sessions.size,
      coordinator: this.#feed?.up === true ? 'connected' : 'away',
      workers: [...this.#links.entries()].map(({ worker, up, sessions }) => ({ id: worker, up, sessions })),
      bus: this.#fanout.status(),
      bridges: this.#bridges.status(),
      moves: this.#sessions.mover.pending,
      http: this.#server.kind,
    }
  }

  #reportMoves(): void {
    const version = this.#table.version
    for (const [pool, { planned, done, failed, receipts }] of this.#sessions.mover.takeProgress())
      this.#feed?.send({ t: 'move_report', version, pool, planned, done, failed, receipts })
  }
}
