import t from 'tap'
import { PoolBalancer } from '../../../gateway/balance/pool-balancer.js'
import type { Policy, Pool, WorkerEntry, WorkerState } from '../../../proto/table.js'

const SLOW = { windowMs: 1000, from: 0.1 }

/** Slot n belongs to member n modulo the members that are up. */
function poolOf(ids: string, policy: Policy = 'consistent_hash'): Pool {
  const members = [...ids]
  const slots = Uint16Array.from(
    { length: policy === 'consistent_hash' ? 16384 : 0 },
    (_, slot) => slot % members.length,
  )
  return { name: 'p', policy, key: 'device', maxLoad: 1.25, members, slots }
}

function workersOf(ids: string, states: Record<string, WorkerState> = {}): Map<string, WorkerEntry> {
  return new Map([...ids].map((id) => [id, { id, pool: 'p', link: 'tcp://h:1', weight: 1, state: states[id] ?? 'up' }]))
}

function linkedPool(ids: string, policy?: Policy): PoolBalancer {
  const balancer = new PoolBalancer(poolOf(ids, policy), workersOf(ids), {
    slowStart: SLOW,
    outlier: { consecutive: 1 },
  })
  for (const id of ids) balancer.linked(id, true)
  return balancer
}

t.test('a slot waits for its owner while the link is down, unless anyone may stand in', async (t) => {
  const balancer = linkedPool('abc')
  t.equal(balancer.choose(1, undefined, false, 0, 0), 'b')
  balancer.linked('b', false)
  t.equal(balancer.choose(1, undefined, false, 0, 0), undefined)
  const standIn = balancer.choose(1, undefined, true, 0, 0)
  t.ok(standIn === 'a' || standIn === 'c')
  t.equal(balancer.misplaced(standIn ?? '', 1, 0), false, 'the stand-in keeps it while the owner cannot take it')
  balancer.linked('b', true)
  t.equal(balancer.misplaced(standIn ?? '', 1, 0), true, 'and hands it back when it can')
})

t.test('for an ejected owner another stands in at once, until the ejection ends', async (t) => {
  const balancer = linkedPool('abc')
  t.equal(balancer.failure('b', 100), true)
  t.not(balancer.choose(1, undefined, false, 100, 0), 'b')
  t.equal(balancer.choose(1, undefined, false, 5100, 0), 'b')
})

t.test('when most of a pool is ejected or away, ejection is ignored', async (t) => {
  const balancer = linkedPool('abcd')
  balancer.failure('b', 100)
  balancer.linked('c', false)
  balancer.linked('d', false)
  t.equal(balancer.choose(1, undefined, false, 100, 0), 'b')
})

t.test('a worker to avoid is passed over only while there is another', async (t) => {
  const balancer = linkedPool('ab')
  t.equal(balancer.choose(0, 'a', false, 0, 0), 'b')
  t.equal(balancer.choose(0, undefined, false, 0, 0), 'a', 'and only for this call')
  balancer.linked('b', false)
  t.equal(balancer.choose(0, 'a', true, 0, 0), 'a')
})

t.test('a draining worker takes nothing and has to hand over what it has', async (t) => {
  for (const policy of ['consistent_hash', 'least_connections', 'round_robin', 'random'] as const) {
    const balancer = linkedPool('ab', policy)
    const members = {
      ...poolOf('ab', policy),
      slots: new Uint16Array(policy === 'consistent_hash' ? 16384 : 0).fill(1),
    }
    balancer.use(members, workersOf('ab', { a: 'draining' }), 10)
    const slot = policy === 'consistent_hash' ? 0 : -1
    t.same(
      [0, 0.5, 0.9].map((random) => balancer.choose(slot, undefined, false, 10, random)),
      ['b', 'b', 'b'],
      policy,
    )
    t.equal(balancer.misplaced('a', slot, 10), true)
    t.equal(balancer.misplaced('b', slot, 10), false)
    t.equal(balancer.misplaced('gone', slot, 10), true)
  }
})

t.test('least_connections adds what this gateway bound since the worker reported', async (t) => {
  const balancer = linkedPool('ab', 'least_connections')
  balancer.reported('a', 10)
  balancer.reported('b', 12)
  t.equal(balancer.choose(-1, undefined, false, 0, 0), 'a')
  for (let i = 0; i < 3; i++) balancer.held('a', 1)
  t.equal(balancer.choose(-1, undefined, false, 0, 0), 'b')
  balancer.reported('a', 10)
  t.equal(balancer.choose(-1, undefined, false, 0, 0), 'a', 'the report has counted them')
})

t.test('a worker that joins starts slowly; those of the first table do not', async (t) => {
  const balancer = linkedPool('ab', 'random')
  const times = (now: number) =>
    Array.from({ length: 100 }, (_, i) => balancer.choose(-1, undefined, false, now, i / 100)).filter(
      (id) => id === 'c',
    ).length
  balancer.use(poolOf('abc', 'random'), workersOf('abc'), 5000)
  balancer.linked('c', true)
  t.ok(times(5000) <= 6)
  t.equal(times(6000), 33)
})

t.test('surplus says what to hand over after scale-out, and nothing for slots', async (t) => {
  const balancer = linkedPool('ab', 'least_connections')
  for (let i = 0; i < 30; i++) {
    balancer.held('a', 1)
    balancer.held('b', 1)
  }
  balancer.use(poolOf('abc', 'least_connections'), workersOf('abc'), 10)
  balancer.linked('c', true)
  t.same(
    [...balancer.surplus(0)],
    [
      ['a', 10],
      ['b', 10],
    ],
  )
  t.equal(linkedPool('ab').surplus(0).size, 0)
})

t.test('a new policy of the same pool takes effect', async (t) => {
  const balancer = linkedPool('ab', 'round_robin')
  t.equal(balancer.choose(-1, undefined, false, 0, 0), 'a')
  balancer.use(poolOf('ab'), workersOf('ab'), 0)
  t.equal(balancer.choose(1, undefined, false, 0, 0), 'b')
  t.equal(balancer.choose(1, undefined, false, 0, 0), 'b')
})
