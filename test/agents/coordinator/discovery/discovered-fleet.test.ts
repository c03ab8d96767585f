/** A real coordinator, real workers that register nowhere, and a source that the test holds in its hand. */

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { createSystemClock } from '../../../../agents/coordinator/clock.js'
import { ControlPlane, type Peer } from '../../../../agents/coordinator/control-plane.js'
import {
  DiscoveredFleet,
  type DiscoveredFleetOptions,
} from '../../../../agents/coordinator/discovery/discovered-fleet.js'
import type { DiscoveredMember, Discovery, OnMembers } from '../../../../agents/coordinator/discovery/discovery.js'
import { DEFAULT_HEALTH } from '../../../../agents/coordinator/discovery/health.js'
import { createDiscovery } from '../../../../agents/coordinator/discovery/mod.js'
import { MEMBERSHIP_TIMES } from '../../../../agents/coordinator/membership.js'
import { DEFAULT_ROUTES } from '../../../../agents/coordinator/table-builder.js'
import { createWorker, type Worker, type WorkerOptions } from '../../../../agents/worker/mod.js'
import type { RegisterWorker } from '../../../../proto/control.js'
import { freePort, SourceHarness } from './source-harness.js'

const QUIET = { info: () => {}, warn: () => {}, error: () => {} }
const HEALTH = { ...DEFAULT_HEALTH, intervalMs: 60, timeoutMs: 300 }

/** A source that lists what it is told. */
class HandSource implements Discovery {
  readonly name: string
  readonly problem = undefined
  #onMembers: OnMembers = () => {}
  #members: readonly DiscoveredMember[] | undefined

  constructor(name = 'hand') {
    this.name = name
  }

  start(onMembers: OnMembers): void {
    this.#onMembers = onMembers
    if (this.#members !== undefined) onMembers(this.#members)
  }

  list(...members: (DiscoveredMember | Worker)[]): void {
    this.#members = members.map((one) => ('id' in one ? { link: one.link } : one))
    this.#onMembers(this.#members)
  }

  async close(): Promise<void> {}
}

/** One address before several workers, which answer in turn. */
class Balancer {
  /** Connections that it ends at once, from now on. */
  refusals = 0
  turn = 0
  readonly #server = createServer((socket) => this.#pass(socket))
  readonly #ports: readonly number[]

  constructor(workers: readonly Worker[]) {
    this.#ports = workers.map(({ link }) => Number(new URL(link).port))
  }

  static async start(t: Test, workers: readonly Worker[]): Promise<Balancer> {
    const balancer = new Balancer(workers)
    balancer.#server.listen(0, '127.0.0.1')
    await once(balancer.#server, 'listening')
    t.teardown(() => balancer.#server.close())
    return balancer
  }

  get link(): string {
    return `tcp://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  #pass(socket: Socket): void {
    if (this.refusals > 0) {
      this.refusals--
      socket.destroy()
      return
    }
    const other = connect(this.#ports[this.turn++ % this.#ports.length] ?? 0, '127.0.0.1')
    socket.pipe(other).pipe(socket)
    socket.on('error', () => other.destroy())
    other.on('error', () => socket.destroy())
  }
}

async function start(t: Test, more: Partial<DiscoveredFleetOptions> = {}) {
  const harness = new SourceHarness()
  const { log } = harness.context
  const clock = createSystemClock()
  const times = { ...MEMBERSHIP_TIMES, closedMs: 100 }
  const intents = {
    weights: new Map<string, number>(),
    drainingWorkers: new Set<string>(),
    drainingGateways: new Set<string>(),
  }
  const plane = new ControlPlane({ id: 'c1', clock, log, spec: DEFAULT_ROUTES, intents, onTable: () => {}, times })
  const source = new HandSource()
  const sources = [source]
  const fleet = new DiscoveredFleet({ sources, plane, id: 'c1', clock, random: () => 0, log, health: HEALTH, ...more })
  fleet.start()
  t.teardown(async () => {
    await fleet.close()
    plane.close()
  })
  /** Waits until the workers of the table are these, each `ID STATE WEIGHT POOL`. */
  const untilTable = async (...wanted: string[]): Promise<void> => {
    const now = (): string[] =>
      [...plane.table.workers.values()].map(({ id, state, weight, pool }) => `${id} ${state} ${weight} ${pool}`)
    const same = (): boolean => JSON.stringify(now()) === JSON.stringify(wanted)
    await harness.until(same, () => `${JSON.stringify(wanted)}, not ${JSON.stringify(now())}`)
  }
  return { harness, plane, source, fleet, untilTable, intents }
}

async function worker(t: Test, id: string, more: Partial<WorkerOptions> = {}): Promise<Worker> {
  const made = await createWorker({ pool: 'default', id, handler: { frame: () => {} }, log: QUIET, ...more })
  t.teardown(() => made.close())
  return made
}

t.test('a listed worker is in the table as it describes itself; its list says what it does not', async (t) => {
  const { source, plane, untilTable } = await start(t)
  const [w1, w2] = [await worker(t, 'w1', { pool: 'p1' }), await worker(t, 'w2')]
  source.list({ link: w1.link, pool: 'ignored', weight: 3 }, w2)
  await untilTable('w1 up 3 p1', 'w2 up 1 default')
  t.equal(plane.table.workers.get('w1')?.link, w1.link)
  t.match(
    plane.events.since(0).find(({ type }) => type === 'discovery'),
    { source: 'hand', members: 2 },
  )
})

t.test('drain, undrain and weight work on it as on any other', async (t) => {
  const { source, plane, untilTable, intents } = await start(t)
  source.list(await worker(t, 'w1'), await worker(t, 'w2'))
  await untilTable('w1 up 1 default', 'w2 up 1 default')
  intents.drainingWorkers.add('w1')
  plane.intentsChanged('test')
  await untilTable('w1 draining 1 default', 'w2 up 1 default')
  intents.drainingWorkers.delete('w1')
  intents.weights.set('w1', 7)
  plane.intentsChanged('test')
  await untilTable('w1 up 7 default', 'w2 up 1 default')
})

t.test('a worker that dies is gone, and one that comes back on its address is back', async (t) => {
  const { source, untilTable, harness } = await start(t)
  const port = await freePort()
  const w1 = await worker(t, 'w1', { port })
  source.list(w1)
  await untilTable('w1 up 1 default')
  await w1.close()
  await untilTable()
  await harness.untilLogged(/its checks fail: .*ECONNREFUSED/)
  await worker(t, 'w1', { port })
  await untilTable('w1 up 1 default')
})

t.test('a worker that misses fewer checks in a row than it may stays', async (t) => {
  const { source, untilTable, plane, harness } = await start(t, { health: { ...HEALTH, unhealthy: 3 } })
  const w1 = await worker(t, 'w1')
  const balancer = await Balancer.start(t, [w1])
  source.list({ link: balancer.link })
  await untilTable('w1 up 1 default')
  const { version } = plane.table
  balancer.refusals = 2
  await harness.until(
    () => balancer.refusals === 0,
    () => 'two checks that fail',
  )
  const { turn } = balancer
  await harness.until(
    () => balancer.turn > turn + 1,
    () => 'two checks that pass',
  )
  t.equal(plane.table.version, version)
  t.same(harness.warnings, [])
})

t.test('a gateway that loses its link makes a check come at once', async (t) => {
  const { source, untilTable, plane, harness } = await start(t, {
    health: { ...HEALTH, intervalMs: 60_000, unhealthy: 1 },
  })
  const w1 = await worker(t, 'w1')
  source.list(w1)
  await untilTable('w1 up 1 default')
  await w1.close()
  plane.events.emit('link', { gateway: 'g1', worker: 'w1', event: 'down' })
  await harness.untilLogged(/its checks fail/)
  await untilTable()
})

t.test(
  'a worker that leaves the list is drained and then forgotten; one that returns to it meanwhile stays',
  async (t) => {
    const { source, untilTable, fleet } = await start(t)
    const [w1, w2] = [await worker(t, 'w1'), await worker(t, 'w2')]
    source.list(w1, w2)
    await untilTable('w1 up 1 default', 'w2 up 1 default')
    source.list(w2)
    source.list(w1, w2)
    await untilTable('w1 up 1 default', 'w2 up 1 default')
    source.list(w2)
    await untilTable('w2 up 1 default')
    t.same(
      fleet.view.workers.map(({ id, state }) => [id, state]),
      [['w2', 'healthy']],
    )
    source.list(w1, w2)
    await untilTable('w1 up 1 default', 'w2 up 1 default')
  },
)

t.test('a list that flaps settles where it ends', async (t) => {
  const { source, untilTable } = await start(t)
  const [w1, w2] = [await worker(t, 'w1'), await worker(t, 'w2')]
  for (let i = 0; i < 20; i++) {
    source.list(...(i % 2 === 0 ? [w1] : [w1, w2]))
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  await untilTable('w1 up 1 default', 'w2 up 1 default')
})

t.test('a worker that leaves the list and dies does not linger', async (t) => {
  const { source, untilTable, fleet, plane, harness } = await start(t)
  const w1 = await worker(t, 'w1')
  source.list(w1)
  await untilTable('w1 up 1 default')
  // A gateway that never acks keeps the drain from ending.
  plane.registerGateway(
    {
      ...{ t: 'register_gateway', protocol: 1, id: 'g1', region: 'r', http: 'http://h:1', ws: 'ws://h:1', mqtt: '' },
      ...{ capacity: 0, pid: 1, incarnation: 'x', tableVersion: 0 },
    },
    { send: () => {}, refuse: () => {} },
  )
  source.list()
  await untilTable('w1 draining 1 default')
  t.match(fleet.view.workers, [{ id: 'w1', state: 'leaving' }])
  await w1.close()
  await untilTable()
  await harness.until(
    () => fleet.view.workers.length === 0,
    () => 'nothing left',
  )
})

t.test('another worker at the address takes its place, after enough checks', async (t) => {
  const { source, untilTable, harness } = await start(t)
  const port = await freePort()
  const w1 = await worker(t, 'w1', { port })
  source.list(w1)
  await untilTable('w1 up 1 default')
  await w1.close()
  await worker(t, 'w2', { port })
  await untilTable('w2 up 1 default')
  await harness.until(
    () => harness.warnings.length > 0,
    () => 'a warning',
  )
})

t.test('two workers that answer at one address in turn never get in, and the log says why', async (t) => {
  const balancer = await Balancer.start(t, [await worker(t, 'w1'), await worker(t, 'w2')])
  const { source, harness, plane } = await start(t)
  source.list({ link: balancer.link })
  await harness.untilLogged(/it was worker w1, and is worker w2 now/)
  await harness.untilLogged(/it was worker w2, and is worker w1 now/)
  const { turn } = balancer
  await harness.until(
    () => balancer.turn > turn + 4,
    () => 'more checks',
  )
  t.equal(plane.table.workers.size, 0)
})

t.test('two addresses with one id: the first counts, and the other is said', async (t) => {
  const { source, untilTable, plane, harness } = await start(t)
  const [one, two] = [await worker(t, 'w1'), await worker(t, 'w1')]
  source.list(one)
  await untilTable('w1 up 1 default')
  source.list(one, two)
  await harness.untilLogged(/worker w1 is in the fleet already/)
  t.equal(plane.table.workers.get('w1')?.link, one.link)
})

t.test('a worker that registers itself goes before discovery, which takes over when that ends', async (t) => {
  const { source, untilTable, plane, harness } = await start(t)
  const w1 = await worker(t, 'w1')
  source.list(w1)
  await untilTable('w1 up 1 default')
  const registration: RegisterWorker = {
    ...{ t: 'register_worker', protocol: 1, id: 'w1', pool: 'default', link: 'tcp://127.0.0.1:9', weight: 5 },
    ...{ pid: 1, incarnation: 'own', sessions: 0 },
  }
  const refusals: string[] = []
  const peer: Peer = { send: () => {}, refuse: (code) => void refusals.push(code) }
  const port = plane.registerWorker(registration, peer)
  await untilTable('w1 up 5 default')
  await harness.untilLogged(/is in the fleet already, by itself or at another address/)
  t.equal(plane.table.workers.get('w1')?.weight, 5)
  t.same(refusals, [])
  port.closed(true)
  await untilTable('w1 up 1 default')
})

t.test('priority: those with a higher number stand by, and take over when nobody before them is well', async (t) => {
  const { source, untilTable } = await start(t)
  const [w1, w2] = [await worker(t, 'w1'), await worker(t, 'w2')]
  source.list({ link: w1.link, weight: 4 }, { link: w2.link, weight: 2, priority: 10 })
  await untilTable('w1 up 4 default', 'w2 up 0 default')
  await w1.close()
  await untilTable('w2 up 2 default')
})

t.test('priority: a spare takes over from one that is drained, and from one that leaves the list', async (t) => {
  const { source, untilTable, intents, plane } = await start(t)
  const [w1, w2] = [await worker(t, 'w1'), await worker(t, 'w2')]
  const spare = { link: w2.link, priority: 1 }
  source.list(w1, spare)
  await untilTable('w1 up 1 default', 'w2 up 0 default')
  intents.drainingWorkers.add('w1')
  plane.intentsChanged('test')
  await untilTable('w1 draining 1 default', 'w2 up 1 default')
  intents.drainingWorkers.delete('w1')
  plane.intentsChanged('test')
  await untilTable('w1 up 1 default', 'w2 up 0 default')
  source.list(spare)
  await untilTable('w2 up 1 default')
})

t.test('of two sources that list one link the first counts, and a link that one of them drops stays', async (t) => {
  const [first, second] = [new HandSource('first'), new HandSource('second')]
  const w1 = await worker(t, 'w1')
  const { untilTable } = await start(t, { sources: [first, second] })
  second.list({ link: w1.link, weight: 2 })
  await untilTable('w1 up 2 default')
  first.list({ link: w1.link, weight: 3 })
  await untilTable('w1 up 3 default')
  first.list()
  await untilTable('w1 up 2 default')
})

t.test('a worker that wants to drain is drained; the process that follows it is not', async (t) => {
  const { source, untilTable } = await start(t)
  const port = await freePort()
  const [w1, w2] = [await worker(t, 'w1', { port }), await worker(t, 'w2')]
  source.list(w1, w2)
  await untilTable('w1 up 1 default', 'w2 up 1 default')
  void w1.drain()
  await untilTable('w1 draining 1 default', 'w2 up 1 default')
  await w1.close()
  await worker(t, 'w1', { port })
  await untilTable('w1 up 1 default', 'w2 up 1 default')
})

t.test('what is wrong with the checks is named', async (t) => {
  const { plane } = await start(t)
  const harness = new SourceHarness()
  const context = { ...harness.context, plane, id: 'c1' }
  const make = (health: object) => createDiscovery({ sources: ['static:tcp://h:1'], health }, context)
  for (const health of [{ intervalMs: 0 }, { timeoutMs: 1.5 }, { healthy: 0 }, { unhealthy: Number.NaN }]) {
    t.throws(() => make(health), { code: 'bad_request', path: `health.${Object.keys(health)[0]}` })
  }
  t.ok(make({}))
})
