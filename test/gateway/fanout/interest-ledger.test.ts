import t from 'tap'
import { InterestLedger, SETTLE_MS } from '../../../gateway/fanout/interest-ledger.js'
import { ManualClock } from '../../manual-clock.js'
import { ManualTurns } from './fixtures.js'

function start() {
  const clock = new ManualClock()
  const turns = new ManualTurns()
  const told: [Record<string, number>, number][] = []
  const acked = { version: 0 }
  const ledger = new InterestLedger({
    clock,
    turn: turns.turn,
    announce: (changes, version) => told.push([Object.fromEntries(changes), version]),
    acknowledged: () => acked.version,
  })
  const settled: string[] = []
  const set = (filter: string, members: number) => ledger.set(filter, members, () => settled.push(filter))
  return { clock, turns, told, acked, ledger, settled, set }
}

t.test('the changes of a turn are told together, only the first and the last subscriber of a filter', async (t) => {
  const { turns, told, set, ledger } = start()
  set('a', 1)
  set('a', 2)
  set('b', 1)
  turns.runAll()
  set('a', 1)
  set('a', 0)
  set('c', 1)
  set('c', 0)
  turns.runAll()
  t.same(told, [
    [{ a: 1, b: 1 }, 1],
    [{ a: 0, c: 0 }, 2],
  ])
  t.same([...ledger.wanted], [['b', 1]])
})

t.test('of a shared group every change of the number of members is told', async (t) => {
  const { turns, told, set } = start()
  for (const members of [1, 2, 3, 2]) {
    set('$share/g/a', members)
    turns.runAll()
  }
  t.same(
    told.map(([changes]) => changes['$share/g/a']),
    [1, 2, 3, 2],
  )
})

t.test(
  'a subscription settles when every gateway acknowledged it, a later one of the same filter with it',
  async (t) => {
    const { turns, acked, ledger, settled, set } = start()
    set('a', 1)
    turns.runAll()
    set('a', 2)
    set('b', 1)
    turns.runAll()
    t.same(settled, [])
    acked.version = 1
    ledger.settle()
    t.same(settled, ['a', 'a'])
    set('a', 3)
    t.same(settled, ['a', 'a', 'a'], 'what is known already settles at once')
    acked.version = 2
    ledger.settle()
    t.same(settled, ['a', 'a', 'a', 'b'])
  },
)

t.test('a gateway that does not answer holds nobody up for longer than the limit', async (t) => {
  const { clock, turns, settled, set } = start()
  set('a', 1)
  turns.runAll()
  clock.advance(SETTLE_MS - 1)
  t.same(settled, [])
  clock.advance(1)
  t.same(settled, ['a'])
})

t.test('without other gateways everything settles at once', async (t) => {
  const { acked, settled, set } = start()
  acked.version = Number.POSITIVE_INFINITY
  set('a', 1)
  t.same(settled, ['a'])
})
