import t from 'tap'
import {
  buildTable,
  DEFAULT_ROUTES,
  placementMembers,
  type RouteSpec,
} from '../../../agents/coordinator/table-builder.js'
import { EMPTY_TABLE, type RoutingTable, type WorkerEntry } from '../../../proto/table.js'
import { checkTable } from '../../../proto/table-check.js'
import { sameTable } from '../../../proto/table-delta.js'

const worker = (id: string, change: Partial<WorkerEntry> = {}): WorkerEntry => ({
  id,
  pool: 'default',
  link: 'tcp://h:1',
  weight: 1,
  state: 'up',
  ...change,
})
const build = (
  previous: RoutingTable,
  workers: readonly WorkerEntry[],
  spec: RouteSpec = DEFAULT_ROUTES,
): RoutingTable => ({
  ...buildTable(previous, spec, workers, [], () => undefined),
  version: previous.version + 1,
})
const owned = (table: RoutingTable, pool: string, id: string): number => {
  const found = table.pools.get(pool)
  const index = found?.members.indexOf(id)
  return found?.slots.filter((owner) => owner === index).length ?? 0
}

t.test('the same input gives the same table, slots and all', async (t) => {
  const workers = [worker('b'), worker('a'), worker('c')]
  const one = build(EMPTY_TABLE, workers)
  t.same(checkTable(one), [])
  t.ok(sameTable(one, build(EMPTY_TABLE, workers.toReversed())))
  const again = build(one, workers)
  t.ok(sameTable(one, again))
  t.equal(again.pools.get('default')?.slots, one.pools.get('default')?.slots, 'nothing is placed anew')
})

t.test('slots that were traded for even sessions stay while the workers do', async (t) => {
  const one = build(EMPTY_TABLE, [worker('a'), worker('b')])
  const pool = one.pools.get('default')
  if (pool === undefined) return t.fail('no pool')
  const traded = { ...one, pools: new Map([['default', { ...pool, slots: pool.slots.map((owner) => 1 - owner) }]]) }
  t.strictSame(
    build(traded, [worker('a'), worker('b')]).pools.get('default')?.slots,
    traded.pools.get('default')?.slots,
  )
})

t.test('draining and ejected workers stay members without slots, unless nobody else is there', async (t) => {
  const one = build(EMPTY_TABLE, [worker('a'), worker('b'), worker('c')])
  const two = build(one, [worker('a', { state: 'draining' }), worker('b', { state: 'ejected' }), worker('c')])
  t.same(
    ['a', 'b', 'c'].map((id) => owned(two, 'default', id)),
    [0, 0, 16384],
  )
  t.same(two.pools.get('default')?.members, ['a', 'b', 'c'])
  const three = build(one, [worker('a', { state: 'draining' }), worker('b', { state: 'ejected' })])
  t.same(
    ['a', 'b'].map((id) => owned(three, 'default', id)),
    [8192, 8192],
  )
  t.same(
    placementMembers([worker('a', { state: 'draining' }), worker('b', { weight: 0 })]).map(({ weight }) => weight),
    [1, 0],
  )
})

t.test('a pool that changes its policy gets or loses its slots', async (t) => {
  const spec = (policy: 'least_connections' | 'consistent_hash'): RouteSpec => ({
    ...DEFAULT_ROUTES,
    pools: [{ name: 'default', policy, key: 'device', maxLoad: 1.25 }],
  })
  const one = build(EMPTY_TABLE, [worker('a')], spec('least_connections'))
  t.equal(one.pools.get('default')?.slots.length, 0)
  const two = build(one, [worker('a')], spec('consistent_hash'))
  t.equal(owned(two, 'default', 'a'), 16384)
  t.same(checkTable(two), [])
})

t.test('pools that nobody describes and nobody serves are gone', async (t) => {
  const one = build(EMPTY_TABLE, [worker('a', { pool: 'extra' })])
  t.same([...one.pools.keys()], ['default', 'extra'])
  t.same([...build(one, []).pools.keys()], ['default'])
})
