/** Route updates on a running fleet: what a plan says is what apply does, splits only add devices, headers choose pools. */

import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { encodeFrame, FrameType } from '../../proto/frame.js'
import { PlainDevice } from './plain-device.js'
import { eventually, type Product, startProduct } from './product.js'

const DEVICES = 200

const split = (a: number, b: number) => `
pools:
  a: { policy: consistent_hash }
  b: { policy: consistent_hash }
routes:
  - name: testers
    match: { headers: { end-user: testuser } }
    to: [{ pool: b }]
  - name: default
    to: [{ pool: a, weight: ${a} }, { pool: b, weight: ${b} }]
`

interface Plan {
  version: number
  errors: unknown[]
  pools: Record<string, { sessionsMoved: number; perWorker: { id: string; before: number; after: number }[] }>
}

interface Status {
  version: number
  converged: boolean
  workers: { id: string; pool: string; sessions: number }[]
}

let product: Product

t.before(async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'sluice-routes-')), 'routes.yaml')
  writeFileSync(file, split(90, 10))
  product = await startProduct('--workers', '4', '--routes', file)
})

t.teardown(async () => {
  await product.stop()
})

async function send<T>(method: string, path: string, text: string): Promise<T> {
  const answer = await fetch(new URL(path, product.coordinator), {
    method,
    body: text,
    headers: { 'content-type': 'application/yaml' },
  })
  return (await answer.json()) as T
}

/** Which pool each device is bound in. */
async function poolsOf(devices: readonly string[]): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  for (const device of devices) {
    const { bindings } = await product.get<{ bindings: Record<string, unknown> }>(`/v1/sessions/${device}`)
    found.set(device, Object.keys(bindings).join())
  }
  return found
}

t.test(
  'a plan names what apply then does, to the session, and widening a split moves nobody who was in it',
  async (t) => {
    const names = Array.from({ length: DEVICES }, (_, i) => `split-${i}`)
    const devices = names.map((name, i) => new PlainDevice(`${product.gateways[i % 2]?.ws}?device=${name}`))
    for (const device of devices) await device.next(FrameType.WELCOME)
    await eventually('all sessions reported', 5000, async () => {
      const { workers } = await product.get<Status>('/v1/status')
      return workers.reduce((sum, { sessions }) => sum + sessions, 0) === DEVICES ? true : undefined
    })
    const before = await poolsOf(names)
    const inB = names.filter((name) => before.get(name) === 'b')
    t.ok(inB.length > 5 && inB.length < 45, `${inB.length} of ${DEVICES} devices are in the tenth`)

    const plan = await send<Plan>('POST', '/v1/routes/plan', split(80, 20))
    t.same(plan.errors, [])
    const planned = Object.values(plan.pools).reduce((sum, { sessionsMoved }) => sum + sessionsMoved, 0)
    await send('PUT', '/v1/routes?message=a%20fifth', split(80, 20))
    const after = await eventually('the sessions that were planned', 10_000, async () => {
      const pools = await poolsOf(names)
      const moved = names.filter((name) => pools.get(name) !== before.get(name)).length
      return moved === planned ? pools : undefined
    })
    for (const name of inB) if (after.get(name) !== 'b') t.fail(`${name} left the tenth`)
    const { workers } = await eventually('settled counts', 5000, async () => {
      const status = await product.get<Status>('/v1/status')
      const told = new Map(
        Object.values(plan.pools).flatMap(({ perWorker }) => perWorker.map(({ id, after }) => [id, after])),
      )
      return status.workers.every(({ id, sessions }) => told.get(id) === sessions) ? status : undefined
    })
    t.equal(workers.length, 4, `each worker holds what the plan said: ${workers.map(({ sessions }) => sessions)}`)
    for (const device of devices) device.close()
  },
)

t.test("a frame's own headers choose the pool, and the session's other frames stay where they were", async (t) => {
  const device = new PlainDevice(`${product.gateways[0]?.ws}?device=tester-1`)
  await device.next(FrameType.WELCOME)
  device.send(encodeFrame({ topic: 'x', payload: Buffer.from('1'), headers: { 'End-User': 'testuser' } }))
  device.send(encodeFrame({ topic: 'x', payload: Buffer.from('2') }))
  await device.next(FrameType.DATA)
  await device.next(FrameType.DATA)
  const { bindings } = await product.get<{ bindings: Record<string, { worker: string }> }>('/v1/sessions/tester-1')
  t.ok('b' in bindings, 'the marked frame went to b')
  device.close()
})

t.test('a broken routes file is refused whole, with the path at fault, and nothing changes', async (t) => {
  const { version } = await product.get<Status>('/v1/status')
  const refused = await send<{ error: { code: string; message: string; path: string } }>(
    'PUT',
    '/v1/routes',
    split(80, 20).replace('pool: a, weight: 80', 'pool: c, weigth: 80'),
  )
  t.match(refused, { error: { code: 'invalid_routes', path: /routes/ } })
  t.match(refused.error.message, /weight/, 'a misspelt key is told with the one that was meant')
  t.match(refused.error.message, /"?c"?/)
  t.equal((await product.get<Status>('/v1/status')).version, version)
})

t.test('history keeps who, when and why; a rollback applies the routes of then', async (t) => {
  const { versions } = await product.get<{
    versions: { version: number; message?: string; who: string; when: string }[]
  }>('/v1/routes/history')
  t.ok(versions.some(({ message }) => message === 'a fifth'))
  const first = Math.min(...versions.map(({ version }) => version))
  await send('POST', '/v1/routes/rollback', JSON.stringify({ version: first }))
  const { routes } = await product.get<{ routes: { name: string; to: { weight: number }[] }[] }>('/v1/routes')
  t.same(
    routes.find(({ name }) => name === 'default')?.to.map(({ weight }) => weight),
    [90, 10],
  )
})
