import t, { type Test } from 'tap'
import { createCoordinator } from '../../../agents/coordinator/mod.js'
import { readRolloutPlan } from '../../../agents/coordinator/rollout.js'
import { call, FakeGateway, FakeWorker } from './fake-fleet.js'

const ROUTES = {
  pools: { default: {}, next: {} },
  routes: [{ name: 'default', to: [{ pool: 'default', weight: 9 }, { pool: 'next' }] }],
}

async function start(t: Test, gateways: number) {
  const coordinator = await createCoordinator({ port: 0 })
  const { url } = coordinator
  const workers = [new FakeWorker(url, 'w1')]
  const edge = Array.from({ length: gateways }, (_, i) => new FakeGateway(url, `g${i}`))
  t.teardown(async () => {
    for (const peer of [...workers, ...edge]) peer.kill()
    await coordinator.close()
  })
  for (const gateway of edge)
    await gateway.tableWhere((table) => table.gateways.size === gateways && table.workers.size === 1)
  const ended = async (): Promise<Record<string, unknown>> => {
    for (let left = 200; left > 0; left--) {
      const rollout = (await call(url, 'GET', '/v1/rollout')).body.rollout as Record<string, unknown>
      if (rollout.state !== 'running') return rollout
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    throw new Error('the rollout does not end')
  }
  return { url, edge, ended, begin: (query: string) => call(url, 'PUT', `/v1/routes?${query}`, ROUTES) }
}

const isNew = (gateway: FakeGateway): boolean => gateway.table.pools.has('next')

t.test('a rollout reaches a few gateways first, then all, and is in the history when it did', async (t) => {
  const { url, edge, begin, ended } = await start(t, 4)
  const begun = await begin('stages=1,50%&bake=300ms&message=slowly')
  t.match(begun, {
    status: 200,
    body: { rollout: { state: 'running', stage: 1, stages: 3, gateways: ['g0'], bakeMs: 300 } },
  })
  await edge[0]?.tableWhere((table) => table.pools.has('next'))
  t.same(edge.map(isNew), [true, false, false, false])
  t.match(await begin('stages=1'), { status: 409 })
  t.match(await call(url, 'PUT', '/v1/routes', ROUTES), { status: 409, body: { error: { code: 'conflict' } } })
  t.match((await call(url, 'GET', '/v1/routes')).body.pools, { default: {} })
  await edge[1]?.tableWhere((table) => table.pools.has('next'))
  t.same(edge.map(isNew), [true, true, false, false])
  t.match(await ended(), { state: 'done', stage: 3, gateways: ['g0', 'g1', 'g2', 'g3'] })
  t.same(edge.map(isNew), [true, true, true, true])
  t.equal(new Set(edge.map(({ table }) => table.version)).size, 1)
  t.match((await call(url, 'GET', '/v1/routes/history')).body.versions, [{}, { what: 'rolled out', message: 'slowly' }])
})

t.test('a gateway that refuses it ends it: the staged ones go back, the others never saw it', async (t) => {
  const { url, edge, begin, ended } = await start(t, 3)
  const first = edge[0] as FakeGateway
  first.onTable = { code: 'table_rejected', message: 'no such thing' }
  await begin('stages=1&bake=5s')
  t.match(await ended(), { state: 'withdrawn', reason: /g0 refused it: no such thing/ })
  first.onTable = 'ack'
  t.match((await call(url, 'GET', '/v1/routes')).body, { version: 1 })
  t.same(edge.map(isNew), [false, false, false])
})

t.test('sessions that fare worse on the staged gateways end it', async (t) => {
  const { edge, begin, ended } = await start(t, 2)
  const first = edge[0] as FakeGateway
  first.beat()
  await begin('stages=1&bake=5s')
  await first.tableWhere((table) => table.pools.has('next'))
  first.counters = { ...first.counters, disconnects: 40 }
  first.beat()
  t.match(await ended(), { state: 'withdrawn', reason: /g0: 40 of 0 sessions disconnected/ })
  await first.tableWhere((table) => !table.pools.has('next'))
  t.strictSame(first.table.routes, edge[1]?.table.routes)
})

t.test('membership goes on in both tables while a rollout runs', async (t) => {
  const { url, edge, begin } = await start(t, 2)
  await begin('stages=1&bake=1m')
  await edge[0]?.tableWhere((table) => table.pools.has('next'))
  const w2 = new FakeWorker(url, 'w2', { pool: 'next' })
  t.teardown(() => w2.kill())
  const staged = await edge[0]?.tableWith('w1', 'w2')
  const current = await edge[1]?.tableWith('w1', 'w2')
  t.equal(staged?.routes[0]?.to.length, 2)
  t.equal(current?.routes[0]?.to.length, 1)
  t.strictSame(staged?.pools.get('default')?.slots, current?.pools.get('default')?.slots)
  t.match(await call(url, 'POST', '/v1/rollout/abort'), {
    body: { rollout: { state: 'withdrawn', reason: /aborted/ } },
  })
  await edge[0]?.tableWhere((table) => table.routes[0]?.to.length === 1)
  t.match(await call(url, 'POST', '/v1/rollout/abort'), { status: 409 })
})

t.test('stages and times are read with bounds', async (t) => {
  t.same(readRolloutPlan('1, 10%,100%', '500ms'), {
    stages: [{ gateways: 1 }, { percent: 10 }, { percent: 100 }],
    bakeMs: 500,
  })
  t.same(readRolloutPlan('2', null), { stages: [{ gateways: 2 }, { percent: 100 }], bakeMs: 30_000 })
  for (const stages of ['', '0', '101%', 'x', '1,,2', '-1'])
    t.throws(() => readRolloutPlan(stages, null), { code: 'bad_request', path: 'stages' })
  for (const bake of ['', '30', '2d', '-1s', '9999999m'])
    t.throws(() => readRolloutPlan('1', bake), { code: 'bad_request', path: 'bake' })
})
