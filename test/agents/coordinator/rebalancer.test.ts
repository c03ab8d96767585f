import t from 'tap'
import { Rebalancer } from '../../../agents/coordinator/rebalancer.js'
import { buildTable, DEFAULT_ROUTES } from '../../../agents/coordinator/table-builder.js'
import { SLOTS } from '../../../proto/hash.js'
import { EMPTY_TABLE, type WorkerEntry } from '../../../proto/table.js'

const workers = ['a', 'b', 'c'].map(
  (id): WorkerEntry => ({ id, pool: 'default', link: 'tcp://h:1', weight: 1, state: 'up' }),
)
const table = { ...buildTable(EMPTY_TABLE, DEFAULT_ROUTES, workers, [], () => undefined), version: 1 }
const slots = table.pools.get('default')?.slots as Uint16Array

/** `count` sessions on slots of the first worker, one each. */
function crowd(count: number): Uint32Array {
  const load = new Uint32Array(SLOTS)
  for (const [slot, owner] of slots.entries()) if (owner === 0 && count-- > 0) load[slot] = 1
  return load
}

t.test('uneven sessions move slots, at most every two seconds', async (t) => {
  const rebalancer = new Rebalancer()
  const [pool] = rebalancer.due(table, () => crowd(90), 0)
  const left = [...crowd(90).entries()].filter(([slot, load]) => load > 0 && pool?.slots[slot] === 0).length
  t.ok(left <= 38, `${left} of 90 stay with the first`)
  t.same(
    rebalancer.due(table, () => crowd(90), 1999),
    [],
  )
  t.equal(rebalancer.due(table, () => crowd(90), 2000).length, 1)
})

t.test('a handful of sessions, one worker, or no news move nothing', async (t) => {
  const rebalancer = new Rebalancer()
  t.same(
    rebalancer.due(table, () => crowd(11), 0),
    [],
  )
  t.same(
    rebalancer.due(table, () => undefined, 0),
    [],
  )
  const alone = { ...buildTable(EMPTY_TABLE, DEFAULT_ROUTES, workers.slice(0, 1), [], () => undefined), version: 1 }
  t.same(
    rebalancer.due(alone, () => crowd(90), 0),
    [],
  )
})

t.test('sessions are given time to follow slots that moved for another reason', async (t) => {
  const rebalancer = new Rebalancer()
  rebalancer.touched('default', 1000)
  t.same(
    rebalancer.due(table, () => crowd(90), 2500),
    [],
  )
  t.equal(rebalancer.due(table, () => crowd(90), 3000).length, 1)
})
