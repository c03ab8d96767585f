/**
 * What a follower knows by itself: the state as the leader wrote it last. It answers reads and feeds gateways while nobody
 * leads; nothing in it moves.
 */

import type { FromCoordinator, RegisterGateway, RegisterWorker } from '../../../proto/control.js'
import { SluiceError } from '../../../proto/errors.js'
import type { RoutingTable } from '../../../proto/table.js'
import { packTable } from '../../../proto/table-delta.js'
import type { ApiRequest, Endpoint } from '../api/router.js'
import { type Clock, type Log, SILENT_LOG } from '../clock.js'
import { HEARTBEAT_MS, type Peer, type PeerPort } from '../control-plane.js'
import { type Core, type CoreOptions, createCore, endpointsOf } from '../core.js'
import { readSharedState, type SharedState } from './fenced-store.js'
import type { SharedKeys } from './shared-keys.js'

/** What a replica needs. */
export interface ReplicaOptions {
  readonly id: string
  readonly places?: CoreOptions['places']
  readonly keys: SharedKeys
  /** Why nobody leads, where that is known. */
  readonly problem: () => string | undefined
  readonly clock: Clock
  readonly log: Log
}

/** A copy of the state. */
export class Replica {
  readonly #options: ReplicaOptions
  #known: SharedState | undefined
  #core: Core | undefined
  #reading: Promise<void> | undefined
  #wanted = 0

  constructor(options: ReplicaOptions) {
    this.#options = options
  }

  /** Of the state as it was read last, 0 before. */
  get epoch(): number {
    return this.#known?.epoch ?? 0
  }

  get revision(): number {
    return this.#known?.revision ?? 0
  }

  /** The last table, undefined before the first. */
  get table(): RoutingTable | undefined {
    return this.#known?.state?.table
  }

  /** Reads the state again when it is older than this. A failure is logged: the leader will speak again. */
  follow(revision: number): void {
    this.#wanted = Math.max(this.#wanted, revision)
    if (this.revision >= this.#wanted) return
    this.#reading ??= this.read()
      .catch((error: unknown) =>
        this.#options.log.debug({ error: String(error) }, 'the state of the leader could not be read'),
      )
      .finally(() => {
        this.#reading = undefined
      })
  }

  /** @throws SluiceError `unavailable` */
  async read(): Promise<void> {
    this.know(await readSharedState(this.#options.keys))
  }

  /** This is the state now. */
  know(state: SharedState | undefined): void {
    this.#known = state
    this.#core = undefined
  }

  /** The plane as the leader wrote it last, undefined before the first. */
  get core(): Core | undefined {
    const state = this.#known?.state
    if (state === undefined) return undefined
    const { id, clock } = this.#options
    // Made when somebody asks. Nobody is given up while time stands still.
    this.#core ??= createCore({ id }, standing(clock), SILENT_LOG, state, undefined)
    return this.#core
  }

  /** Endpoints that read. @throws SluiceError `unavailable` before there is a state */
  endpoints(): Endpoint[] {
    const { core } = this
    const { places, clock, problem } = this.#options
    if (core === undefined) {
      const why = problem()
      const message = `this coordinator has no state yet, and none leads${why === undefined ? '' : `: ${why}`}`
      throw new SluiceError('unavailable', message, { retryAfterMs: 1000 })
    }
    return endpointsOf(core, places === undefined ? {} : { places }, clock).map((endpoint) =>
      isRead(endpoint) ? endpoint : refusing(endpoint),
    )
  }

  /** Registrations while nobody leads: answered with the last table, and kept until there is a leader. */
  register(registration: RegisterGateway | RegisterWorker, peer: Peer): PeerPort {
    const { id } = registration
    peer.send({ t: 'registered', id, coordinator: this.#options.id, heartbeatMs: HEARTBEAT_MS })
    const { table } = this
    if (registration.t === 'register_gateway' && table !== undefined && registration.tableVersion < table.version)
      peer.send(snapshotOf(table))
    return { message: () => {}, closed: () => {} }
  }
}

/** `plan` changes nothing. */
export function isRead({ method, path }: Endpoint): boolean {
  return method === 'GET' || path === '/v1/routes/plan'
}

function snapshotOf(table: RoutingTable): FromCoordinator {
  return { t: 'snapshot', version: table.version, table: packTable(table) }
}

function refusing(endpoint: Endpoint): Endpoint {
  return {
    ...endpoint,
    handle: (_request: ApiRequest) => {
      throw new SluiceError('unavailable', 'no coordinator leads at the moment', { retryAfterMs: 1000 })
    },
  }
}

function standing(clock: Clock): Clock {
  const now = clock.now()
  return { now: () => now, wall: () => clock.wall(), after: () => () => {} }
}
