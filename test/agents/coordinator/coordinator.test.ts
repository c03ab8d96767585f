import t, { type Test } from 'tap'
import WebSocket from 'ws'
import { type CoordinatorOptions, createCoordinator } from '../../../agents/coordinator/mod.js'
import { packControl } from '../../../proto/control.js'
import { call, FakeGateway, FakePeer, FakeWorker } from './fake-fleet.js'

async function start(t: Test, options: Partial<CoordinatorOptions> = {}) {
  const coordinator = await createCoordinator({ port: 0, ...options })
  const peers: FakePeer[] = []
  t.teardown(async () => {
    for (const peer of peers) peer.kill()
    await coordinator.close()
  })
  const worker = (id: string, change: ConstructorParameters<typeof FakeWorker>[2] = {}): FakeWorker => {
    const peer = new FakeWorker(coordinator.url, id, change)
    peers.push(peer)
    return peer
  }
  const gateway = (id: string, change: ConstructorParameters<typeof FakeGateway>[2] = {}): FakeGateway => {
    const peer = new FakeGateway(coordinator.url, id, change)
    peers.push(peer)
    return peer
  }
  const peer = (token?: string): FakePeer => {
    const made = new FakePeer(coordinator.url, token)
    peers.push(made)
    return made
  }
  return { ...coordinator, coordinator, worker, gateway, peer }
}

/** Asks again until the status passes. */
async function statusWhere(
  url: string,
  passes: (status: Record<string, unknown>) => boolean,
): Promise<Record<string, unknown>> {
  for (let left = 200; ; left--) {
    const { body } = await call(url, 'GET', '/v1/status')
    if (passes(body)) return body
    if (left === 0) throw new Error(`the status stays ${JSON.stringify(body)}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

t.test('an empty coordinator is alive, ready, and has one pool and one route', async (t) => {
  const { url } = await start(t)
  t.match(await call(url, 'GET', '/healthz'), { status: 200, body: { status: 'ok' } })
  t.match(await call(url, 'GET', '/readyz'), { status: 200, body: { status: 'ready', version: 1 } })
  t.match(await call(url, 'GET', '/v1/status'), { status: 200, body: { version: 1, gateways: [], workers: [] } })
})

t.test('workers that register are in the table that gateways get, and own all slots evenly', async (t) => {
  const { url, worker, gateway } = await start(t)
  const g1 = gateway('g1')
  worker('w1')
  worker('w2')
  worker('w3')
  const table = await g1.tableWith('w1', 'w2', 'w3')
  const counts = [0, 0, 0]
  for (const owner of table.pools.get('default')?.slots ?? []) counts[owner] = (counts[owner] ?? 0) + 1
  t.same(counts.sort(), [5461, 5461, 5462])
  t.same(table.routes, [{ name: 'default', match: {}, to: [{ pool: 'default', weight: 1 }] }])
  const status = await statusWhere(
    url,
    ({ converged, gateways }) => converged === true && (gateways as unknown[]).length === 1,
  )
  t.match(status, {
    version: table.version,
    gateways: [{ id: 'g1', region: 'local', tableVersion: table.version, state: 'up', lastNack: null }],
    workers: [{ id: 'w1', pool: 'default', weight: 1, state: 'up' }, { id: 'w2' }, { id: 'w3' }],
  })
})

t.test('a burst of joins is a handful of tables, and every gateway ends with the same one', async (t) => {
  const { worker, gateway } = await start(t)
  const [g1, g2] = [gateway('g1'), gateway('g2')]
  await Promise.all([g1.message('snapshot'), g2.message('snapshot')])
  const ids = Array.from({ length: 40 }, (_, i) => `w${String(i).padStart(2, '0')}`)
  for (const id of ids) worker(id)
  const [a, b] = await Promise.all([g1.tableWith(...ids), g2.tableWith(...ids)])
  t.strictSame(a, b)
  const tables = g1.received.filter(({ t }) => t === 'snapshot' || t === 'delta').length
  t.ok(tables < 20, `${tables} tables for 40 joins`)
})

t.test('a worker for a pool that nobody described gets a pool with defaults', async (t) => {
  const { worker, gateway } = await start(t)
  const g1 = gateway('g1')
  worker('t1', { pool: 'telemetry' })
  const table = await g1.tableWith('t1')
  t.match(table.pools.get('telemetry'), { policy: 'consistent_hash', key: 'device', maxLoad: 1.25, members: ['t1'] })
})

t.test('a gateway gets one snapshot, then deltas', async (t) => {
  const { worker, gateway } = await start(t)
  const g1 = gateway('g1')
  worker('w1')
  await g1.tableWith('w1')
  worker('w2')
  await g1.tableWith('w1', 'w2')
  t.equal(g1.received.filter(({ t }) => t === 'snapshot').length, 1)
  t.ok(g1.received.some(({ t }) => t === 'delta'))
})

t.test('a gateway that does not ack is sent nothing more until it does, then all changes as one delta', async (t) => {
  const { worker, gateway, url } = await start(t)
  const [g1, g2] = [gateway('g1'), gateway('g2')]
  worker('w1')
  await Promise.all([
    g1.tableWith('w1'),
    g2.tableWhere(({ gateways, workers }) => gateways.size === 2 && workers.size === 1),
  ])
  await statusWhere(url, ({ converged }) => converged === true)
  g1.onTable = 'ignore'
  const before = g1.received.length
  for (const id of ['w2', 'w3', 'w4']) {
    worker(id)
    await g2.tableWhere(({ workers }) => workers.has(id))
  }
  const tables = g1.received.slice(before).filter(({ t }) => t === 'snapshot' || t === 'delta')
  t.equal(tables.length, 1, 'one table is on its way')
  g1.onTable = 'ack'
  g1.onMessage(tables[0] as never)
  await g1.tableWith('w1', 'w2', 'w3', 'w4')
  t.strictSame(g1.table, g2.table)
})

t.test('a nack is shown with its reason, and the gateway is sent the next version as a snapshot', async (t) => {
  const { worker, gateway, url } = await start(t)
  const g1 = gateway('g1')
  await g1.message('snapshot')
  await g1.tableWhere(({ gateways }) => gateways.size === 1)
  g1.onTable = { code: 'table_rejected', message: 'pools.default: no' }
  worker('w1')
  const status = await statusWhere(url, ({ gateways }) => (gateways as { lastNack: unknown }[])[0]?.lastNack !== null)
  t.match(status.gateways, [
    { id: 'g1', lastNack: { code: 'table_rejected', message: 'pools.default: no' }, tableVersion: g1.table.version },
  ])
  g1.onTable = 'ack'
  const before = g1.received.length
  worker('w2')
  await g1.tableWith('w1', 'w2')
  t.ok(g1.received.slice(before).some(({ t }) => t === 'snapshot'))
})

t.test('a gateway that nacks a delta it cannot apply is sent a snapshot at once', async (t) => {
  const { worker, gateway } = await start(t)
  const g1 = gateway('g1')
  await g1.tableWhere(({ gateways }) => gateways.size === 1)
  g1.onTable = { code: 'conflict', message: 'not at that version' }
  const before = g1.table.version
  worker('w1')
  await g1.message('delta', ({ from }) => from === before)
  g1.onTable = 'ack'
  await g1.tableWith('w1')
  t.equal(g1.received.filter(({ t }) => t === 'snapshot').length, 2)
})

t.test('a worker killed with its links is out of the table within a second', async (t) => {
  const { worker, gateway } = await start(t)
  const [g1, g2] = [gateway('g1'), gateway('g2')]
  const w1 = worker('w1')
  worker('w2')
  await Promise.all([g1.tableWith('w1', 'w2'), g2.tableWith('w1', 'w2')])
  for (const g of [g1, g2]) g.link('w1', 'up')
  await w1.message('registered')
  const killed = Date.now()
  w1.kill()
  for (const g of [g1, g2]) g.link('w1', 'down')
  const table = await g1.tableWith('w2')
  t.ok(Date.now() - killed < 1000, `${Date.now() - killed} ms`)
  t.ok(table.pools.get('default')?.slots.every((owner) => owner === 0))
})

t.test('a worker killed before any gateway had a link to it is out within a second too', async (t) => {
  const { worker, gateway } = await start(t)
  const g1 = gateway('g1')
  const w1 = worker('w1')
  await g1.tableWith('w1')
  const killed = Date.now()
  w1.kill()
  await g1.tableWith()
  t.ok(Date.now() - killed < 1100, `${Date.now() - killed} ms`)
})

t.test('a silent worker is out within 3 s, one whose links still answer stays', async (t) => {
  const { worker, gateway, url } = await start(t)
  const g1 = gateway('g1')
  const [hung, slow] = [worker('hung'), worker('slow')]
  await g1.tableWith('hung', 'slow')
  g1.link('slow', 'up')
  g1.link('hung', 'up')
  const stopped = Date.now()
  hung.silence()
  slow.silence()
  g1.link('hung', 'timeout')
  await g1.tableWith('slow')
  t.ok(Date.now() - stopped < 3000, `${Date.now() - stopped} ms`)
  const { body } = await call(url, 'GET', '/v1/status')
  t.match(
    (body.workers as { id: string; state: string }[]).find(({ id }) => id === 'slow'),
    { state: 'suspect' },
  )
  // It was only stopped: one heartbeat on the same connection brings it back.
  hung.beat()
  await g1.tableWith('hung', 'slow')
})

t.test('a worker that registers again in another process replaces the first', async (t) => {
  const { worker, gateway } = await start(t)
  const g1 = gateway('g1')
  const first = worker('w1', { link: 'tcp://127.0.0.1:9001' })
  await g1.tableWith('w1')
  worker('w1', { link: 'tcp://127.0.0.1:9002' })
  t.match(await first.message('refused'), { code: 'conflict' })
  await first.closed
  await g1.tableWhere(({ workers }) => workers.get('w1')?.link === 'tcp://127.0.0.1:9002')
})

t.test('a gateway that registers again gets a snapshot on the new connection, and the old one ends', async (t) => {
  const { gateway, url } = await start(t)
  const first = gateway('g1')
  await first.message('snapshot')
  const second = gateway('g1')
  await second.message('snapshot')
  t.match(await first.closed, { code: 1008 })
  const { body } = await call(url, 'GET', '/v1/status')
  t.match(body.gateways, [{ id: 'g1', connected: true }])
})

t.test(
  'a coordinator that lost its memory lets the fleet register before it sends a table, with a version above theirs',
  async (t) => {
    const { worker, gateway, url } = await start(t)
    const g1 = gateway('g1', { tableVersion: 57 })
    await g1.message('registered')
    t.match(await call(url, 'GET', '/readyz'), { status: 503, body: { status: 'waiting' } })
    worker('w1')
    const first = await g1.message('snapshot')
    t.ok(first.version > 57)
    t.same([...g1.table.workers.keys()], ['w1'], 'the first table has the worker already')
  },
)

t.test('garbage, text, wrong first messages and bad registrations are refused by name', async (t) => {
  const { peer, worker } = await start(t)
  const refused = async (send: (made: FakePeer) => void, code: string, reason: RegExp): Promise<void> => {
    const made = peer()
    await made.opened
    send(made)
    t.match(await made.message('refused'), { code, message: reason })
    t.match(await made.closed, { code: 1008 })
  }
  await refused((made) => made.send(new Uint8Array([0xc1, 1, 2])), 'bad_request', /cannot be decoded/)
  await refused((made) => made.socket.send('hello'), 'bad_request', /binary/)
  await refused((made) => made.send(packControl(['register_worker'])), 'bad_request', /not a record/)
  await refused((made) => made.send({ t: 'ack', version: 1 }), 'bad_request', /first message/)
  await refused(
    (made) => made.send(packControl({ t: 'register_worker', protocol: 9 })),
    'protocol_mismatch',
    /protocol 1, not 9/,
  )
  const { registration } = worker('good')
  await refused((made) => made.send({ ...registration, id: 'bad\n' }), 'bad_request', /its id/)
  await refused((made) => made.send({ ...registration, link: 'nowhere' }), 'bad_request', /its link "nowhere"/)
  await refused(
    (made) => made.send({ ...registration, weight: -1 }),
    'bad_request',
    /weight is not a number from 0 to 1000/,
  )
})

t.test('bad messages after the registration are survived, but not for ever', async (t) => {
  const { gateway } = await start(t)
  const g1 = gateway('g1')
  await g1.message('snapshot')
  for (let i = 0; i < 9; i++) g1.send(packControl({ t: 'gateway_heartbeat', sessions: 'many' }))
  g1.send(packControl({ t: 'constructor' }))
  t.match(await g1.closed, { code: 1008 })
})

t.test('with a token, only those who know it register or call', async (t) => {
  const { url, worker, peer } = await start(t, { token: 'secret' })
  t.match(await call(url, 'GET', '/healthz'), { status: 200 })
  t.match(await call(url, 'GET', '/v1/status'), { status: 401, body: { error: { code: 'unauthorized' } } })
  t.match(await call(url, 'GET', '/v1/status', undefined, { authorization: 'Bearer wrong' }), { status: 401 })
  t.match(await call(url, 'GET', '/v1/status', undefined, { authorization: 'Bearer secret' }), { status: 200 })
  await t.rejects(peer().opened, /401/)
  await t.rejects(peer('wrong').opened, /401/)
  await worker('w1', { token: 'secret' }).message('registered')
})

t.test('pages of other sites can neither operate the coordinator nor connect to it', async (t) => {
  const { url } = await start(t)
  const headers = { origin: 'http://evil.example' }
  t.match(await call(url, 'POST', '/v1/workers/w1/drain', undefined, headers), {
    status: 403,
    body: { error: { code: 'forbidden' } },
  })
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/control`, { headers })
  t.match(await new Promise((resolve) => socket.on('error', resolve)), { message: /403/ })
})

t.test('unknown paths, methods and names are answered as JSON errors', async (t) => {
  const { url } = await start(t)
  t.match(await call(url, 'GET', '/nowhere'), {
    status: 404,
    body: { error: { code: 'not_found', message: /\/nowhere/ } },
  })
  t.match(await call(url, 'DELETE', '/v1/status'), { status: 405, body: { error: { code: 'method_not_allowed' } } })
  t.match(await call(url, 'POST', '/v1/workers/w9/drain'), {
    status: 404,
    body: { error: { code: 'not_found', message: /w9/ } },
  })
  t.match(await call(url, 'GET', '/v1/workers/%zz/drain'), { status: 405 })
  t.match(await call(url, 'POST', '/v1/workers/%zz/drain'), { status: 400 })
  t.match(await call(url, 'PUT', '/v1/workers/w9/weight', '{"weight":'), {
    status: 400,
    body: { error: { code: 'bad_request' } },
  })
  t.match(await call(url, 'PUT', '/v1/workers/w9/weight', { weight: 2000 }), {
    status: 400,
    body: { error: { path: 'weight' } },
  })
  t.match(await call(url, 'PUT', '/v1/workers/w9/weight', ' '.repeat(1024 * 1024 + 1)), { status: 413 })
})

t.test('closing a coordinator ends its connections and frees its port', async (t) => {
  const coordinator = await createCoordinator({ port: 0 })
  const w1 = new FakeWorker(coordinator.url, 'w1')
  await w1.message('registered')
  await coordinator.close()
  t.match(await w1.closed, { code: 1001 })
  const again = await createCoordinator({ port: coordinator.port })
  await again.close()
})
