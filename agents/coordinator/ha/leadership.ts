/** What a coordinator is while it leads: the control plane on the sealed state, and the API whose writes are confirmed. */

import { SluiceError } from '../../../proto/errors.js'
import { EventStreams } from '../api/events-stream.js'
import { type ApiRequest, type Endpoint, Router } from '../api/router.js'
import type { Clock, Log } from '../clock.js'
import { ControlServer } from '../control-server.js'
import { type Core, type CoreOptions, createCore, endpointsOf } from '../core.js'
import { diffRoutes } from '../route-diff.js'
import type { RouteSpec } from '../table-builder.js'
import type { Election } from './election.js'
import { FencedStore, type SharedState } from './fenced-store.js'
import { WatchLines } from './leader-watch.js'
import type { Leader } from './lease.js'
import { isRead } from './replica.js'
import type { SharedKeys } from './shared-keys.js'

/**
 * Tables that the leader before may have sent but not kept: one each 20 ms for the 200 ms in which they are collected,
 * and as much again. The first table of a new leader is above them, so that a number means one table.
 */
const VERSION_GAP = 20
/**
 * The first table of a new leader goes out this late, in milliseconds: a worker that the leader before met in its last
 * moments is in no state, but comes back by then. Gateways go on with the table that they have.
 */
const GATHER_MS = 1000

/** What leading needs. */
export interface LeadershipOptions {
  readonly core: CoreOptions
  readonly keys: SharedKeys
  readonly leader: Leader
  readonly election: Pick<Election, 'confirm' | 'guard' | 'lost'>
  /** Routes to begin with, when there is no state. */
  readonly file: RouteSpec | undefined
  /** Told of each state that is in the store. */
  readonly written: (state: SharedState) => void
  readonly clock: Clock
  readonly log: Log
}

/** One term. */
export class Leadership {
  readonly core: Core
  readonly control: ControlServer
  readonly events: EventStreams
  readonly lines: WatchLines
  readonly router: Router
  readonly #store: FencedStore

  /**
   * Takes the state over; nobody who led before can write from then on.
   * @throws SluiceError as {@link FencedStore.seal} and {@link FencedStore.save}
   */
  static async begin(options: LeadershipOptions): Promise<Leadership> {
    const { keys, leader, election, file, core: coreOptions, clock, log } = options
    let leadership: Leadership | undefined
    const store = new FencedStore(keys, leader, {
      written: (written) => {
        options.written(written)
        leadership?.lines.tell()
      },
      lost: () => election.lost('another coordinator wrote the state'),
    })
    const state = await store.seal()
    const guarded = election.guard(clock)
    const keep = (snapshot: Parameters<FencedStore['keep']>[0]): FencedStore => {
      store.keep(snapshot)
      return store
    }
    // A file is for a fleet that begins: with several coordinators nobody can tell whose file is the newest.
    const core = createCore(
      { ...coreOptions, store: keep },
      guarded,
      log,
      state,
      state === undefined ? file : undefined,
    )
    if (state !== undefined) {
      if (file !== undefined && diffRoutes(core.plane.spec, file).length > 0)
        log.warn({}, 'the routes file is not looked at: the fleet has routes; sluice routes apply changes them')
      core.plane.publisher.outnumber(state.table.version + VERSION_GAP)
      core.plane.publisher.hold(clock.now() + GATHER_MS)
    }
    leadership = new Leadership(options, core, store)
    try {
      await core.keeper.save()
    } catch (error) {
      leadership.resign()
      throw error
    }
    core.discovery?.start()
    return leadership
  }

  private constructor(
    { leader, election, core: options, clock, log }: LeadershipOptions,
    core: Core,
    store: FencedStore,
  ) {
    this.core = core
    this.#store = store
    this.control = new ControlServer({ plane: core.plane, clock, log })
    this.events = new EventStreams(core.plane, clock)
    this.lines = new WatchLines(() => ({ epoch: leader.epoch, revision: store.revision }), clock)
    const confirmed = (endpoint: Endpoint): Endpoint => ({
      ...endpoint,
      handle: async (request: ApiRequest) => {
        // Before anything changes: so a 503 of a store that is away means that nothing did.
        await election.confirm()
        try {
          const answer = await endpoint.handle(request)
          await core.keeper.save()
          // And before anybody is told: whoever leads by now read the state after this write, or it is not acknowledged.
          await election.confirm()
          return answer
        } catch (error) {
          throw error instanceof SluiceError && error.code === 'unavailable' ? uncertain(error) : error
        }
      },
    })
    const endpoints = endpointsOf(core, options, clock)
    this.router = new Router(endpoints.map((endpoint) => (isRead(endpoint) ? endpoint : confirmed(endpoint))))
  }

  /** Of the state in the store. */
  get revision(): number {
    return this.#store.revision
  }

  /** Ends at once; nothing is written any more. */
  resign(): void {
    this.#store.retire()
    this.#end()
    void this.core.keeper.close().catch(() => {})
  }

  /** Ends in order: what is not written yet is written first. */
  async close(): Promise<void> {
    this.#end()
    // Without the store the rest is lost; gateways have it.
    await this.core.keeper.close().catch(() => {})
  }

  #end(): void {
    void this.core.discovery?.close()
    this.core.rollouts.close()
    this.core.plane.close()
    this.events.close()
    this.control.close()
    this.lines.close()
  }
}

/** The store went away after it was asked, while the change was made. */
function uncertain(cause: SluiceError): SluiceError {
  const message = `${cause.message}. It happened while the change was made: whether it holds is not known yet`
  return new SluiceError('unavailable', message, { retryAfterMs: cause.retryAfterMs ?? 1000, cause })
}
