import t from 'tap'
import { OUTLIER_LIMITS, Outliers } from '../../../agents/coordinator/outliers.js'
import { EMPTY_TABLE, type RoutingTable, type WorkerEntry } from '../../../proto/table.js'

const table = (...ids: string[]): RoutingTable => ({
  ...EMPTY_TABLE,
  workers: new Map(
    ids.map((id): [string, WorkerEntry] => [id, { id, pool: 'p', link: 'tcp://h:1', weight: 1, state: 'up' }]),
  ),
})
const reached = (): boolean => false

t.test('a worker that times out again and again is ejected, and tried again later', async (t) => {
  const outliers = new Outliers()
  const fleet = table('a', 'b', 'c')
  for (let i = 0; i < 4; i++) outliers.report('a', 'timeout', i)
  t.same(outliers.judge(fleet, reached, 5), [])
  outliers.report('a', 'refused', 6)
  t.match(outliers.judge(fleet, reached, 6), [{ id: 'a', ejected: true }])
  t.same([...outliers.ejected], ['a'])
  t.same(outliers.judge(fleet, reached, 6 + OUTLIER_LIMITS.ejectMs - 1), [])
  t.match(outliers.judge(fleet, reached, 6 + OUTLIER_LIMITS.ejectMs), [{ id: 'a', ejected: false }])
})

t.test('failures that are long past do not count', async (t) => {
  const outliers = new Outliers()
  for (let i = 0; i < 10; i++) outliers.report('a', 'timeout', i * 4000)
  t.same(outliers.judge(table('a', 'b'), reached, 40_000), [])
})

t.test('a worker that no gateway reaches for a second is ejected until one does', async (t) => {
  const outliers = new Outliers()
  const fleet = table('a', 'b')
  const down = (id: string): boolean => id === 'a'
  t.same(outliers.judge(fleet, down, 0), [])
  t.same(outliers.judge(fleet, reached, 900), [], 'it came back in time')
  t.same(outliers.judge(fleet, down, 1000), [])
  t.match(outliers.judge(fleet, down, 2000), [{ id: 'a', ejected: true, reason: /no gateway reaches it/ }])
  t.same(outliers.judge(fleet, down, 60_000), [], 'not before it is reached')
  t.match(outliers.judge(fleet, reached, 60_001), [{ id: 'a', ejected: false }])
})

t.test('never more than a third of a pool is out, and never its last worker', async (t) => {
  const six = new Outliers()
  const all = ['a', 'b', 'c', 'd', 'e', 'f']
  for (const id of all) for (let i = 0; i < 5; i++) six.report(id, 'timeout', i)
  t.equal(six.judge(table(...all), reached, 5).length, 2)
  const one = new Outliers()
  for (let i = 0; i < 9; i++) one.report('a', 'timeout', i)
  t.same(one.judge(table('a'), reached, 9), [])
})

t.test('a worker that is gone is forgotten', async (t) => {
  const outliers = new Outliers()
  for (let i = 0; i < 5; i++) outliers.report('a', 'timeout', i)
  outliers.judge(table('a', 'b'), reached, 5)
  outliers.judge(table('b'), reached, 6)
  t.same([...outliers.ejected], [])
})
