/** Coordinators of one process that share a store in memory: what does not need a process or a server to be shown. */

import { createServer } from 'node:http'
import t, { type Test } from 'tap'
import { type Clock, createSystemClock, SILENT_LOG } from '../../../../agents/coordinator/clock.js'
import type { Coordinator } from '../../../../agents/coordinator/core.js'
import {
  type SharedCoordinatorOptions,
  startSharedCoordinator,
} from '../../../../agents/coordinator/ha/shared-coordinator.js'
import type { SharedKeys } from '../../../../agents/coordinator/ha/shared-keys.js'
import { parseRoutes } from '../../../../agents/coordinator/routes-file.js'
import { SluiceError } from '../../../../proto/errors.js'
import { call, FakeGateway, FakeWorker } from '../fake-fleet.js'
import { until } from './coordinators.js'
import { MemoryKeys } from './memory-keys.js'

/** Several views of one store, each of which can be cut off alone. */
class View implements SharedKeys {
  readonly #keys: MemoryKeys
  away = false

  constructor(keys: MemoryKeys) {
    this.#keys = keys
  }

  get maxBytes(): number {
    return this.#keys.maxBytes
  }

  get(key: string) {
    return this.away ? this.#fail() : this.#keys.get(key)
  }

  put(key: string, value: Uint8Array, revision?: number) {
    return this.away ? this.#fail() : this.#keys.put(key, value, revision)
  }

  remove(prefix: string) {
    return this.away ? this.#fail() : this.#keys.remove(prefix)
  }

  #fail(): Promise<never> {
    return Promise.reject(new SluiceError('unavailable', 'cut off', { retryAfterMs: 1000 }))
  }
}

interface Member {
  readonly coordinator: Coordinator
  readonly view: View
  readonly url: string
}

/** Ten times as fast as the real one, for waits that are long. */
function fastClock(): Clock {
  const clock = createSystemClock()
  return { now: () => clock.now() * 10, wall: () => clock.wall(), after: (ms, fn) => clock.after(ms / 10, fn) }
}

async function start(t: Test, keys: MemoryKeys, options: Partial<SharedCoordinatorOptions> = {}): Promise<Member> {
  const view = new View(keys)
  const coordinator = await startSharedCoordinator(
    {
      host: '127.0.0.1',
      port: 0,
      servers: '',
      file: undefined,
      clock: createSystemClock(),
      log: SILENT_LOG,
      ...options,
    },
    () => ({
      keys: view,
      get up() {
        return !view.away
      },
      close: async () => {},
    }),
  )
  t.teardown(() => coordinator.close())
  return { coordinator, view, url: coordinator.url }
}

const ROUTES = { pools: { default: {} }, routes: [{ name: 'changed', to: [{ pool: 'default' }] }] }

async function roleOf({ url }: Member): Promise<unknown> {
  return (await call(url, 'GET', '/v1/coordinators')).body.role
}

t.test('the first one leads, the others follow and hand on; leaving in order lets the next one lead', async (t) => {
  const keys = new MemoryKeys()
  const a = await start(t, keys)
  const b = await start(t, keys)
  t.equal(await roleOf(a), 'leader')
  t.equal(await roleOf(b), 'follower')
  const put = await call(b.url, 'PUT', '/v1/routes?message=why', ROUTES, { 'x-sluice-user': 'ada' })
  t.equal(put.status, 200)
  const { versions } = (await call(a.url, 'GET', '/v1/routes/history')).body as { versions: object[] }
  t.match(versions.at(-1), { who: 'ada', message: 'why' }, 'with the name of who asked the follower')
  await a.coordinator.close()
  await until(async () => ((await roleOf(b)) === 'leader' ? true : undefined), 'the other one to lead')
  t.match((await call(b.url, 'GET', '/v1/routes')).body.routes, ROUTES.routes)
})

t.test('answers of the leader come through as they are: errors, streams, and what only it knows', async (t) => {
  const keys = new MemoryKeys()
  const a = await start(t, keys)
  const b = await start(t, keys)
  const bad = await call(b.url, 'PUT', '/v1/routes', { pools: {}, routes: [{ name: 'x', to: [{ pool: 'gone' }] }] })
  t.equal(bad.status, 400)
  t.match(bad.body, { error: { code: 'invalid_routes' } })
  t.equal((await call(b.url, 'PUT', '/v1/routes', 'x'.repeat(3_000_000))).status, 413)
  t.equal((await call(b.url, 'DELETE', '/v1/routes')).status, 405)
  t.equal((await call(b.url, 'GET', '/v1/nothing')).status, 404)
  const plan = await call(b.url, 'POST', '/v1/routes/plan', ROUTES)
  t.equal(plan.status, 200)

  const stream = await fetch(`${b.url}/v1/events`)
  t.equal(stream.headers.get('content-type'), 'text/event-stream')
  const reader = (stream.body as ReadableStream<Uint8Array>).getReader()
  t.match(new TextDecoder().decode((await reader.read()).value), /event: status/)
  await reader.cancel()

  const worker = new FakeWorker(b.url, 'worker-1')
  const gateway = new FakeGateway(b.url, 'gateway-1')
  t.teardown(() => worker.kill())
  t.teardown(() => gateway.kill())
  await gateway.tableWith('worker-1')
  t.match(a.coordinator.status(), { workers: [{ id: 'worker-1', state: 'up' }], gateways: [{ id: 'gateway-1' }] })
  const metrics = await Promise.all([a, b].map(async ({ url }) => (await fetch(`${url}/metrics`)).text()))
  t.match(metrics[0], /sluice_coordinator_leads 1/)
  t.match(metrics[0], /sluice_gateways\{state="up"\} 1/)
  t.match(metrics[1], /sluice_coordinator_leads 0/, 'each tells its own metrics')
})

t.test('the token is asked for by whoever answers', async (t) => {
  const keys = new MemoryKeys()
  const token = 's3cret'
  const a = await start(t, keys, { token })
  const b = await start(t, keys, { token })
  for (const { url } of [a, b]) {
    t.equal((await call(url, 'GET', '/v1/status')).status, 401)
    t.equal((await call(url, 'PUT', '/v1/routes', ROUTES)).status, 401)
    t.equal((await call(url, 'GET', '/v1/coordinators')).status, 401)
    t.equal((await call(url, 'GET', '/v1/coordinators/watch')).status, 401)
    t.equal((await call(url, 'GET', '/healthz')).status, 200)
    t.equal((await call(url, 'GET', '/v1/status', undefined, { authorization: `Bearer ${token}` })).status, 200)
  }
  const stranger = new FakeGateway(b.url, 'gateway-1')
  await t.rejects(stranger.opened, /401/)
  const gateway = new FakeGateway(b.url, 'gateway-1', { token })
  t.teardown(() => gateway.kill())
  await gateway.tableWhere(({ version }) => version > 0)
})

t.test(
  'a leader that is cut off from the store answers writes with 503, changes nothing, and is replaced',
  async (t) => {
    const keys = new MemoryKeys()
    const clock = fastClock()
    const a = await start(t, keys, { clock })
    const b = await start(t, keys, { clock })
    t.equal((await call(b.url, 'PUT', '/v1/routes', ROUTES)).status, 200)
    const { version } = a.coordinator.status()
    a.view.away = true
    const other = { ...ROUTES, routes: [{ name: 'other', to: [{ pool: 'default' }] }] }
    for (const { url } of [a, b]) {
      const refused = await call(url, 'PUT', '/v1/routes', other)
      t.equal(refused.status, 503)
      t.ok(Number(refused.headers.get('retry-after')) >= 1)
      t.match((await call(url, 'GET', '/v1/routes')).body.routes, ROUTES.routes)
    }
    t.equal(a.coordinator.status().version, version)
    t.equal(await roleOf(a), 'leader', 'it goes on leading for a while: the store may be away for all')
    await until(async () => ((await roleOf(b)) === 'leader' ? true : undefined), 'the one with a store to lead')
    t.equal((await call(b.url, 'PUT', '/v1/routes', other)).status, 200)
    a.view.away = false
    await until(async () => {
      const { role, leaderSeems } = (await call(a.url, 'GET', '/v1/coordinators')).body
      return role === 'follower' && leaderSeems === 'alive' ? true : undefined
    }, 'the other one to follow')
    t.match((await call(a.url, 'GET', '/v1/routes')).body.routes, other.routes)
  },
)

t.test('a leader that others cannot reach, but that renews its lease, stays', async (t) => {
  const keys = new MemoryKeys()
  const clock = fastClock()
  // Its address leads to somebody who knows nothing of it.
  const elsewhere = createServer((_request, response) => response.writeHead(404).end()).listen(0, '127.0.0.1')
  await new Promise((resolve) => elsewhere.once('listening', resolve))
  t.teardown(() => elsewhere.close())
  const { port } = elsewhere.address() as { port: number }
  const a = await start(t, keys, { clock, advertise: `http://127.0.0.1:${port}` })
  const b = await start(t, keys, { clock })
  const local = { ...a, url: `http://127.0.0.1:${a.coordinator.port}` }
  for (let i = 0; i < 5; i++) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    t.equal(await roleOf(local), 'leader')
    t.equal(await roleOf(b), 'follower')
  }
  const refused = await call(b.url, 'PUT', '/v1/routes', ROUTES)
  t.equal(refused.status, 503, 'the follower cannot hand on')
  t.equal((await call(b.url, 'GET', '/v1/routes')).status, 200, 'and answers reads by itself')
})

t.test('a routes file is for a fleet that begins', async (t) => {
  const keys = new MemoryKeys()
  const file = (name: string) =>
    parseRoutes(JSON.stringify({ ...ROUTES, routes: [{ name, to: [{ pool: 'default' }] }] }), 'x')
  const a = await start(t, keys, { file: file('first') })
  const b = await start(t, keys, { file: file('second') })
  t.match((await call(b.url, 'GET', '/v1/routes')).body, { routes: [{ name: 'first' }] })
  await a.coordinator.close()
  await until(async () => ((await roleOf(b)) === 'leader' ? true : undefined), 'the other one to lead')
  t.match((await call(b.url, 'GET', '/v1/routes')).body, { routes: [{ name: 'first' }] })
})

t.test('an address that others cannot reach is refused, and says what to do', async (t) => {
  const options = { port: 0, servers: '', file: undefined, clock: createSystemClock(), log: SILENT_LOG }
  await t.rejects(startSharedCoordinator({ ...options, host: '0.0.0.0' }), { code: 'bad_request', path: '--advertise' })
  await t.rejects(startSharedCoordinator({ ...options, host: '127.0.0.1', advertise: 'here' }), {
    message: /http:\/\/NAME:PORT/,
  })
})
