import t from 'tap'
import { Lease } from '../../../../agents/coordinator/ha/lease.js'
import { MemoryKeys } from './memory-keys.js'

const A = { instance: 'a', url: 'http://127.0.0.1:7001' }
const B = { instance: 'b', url: 'http://127.0.0.1:7002' }

/** Time passes by itself. */
function pass(_ms: number, fn: () => void): () => void {
  setImmediate(fn)
  return () => {}
}

function setUp() {
  const keys = new MemoryKeys()
  const time = { now: 0 }
  const clock = { now: () => time.now, wall: () => time.now, after: pass }
  return { keys, time, a: new Lease(keys, clock), b: new Lease(keys, clock) }
}

t.test('one of two takes a free lease, and the other one sees who', async (t) => {
  const { a, b } = setUp()
  await Promise.all([a.read(), b.read()])
  const held = await a.take(A, 0)
  t.same(held, { ...A, epoch: 1 })
  await t.rejects(b.take(B, 0), { code: 'conflict' })
  t.same(await b.read(), held)
})

t.test('epochs grow with every holder, and above what is known from elsewhere', async (t) => {
  const { a, b } = setUp()
  await a.take(A, 41)
  t.equal((await b.read())?.epoch, 42)
  t.equal((await b.take(B, 0)).epoch, 43)
})

t.test('of two that were both told that they won, one is told otherwise in time', async (t) => {
  const { keys, a, b } = setUp()
  await Promise.all([a.read(), b.read()])
  const put = keys.put.bind(keys)
  let compared = 0
  // Both are compared with nothing before either is written.
  keys.put = async (key, value, revision) => put(key, value, compared++ < 2 ? undefined : revision)
  const taken = await Promise.allSettled([a.take(A, 0), b.take(B, 0)])
  t.same(
    taken.map(({ status }) => status),
    ['rejected', 'fulfilled'],
  )
  t.equal((await a.read())?.instance, 'b')
})

t.test('a lease that was renewed since it was read cannot be taken', async (t) => {
  const { a, b } = setUp()
  const held = await a.take(A, 0)
  await b.read()
  await a.renew(held)
  await t.rejects(b.take(B, 0), { code: 'conflict' })
})

t.test('a holder that was replaced is told when it renews', async (t) => {
  const { a, b } = setUp()
  const held = await a.take(A, 0)
  await b.read()
  const next = await b.take(B, 0)
  await t.rejects(a.renew(held), { code: 'conflict' })
  await t.rejects(a.renew(held), { code: 'conflict' }, 'every time')
  t.same(await b.read(), next, 'and changes nothing')
})

t.test('a renewal whose answer was lost is no loss of the lease', async (t) => {
  const { keys, a } = setUp()
  const held = await a.take(A, 0)
  keys.losesAnswer = true
  await t.rejects(a.renew(held), { code: 'unavailable' })
  await a.renew(held)
  t.same(await a.read(), held)
})

t.test('a store that lost everything gets the lease back from its holder', async (t) => {
  const { keys, a, b } = setUp()
  const held = await a.take(A, 0)
  keys.values.clear()
  await a.renew(held)
  t.same(await b.read(), held)
})

t.test('staleness counts from the last renewal that was seen, and only while the store answers', async (t) => {
  const { keys, time, a, b } = setUp()
  const held = await a.take(A, 0)
  await b.read()
  time.now = 1000
  await b.read()
  t.equal(b.staleMs, 1000)
  await a.renew(held)
  await b.read()
  t.equal(b.staleMs, 0, 'a renewal')
  time.now = 4000
  keys.away = true
  await t.rejects(b.read(), { code: 'unavailable' })
  t.equal(b.staleMs, 0, 'its holder could not renew it either')
})

t.test('a lease that cannot be read is nobody’s, and can be taken', async (t) => {
  const { keys, a } = setUp()
  await keys.put('leader', new Uint8Array([0xc1, 1, 2]))
  t.equal(await a.read(), undefined)
  t.equal((await a.take(A, 7)).epoch, 8)
})
