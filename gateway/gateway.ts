/**
 * One gateway: four sides around its sessions. Each side is a file that joins rooms; no room knows of another.
 *
 *                     coordinator            coordinator-side.ts: table, feed
 *                         │
 *     device ─ edge ─ session ─ binding ─ link ─ worker
 *     device-side.ts      │           worker-side.ts
 *                fan-out, bus, claims        peer-side.ts: other gateways, brokers
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { RoutingTable } from '../proto/table.js'
import { CoordinatorSide } from './coordinator-side.js'
import { Counters } from './counters.js'
import { DeviceSide, type GatewayUrls } from './device-side.js'
import { Drain } from './drain.js'
import { createHttpServer } from './edge/server/create-server.js'
import type { HttpServer } from './edge/server/server.js'
import type { GatewayOptions } from './gateway-options.js'
import { type GatewayStore, openGatewayStore } from './gateway-store.js'
import { openPlaces, type Places } from './geo/places.js'
import { addGatewayApi, type GatewayView } from './http-api.js'
import { createMetrics } from './metrics.js'
import { PeerSide } from './peer-side.js'
import { TurnEnd } from './turn-end.js'
import { WorkerSide } from './worker-side.js'

export type { GatewayUrls } from './device-side.js'

export class Gateway {
  readonly id: string
  readonly #options: GatewayOptions
  readonly #counters = new Counters()
  readonly #server: HttpServer
  readonly #store: GatewayStore | undefined
  readonly #workers: WorkerSide
  readonly #peers: PeerSide
  readonly #drain: Drain
  readonly #devices: DeviceSide
  readonly #coordinator: CoordinatorSide
  #places: Places = () => undefined
  #urls: GatewayUrls = { http: '', ws: '', mqtt: '' }

  private constructor(options: GatewayOptions, server: HttpServer, store: GatewayStore | undefined, turn: TurnEnd) {
    this.id = options.id
    this.#options = options
    this.#server = server
    this.#store = store
    const counters = this.#counters
    const workers = new WorkerSide(options, counters, {
      report: (message) => this.#coordinator.report(message),
      briefly: (read) => this.#devices.together(read),
      turn: turn.run,
      published: (message) => this.#peers.fanout.publish(message),
    })
    const { sessions } = workers
    const peers = new PeerSide(options, {
      server,
      sessions,
      travel: () => this.#devices.mqtt.travel,
      retained: store?.retained,
    })
    const drain = new Drain(options, sessions, () => this.#coordinator)
    this.#devices = new DeviceSide(options, { server, sessions, peers, drain, store, turn })
    this.#coordinator = new CoordinatorSide(options, { counters, workers, peers, drain })
    this.#workers = workers
    this.#peers = peers
    this.#drain = drain
  }

  /**
   * Starts a gateway: it listens, then registers with its coordinator, and serves the last good table meanwhile.
   * @throws SluiceError `conflict` naming the port that is taken
   */
  static async start(options: GatewayOptions): Promise<Gateway> {
    const { id, data, prefer, log, clock, thread, tls } = options
    const turn = new TurnEnd(clock)
    const server = await createHttpServer({
      log,
      clock,
      accepted: turn.accepted,
      shared: thread !== undefined,
      ...(prefer === undefined ? {} : { prefer }),
      ...(tls === undefined ? {} : { tls }),
    })
    const store = data === undefined ? undefined : await openGatewayStore(data, id, clock)
    const gateway = new Gateway(options, server, store, turn)
    await gateway.#start()
    return gateway
  }

  get urls(): GatewayUrls {
    return this.#urls
  }

  get table(): RoutingTable {
    return this.#coordinator.table
  }

  get sessions(): number {
    return this.#workers.sessions.size
  }

  /** Stops: no new connections, devices are told to go elsewhere, links and the feed end. */
  async close(): Promise<void> {
    this.#server.stopListening()
    this.#drain.stop()
    const saved = this.#coordinator.close()
    this.#workers.endSessions()
    await this.#devices.close()
    await this.#peers.close()
    await nextTurn()
    this.#workers.closeLinks()
    await this.#server.close()
    await this.#peers.closeListener()
    await this.#store?.close()
    await saved
  }

  async #start(): Promise<void> {
    const { clock, log } = this.#options
    this.#addApi()
    const complain = (problem: string) => log.error({ problem }, 'the geo database is not read again')
    this.#places = await openPlaces({ ...this.#options, now: () => clock.now(), complain })
    await this.#coordinator.loadTable()
    await this.#peers.addBridges()
    await this.#peers.listen()
    this.#urls = await this.#devices.listen()
    this.#peers.useTable(this.table)
    this.#coordinator.register(this.#urls)
  }

  /** Why the gateway is not ready to take devices. */
  #unready(): string | undefined {
    if (this.#drain.draining) return 'draining'
    const { missing } = this.#coordinator
    if (missing !== undefined) return missing
    const worker = this.#workers.unlinked(this.table)
    if (worker !== undefined) return `the link to worker ${worker} is not up`
    return this.#peers.ready ? undefined : 'not connected to every other gateway yet'
  }

  #addApi(): void {
    const { thread } = this.#options
    const metrics = this.#metrics()
    const coordinator = this.#coordinator
    const view: GatewayView = {
      get table() {
        return coordinator.table
      },
      get load() {
        return coordinator.load
      },
      places: (remote, forwarded) => this.#places(remote, forwarded),
      unready: () => this.#unready(),
      status: () => this.#status(),
      metrics: () => metrics.text(),
      metricsType: metrics.contentType,
    }
    addGatewayApi(this.#server, thread === undefined ? view : thread.widen(view))
  }

  #metrics(): ReturnType<typeof createMetrics> {
    const workers = this.#workers
    return createMetrics({
      gateway: this.id,
      thread: this.#options.thread?.index,
      counters: this.#counters,
      more: () => ({ ...this.#peers.fanout.counters, ...this.#devices.counters }),
      sessions: () => this.sessions,
      tableVersion: () => this.table.version,
      pendingMoves: () => workers.sessions.mover.pending,
      links: () => workers.links(),
      bridges: () => this.#peers.bridges(),
    })
  }

  #status(): unknown {
    return {
      id: this.id,
      pid: this.#options.pid,
      version: this.table.version,
      sessions: this.sessions,
      coordinator: this.#coordinator.up ? 'connected' : 'away',
      workers: [...this.#workers.links()].map(({ worker, up, sessions }) => ({ id: worker, up, sessions })),
      bus: this.#peers.fanout.status(),
      bridges: this.#peers.bridges(),
      moves: this.#workers.sessions.mover.pending,
      http: this.#server.kind,
    }
  }
}
