import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type CoordinatorOptions, createCoordinator } from '../../../agents/coordinator/mod.js'
import { slotOf } from '../../../proto/hash.js'
import { tinyMmdb } from '../../gateway/geo/tiny-mmdb.js'
import { call, FakeGateway, type FakePeer, FakeWorker } from './fake-fleet.js'

async function start(t: Test, options: Partial<CoordinatorOptions> = {}) {
  const coordinator = await createCoordinator({ port: 0, ...options })
  const peers: FakePeer[] = []
  let closed: Promise<void> | undefined
  const close = (): Promise<void> => {
    for (const peer of peers) peer.kill()
    closed ??= coordinator.close()
    return closed
  }
  t.teardown(close)
  const made = <T extends FakePeer>(peer: T): T => {
    peers.push(peer)
    return peer
  }
  const { url } = coordinator
  return {
    url,
    close,
    worker: (id: string, change = {}) => made(new FakeWorker(url, id, change)),
    gateway: (id: string, change = {}) => made(new FakeGateway(url, id, change)),
    get: async (path: string) => call(url, 'GET', path),
    put: async (path: string, body: unknown, headers = {}) => call(url, 'PUT', path, body, headers),
    post: async (path: string, body?: unknown, headers = {}) => call(url, 'POST', path, body, headers),
  }
}

async function directory(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'sluice-coordinator-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  return path
}

/** Asks again until it passes. */
async function until<T>(ask: () => Promise<T>, passes: (answer: T) => boolean): Promise<T> {
  for (let left = 200; ; left--) {
    const answer = await ask()
    if (passes(answer)) return answer
    if (left === 0) throw new Error(`it stays ${JSON.stringify(answer)}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

const SPLIT = `
pools:
  v1: { policy: consistent_hash, maxLoad: 1.25 }
  v2: {}
routes:
  - name: testers
    match: { headers: { end-user: testuser } }
    to: [{ pool: v2 }]
  - name: default
    to: [{ pool: v1, weight: 90 }, { pool: v2, weight: 10 }]
`

t.test('routes can be read, applied, and reach the gateways', async (t) => {
  const { get, put, gateway } = await start(t)
  const g1 = gateway('g1')
  t.match((await get('/v1/routes')).body, {
    version: 1,
    pools: { default: { policy: 'consistent_hash' } },
    routes: [{ name: 'default' }],
  })
  const applied = await put('/v1/routes?message=two%20versions', SPLIT, { 'content-type': 'application/yaml' })
  t.match(applied, { status: 200, body: { what: 'applied', message: 'two versions', warnings: [] } })
  const table = await g1.tableWhere(({ version }) => version >= Number(applied.body.version))
  t.same(
    table.routes.map(({ name }) => name),
    ['testers', 'default'],
  )
  t.same([...table.pools.keys()].sort(), ['v1', 'v2'])
  t.match((await get('/v1/routes')).body, {
    version: applied.body.version,
    routes: [{ name: 'testers' }, { name: 'default' }],
  })
})

t.test('what GET shows can be PUT back: as JSON, as JSON text, and changes nothing', async (t) => {
  const { get, put } = await start(t)
  const first = await put('/v1/routes', JSON.stringify(SPLIT))
  t.equal(first.status, 200, 'the text of the file as a JSON string')
  const { version, ...file } = (await get('/v1/routes')).body
  const again = await put('/v1/routes', file)
  t.match(again, { status: 200, body: { version } }, 'the same routes make no new version')
  t.equal((await get('/v1/status')).body.version, version)
})

t.test('routes with mistakes are refused with the path at fault, and nothing changes', async (t) => {
  const { get, put } = await start(t)
  const before = (await get('/v1/status')).body.version
  const refused = await put('/v1/routes', { pools: { a: {} }, routes: [{ name: 'r', to: [{ pool: 'b' }] }] })
  t.match(refused, { status: 400, body: { error: { code: 'invalid_routes', path: 'routes[0].to[0].pool' } } })
  t.match(await put('/v1/routes', '{"pools":'), { status: 400, body: { error: { code: 'invalid_routes' } } })
  t.match(await put('/v1/routes', ''), { status: 400 })
  t.match(await put('/v1/routes', '[]'), { status: 400 })
  t.equal((await get('/v1/status')).body.version, before)
  t.match((await get('/v1/routes/history')).body.versions, [{ version: 1 }])
})

t.test('history tells who, when, why and what, and rollback goes back', async (t) => {
  const { get, put, post } = await start(t)
  const user = { 'x-sluice-user': 'ada' }
  const first = await put('/v1/routes?message=split', SPLIT, { 'content-type': 'text/plain', ...user })
  const wider = SPLIT.replace('weight: 90', 'weight: 80').replace('weight: 10', 'weight: 20')
  await put('/v1/routes', wider, { 'content-type': 'text/plain' })
  const back = await post('/v1/routes/rollback', { version: first.body.version, message: 'too wide' }, user)
  t.match(back, {
    status: 200,
    body: { who: 'ada', message: 'too wide', what: `rolled back to ${first.body.version}` },
  })
  const { versions } = (await get('/v1/routes/history')).body as {
    versions: { version: number; diff: string[]; when: string }[]
  }
  t.match(versions, [
    { what: 'default routes', who: 'coordinator' },
    { who: 'ada', message: 'split' },
    { diff: [/^~ route default: .*v1 90, v2 10 -> .*v1 80, v2 20$/] },
    { who: 'ada', diff: [/v1 80, v2 20 -> .*v1 90, v2 10/] },
  ])
  t.ok(versions.every(({ when }) => !Number.isNaN(Date.parse(when))))
  t.same(
    versions.map(({ version }) => version).toSorted((a, b) => a - b),
    versions.map(({ version }) => version),
  )
  t.match((await get(`/v1/routes/history/${versions[1]?.version}`)).body, {
    routes: [{ name: 'testers' }, {}],
    who: 'ada',
  })
  t.match(await post('/v1/routes/rollback', { version: 99 }), {
    status: 404,
    body: { error: { code: 'not_found', path: 'version' } },
  })
  t.match(await post('/v1/routes/rollback', { version: 'x' }), { status: 400 })
})

t.test('a plan asks the gateways, changes nothing, and names the next version', async (t) => {
  const { get, put, post, gateway, worker } = await start(t)
  const g1 = gateway('g1')
  worker('a', { pool: 'v1' })
  worker('b', { pool: 'v2' })
  await g1.tableWith('a', 'b')
  const before = (await get('/v1/status')).body.version as number
  g1.planAnswer = {
    v1: { moved: 0, before: { a: 10 }, after: { a: 9 } },
    v2: { moved: 1, before: {}, after: { b: 1 } },
  }
  const plan = await post('/v1/routes/plan', SPLIT, { 'content-type': 'text/plain' })
  t.match(plan.body, {
    version: before + 1,
    errors: [],
    exact: true,
    pools: {
      v1: { slotsMoved: 0, sessionsMoved: 0, perWorker: [{ id: 'a', before: 10, after: 9 }] },
      v2: { sessionsMoved: 1, perWorker: [{ id: 'b', before: 0, after: 1 }] },
    },
  })
  t.equal((await get('/v1/status')).body.version, before)
  const applied = await put('/v1/routes', SPLIT, { 'content-type': 'text/plain' })
  t.equal(applied.body.version, plan.body.version)
  const bad = await post('/v1/routes/plan', { pools: {}, routes: [{ name: 'r', to: [{ pool: 'b' }] }] })
  t.match(bad, { status: 200, body: { pools: {}, errors: [{ path: /^routes/, line: 1 }] } })
})

t.test('a plan falls back to the slots when a gateway does not count', async (t) => {
  const { post, gateway, worker } = await start(t)
  const g1 = gateway('g1')
  worker('a', { pool: 'v1' })
  await g1.tableWith('a')
  const plan = await post('/v1/routes/plan', SPLIT, { 'content-type': 'text/plain' })
  t.match(plan.body, {
    exact: false,
    pools: { v1: { perWorker: [{ id: 'a', slotsBefore: 16384, slotsAfter: 16384 }] } },
  })
})

t.test('draining a worker moves its slots at once and its end is told when nothing is bound any more', async (t) => {
  const { post, get, gateway, worker } = await start(t)
  const g1 = gateway('g1')
  const w1 = worker('w1')
  worker('w2')
  await g1.tableWith('w1', 'w2')
  g1.pools = { default: { workers: { w1: 3, w2: 4 }, slots: [1, 3, 2, 4] } }
  g1.beat()
  t.match(await post('/v1/workers/w1/drain'), { status: 200, body: { id: 'w1', state: 'draining' } })
  const table = await g1.tableWhere(({ workers }) => workers.get('w1')?.state === 'draining')
  const pool = table.pools.get('default')
  t.same(pool?.members, ['w1', 'w2'])
  t.ok(pool?.slots.every((owner) => owner === 1))
  await until(
    () => get('/v1/status'),
    ({ body }) => (body.workers as { id: string; state: string; sessions: number }[])[0]?.sessions === 3,
  )
  t.notOk(
    w1.received.some(({ t }) => t === 'drained'),
    'three sessions are still bound',
  )
  g1.pools = { default: { workers: { w2: 7 }, slots: [1, 3, 2, 4] } }
  await w1.message('drained')
  t.match(await post('/v1/workers/w1/undrain'), { status: 200, body: { state: 'up' } })
  const back = await g1.tableWhere(({ workers }) => workers.get('w1')?.state === 'up')
  t.equal(back.pools.get('default')?.slots.filter((owner) => owner === 0).length, 8192)
})

t.test('a worker that asks to be drained is, and only itself', async (t) => {
  const { gateway, worker } = await start(t)
  const g1 = gateway('g1')
  const w1 = worker('w1')
  worker('w2')
  await g1.tableWith('w1', 'w2')
  w1.send({ t: 'drain', id: 'w2' })
  const table = await g1.tableWhere(({ workers }) => [...workers.values()].some(({ state }) => state === 'draining'))
  t.match(
    [...table.workers.values()].find(({ state }) => state === 'draining'),
    { id: 'w1' },
  )
  await w1.message('drained')
})

t.test('the only worker of a pool keeps its slots while it drains', async (t) => {
  const { gateway, worker, post } = await start(t)
  const g1 = gateway('g1')
  worker('w1')
  await g1.tableWith('w1')
  await post('/v1/workers/w1/drain')
  const table = await g1.tableWhere(({ workers }) => workers.get('w1')?.state === 'draining')
  t.ok(table.pools.get('default')?.slots.every((owner) => owner === 0))
})

t.test('a weight changes the share of slots', async (t) => {
  const { put, gateway, worker } = await start(t)
  const g1 = gateway('g1')
  worker('w1')
  worker('w2')
  await g1.tableWith('w1', 'w2')
  t.match(await put('/v1/workers/w1/weight', { weight: 3 }), { status: 200, body: { id: 'w1', weight: 3 } })
  const table = await g1.tableWhere(({ workers }) => workers.get('w1')?.weight === 3)
  t.equal(table.pools.get('default')?.slots.filter((owner) => owner === 0).length, 12288)
})

t.test(
  'nearest goes by the address of who asks, as a trusted proxy tells it, and pages of any site may read it',
  async (t) => {
    const geoDatabase = join(await directory(t), 'city.mmdb')
    await writeFile(geoDatabase, tinyMmdb([['192.0.2.0/24', 39, -77]]))
    const near = async (trustedProxy: string[], path = '/v1/nearest') => {
      const { url, gateway } = await start(t, { geoDatabase, trustedProxy })
      gateway('g1', { location: { lat: 50, lon: 8 } })
      await gateway('g2', { location: { lat: 39, lon: -77 } }).tableWhere(({ gateways }) => gateways.size === 2)
      const answer = await fetch(new URL(path, url), { headers: { 'x-forwarded-for': '192.0.2.9' } })
      t.equal(answer.headers.get('access-control-allow-origin'), '*')
      const { gateways, at } = (await answer.json()) as { gateways: { id: string }[]; at?: object }
      return { ids: gateways.map(({ id }) => id), at }
    }
    t.same(await near(['127.0.0.0/8']), { ids: ['g2', 'g1'], at: { lat: 39, lon: -77 } })
    t.match(await near(['10.0.0.0/8']), { ids: ['g1', 'g2'], at: undefined }, 'the proxy is a stranger')
    t.match(await near(['127.0.0.0/8'], '/v1/nearest?lat=50&lon=8'), { ids: ['g1', 'g2'] }, 'the device knows better')
  },
)

t.test('draining a gateway tells it and shows in the table and in nearest', async (t) => {
  const { post, get, gateway } = await start(t)
  const [g1, g2] = [
    gateway('g1', { location: { lat: 50, lon: 8 } }),
    gateway('g2', { location: { lat: 39, lon: -77 } }),
  ]
  await g2.tableWhere(({ gateways }) => gateways.size === 2)
  const near = async (): Promise<string[]> => {
    const { body } = await get('/v1/nearest?lat=52&lon=13')
    return (body.gateways as { id: string }[]).map(({ id }) => id)
  }
  t.same(await near(), ['g1', 'g2'])
  t.match(await post('/v1/gateways/g1/drain', { windowMs: 5000 }), {
    status: 200,
    body: { state: 'draining', windowMs: 5000 },
  })
  t.match(await g1.message('drain_gateway'), { draining: true, windowMs: 5000 })
  await g2.tableWhere(({ gateways }) => gateways.get('g1')?.state === 'draining')
  t.same(await near(), ['g2', 'g1'])
  t.match(await get('/v1/nearest?lat=52'), { status: 400, body: { error: { path: 'lon' } } })
  await post('/v1/gateways/g1/undrain')
  t.match(await g1.message('drain_gateway', ({ draining }) => !draining), { draining: false })
})

t.test('a gateway that asks to be drained is, until another process takes its id', async (t) => {
  const { gateway } = await start(t)
  const [g1, g2] = [gateway('g1'), gateway('g2')]
  await g2.tableWhere(({ gateways }) => gateways.size === 2)
  g1.send({ t: 'drain', id: 'g1' })
  await g2.tableWhere(({ gateways }) => gateways.get('g1')?.state === 'draining')
  g1.close()
  await g2.tableWhere(({ gateways }) => !gateways.has('g1'))
  gateway('g1')
  await g2.tableWhere(({ gateways }) => gateways.get('g1')?.state === 'up')
})

t.test('a gateway that does not read costs one table, and gets the sum of all changes when it does', async (t) => {
  const { gateway, worker } = await start(t)
  const [slow, g2] = [gateway('slow'), gateway('g2')]
  await slow.tableWhere(({ gateways }) => gateways.size === 2)
  slow.socket.pause()
  const ids = Array.from({ length: 12 }, (_, i) => `w${String(i).padStart(2, '0')}`)
  const before = slow.received.length
  for (const id of ids) {
    worker(id)
    await g2.tableWhere(({ workers }) => workers.has(id))
  }
  slow.socket.resume()
  await slow.tableWith(...ids)
  const tables = slow.received.slice(before).filter(({ t }) => t === 'snapshot' || t === 'delta')
  t.equal(tables.length, 2, 'the one that was on its way, and one more')
  t.strictSame(slow.table.pools, g2.table.pools)
})

t.test('a session is found on whichever gateway holds it', async (t) => {
  const { get, gateway } = await start(t)
  const [g1, g2] = [gateway('g1'), gateway('g2')]
  await Promise.all([g1.message('registered'), g2.message('registered')])
  const session = {
    device: 'car/7',
    session: 's1',
    gateway: 'g2',
    protocol: 'mqtt',
    since: new Date().toISOString(),
    attributes: { 'end-user': 'testuser' },
    bindings: { v2: { worker: 'b', slot: 3, epoch: 2 } },
  }
  g2.sessions = [session]
  t.same((await get('/v1/sessions/car%2F7')).body, session)
  t.match(await get('/v1/sessions/nobody'), { status: 404, body: { error: { code: 'not_found' } } })
})

t.test('a gateway that does not answer makes an unknown device unavailable, not absent', async (t) => {
  const { get, gateway } = await start(t)
  const g1 = gateway('g1')
  await g1.message('registered')
  g1.answersQueries = false
  const answer = get('/v1/sessions/d1')
  await g1.message('query')
  g1.kill()
  t.match(await answer, { status: 503, body: { error: { code: 'unavailable', message: /g1/ } } })
})

t.test('explain follows the routes for connected devices and for others', async (t) => {
  const { get, put, gateway, worker } = await start(t)
  const g1 = gateway('g1')
  await put('/v1/routes', SPLIT, { 'content-type': 'text/plain' })
  worker('a', { pool: 'v1' })
  worker('b', { pool: 'v2' })
  await g1.tableWith('a', 'b')
  t.match((await get('/v1/explain/dev-1?header.End-User=testuser')).body, {
    connected: false,
    route: 'testers',
    pool: 'v2',
    slot: slotOf('dev-1'),
    worker: 'b',
  })
  g1.sessions = [
    {
      device: 'dev-2',
      session: 's',
      gateway: 'g1',
      protocol: 'websocket',
      since: new Date().toISOString(),
      attributes: { 'end-user': 'testuser' },
      bindings: { v2: { worker: 'b', slot: slotOf('dev-2'), epoch: 1 } },
    },
  ]
  t.match((await get('/v1/explain/dev-2')).body, {
    connected: true,
    gateway: 'g1',
    route: 'testers',
    worker: 'b',
    binding: { epoch: 1 },
  })
  t.match(await get('/v1/explain/dev-2?type=no'), { status: 400, body: { error: { path: 'type' } } })
})

t.test('moves are added up over gateways and end when all are done', async (t) => {
  const { get, put, gateway } = await start(t)
  const [g1, g2] = [gateway('g1'), gateway('g2')]
  await Promise.all([g1.message('registered'), g2.message('registered')])
  const receipt = { device: 'd', from: 'a', to: 'b', lastSeq: 4, firstSeq: 5, pauseMs: 2.5 }
  const base = { t: 'move_report', version: 7, pool: 'default' } as const
  g1.send({ ...base, planned: 2, done: 1, failed: 0, receipts: [receipt] })
  g2.send({ ...base, planned: 1, done: 1, failed: 0, receipts: [] })
  const running = await until(
    () => get('/v1/moves'),
    ({ body }) => (body.running as { planned: number }[])[0]?.planned === 3,
  )
  t.match(running.body.running, [
    { id: '7-default', pool: 'default', planned: 3, done: 2, failed: 0, receipts: [receipt] },
  ])
  g1.send({ ...base, version: 8, planned: 0, done: 0, failed: 1, receipts: [] })
  const ended = await until(
    () => get('/v1/moves'),
    ({ body }) => (body.running as unknown[]).length === 0,
  )
  t.match(
    (ended.body.recent as { id: string }[]).find(({ id }) => id === '7-default'),
    { done: 2, failed: 1, finishedAt: /Z$/ },
  )
  t.match(await put('/v1/moves/budget', { perSecond: 100, paused: true }), {
    status: 200,
    body: { perSecond: 100, paused: true },
  })
  t.match(await g1.message('move_budget', ({ paused }) => paused), { perSecond: 50 })
  t.match(await put('/v1/moves/budget', { perSecond: 0 }), { status: 400, body: { error: { path: 'perSecond' } } })
})

t.test('sessions that grew uneven are evened out by moving slots', async (t) => {
  const { gateway, worker } = await start(t)
  const g1 = gateway('g1')
  worker('w1')
  worker('w2')
  const before = await g1.tableWith('w1', 'w2')
  const slots = before.pools.get('default')?.slots as Uint16Array
  const crowded = [...slots.entries()].filter(([, owner]) => owner === 0).slice(0, 40)
  g1.pools = { default: { workers: { w1: 40 }, slots: crowded.flatMap(([slot]) => [slot, 1]) } }
  const after = await g1.tableWhere(({ version }) => version > before.version)
  const moved = after.pools.get('default')?.slots as Uint16Array
  const left = crowded.filter(([slot]) => moved[slot] === 0).length
  t.ok(left >= 15 && left <= 25, `${left} of 40 stay`)
  t.equal(moved.filter((owner) => owner === 0).length, 8192)
})

t.test('events tell what happens, and resume from an id', async (t) => {
  const { url, worker } = await start(t)
  const abort = new AbortController()
  const read = async (path: string, wanted: RegExp, act: () => void): Promise<string> => {
    const response = await fetch(url + path, { signal: abort.signal })
    t.match(response.headers.get('content-type'), 'text/event-stream')
    act()
    let text = ''
    const decoder = new TextDecoder()
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk)
      if (wanted.test(text)) break
    }
    return text
  }
  const text = await read('/v1/events', /event: worker_up/, () => worker('w1'))
  t.match(text, /event: status\ndata: \{"version":1,/)
  const id = Number(/id: (\d+)\nevent: worker_up/.exec(text)?.[1])
  t.match(await read(`/v1/events?after=${id - 1}`, /event: worker_up/, () => {}), /"worker":"w1"/)
  abort.abort()
})

t.test('metrics are in the Prometheus format', async (t) => {
  const { url, worker, gateway } = await start(t)
  const g1 = gateway('g1')
  worker('w1')
  await g1.tableWith('w1')
  const response = await fetch(`${url}/metrics`)
  t.match(response.headers.get('content-type'), 'text/plain')
  const text = await response.text()
  t.match(text, /^sluice_workers\{pool="default",state="up"\} 1$/m)
  t.match(text, /^sluice_table_version \d+$/m)
})

t.test('scaling is left to whoever started the workers', async (t) => {
  const asked: unknown[] = []
  const scale = async (pool: string, workers: number): Promise<unknown> => {
    asked.push([pool, workers])
    return { pool, workers, started: [], draining: [] }
  }
  const supervised = await start(t, { scale })
  t.match(await supervised.post('/v1/pools/default/scale', { workers: 5 }), { status: 200, body: { workers: 5 } })
  t.same(asked, [['default', 5]])
  t.match(await supervised.post('/v1/pools/default/scale', { workers: -1 }), { status: 400 })
  const alone = await start(t)
  t.match(await alone.post('/v1/pools/default/scale', { workers: 5 }), { status: 409 })
})

t.test('with a data directory everything survives a restart, and versions go on', async (t) => {
  const data = await directory(t)
  const first = await start(t, { data })
  const g1 = first.gateway('g1')
  first.worker('a', { pool: 'v1' })
  first.worker('b', { pool: 'v1' })
  await g1.tableWith('a', 'b')
  await first.put('/v1/routes?message=keep', SPLIT, { 'content-type': 'text/plain' })
  await first.put('/v1/workers/a/weight', { weight: 2 })
  await first.post('/v1/workers/b/drain')
  const last = await g1.tableWhere(({ workers }) => workers.get('b')?.state === 'draining')
  await first.close()

  const second = await start(t, { data })
  const g2 = second.gateway('g1', { tableVersion: last.version })
  await g2.message('snapshot')
  t.ok(g2.table.version >= last.version)
  t.same([...g2.table.workers.keys()], ['a', 'b'], 'known workers stay while they have time to come back')
  t.strictSame(g2.table.pools.get('v1')?.slots, last.pools.get('v1')?.slots)
  t.match((await second.get('/v1/routes/history')).body.versions, [{}, { message: 'keep' }])
  second.worker('a', { pool: 'v1' })
  const { workers } = await g2.tableWith('a')
  t.match(workers.get('a'), { weight: 2 }, 'b did not come back and is gone; the weight stays')
})

t.test('a routes file is applied at the first start, and again only when it changed', async (t) => {
  const data = await directory(t)
  const routes = join(data, 'routes.yaml')
  await writeFile(routes, SPLIT)
  const names = async (): Promise<string[]> => {
    const coordinator = await start(t, { data, routes })
    const { body } = await coordinator.get('/v1/routes')
    const found = (body.routes as { name: string }[]).map(({ name }) => name)
    await coordinator.close()
    return found
  }
  t.same(await names(), ['testers', 'default'])
  const changed = await start(t, { data, routes })
  await changed.put('/v1/routes', { pools: { v1: {} }, routes: [{ name: 'mine', to: [{ pool: 'v1' }] }] })
  await changed.close()
  t.same(await names(), ['mine'])
  await writeFile(routes, SPLIT.replace('testers', 'friends'))
  t.same(await names(), ['friends', 'default'])
  await writeFile(routes, 'pools: 3')
  await t.rejects(createCoordinator({ port: 0, data, routes }), { code: 'invalid_routes', message: /routes\.yaml:1/ })
  await t.rejects(createCoordinator({ port: 0, routes: join(data, 'none.yaml') }), { message: /no such file/ })
})

t.test('a damaged state file is refused by name', async (t) => {
  const data = await directory(t)
  const first = await start(t, { data })
  await first.close()
  const path = join(data, 'coordinator.state')
  const good = await readFile(path)
  const damaged = Buffer.from(good)
  damaged[good.length - 20] = (damaged[good.length - 20] as number) ^ 1
  for (const [bytes, problem] of [
    [damaged, /does not match its digest/],
    [good.subarray(0, good.length >> 1), /does not match its digest/],
    [good.subarray(0, 30), /does not begin like a state file/],
    [Buffer.alloc(0), /does not begin like a state file/],
    [Buffer.from(good.toString('latin1').replace('sluice-state 1', 'sluice-state 9'), 'latin1'), /format 9/],
  ] as const) {
    await writeFile(path, bytes)
    await t.rejects(createCoordinator({ port: 0, data }), { message: problem, path })
  }
  await writeFile(path, good)
  const again = await start(t, { data })
  t.equal((await again.get('/v1/status')).status, 200)
})
