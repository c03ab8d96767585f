import fc from 'fast-check'
import t from 'tap'
import { KEPT_RECEIPTS, Moves } from '../../../agents/coordinator/moves.js'
import type { MoveReport } from '../../../proto/control.js'

const report = (change: Partial<MoveReport>): MoveReport => ({
  t: 'move_report',
  version: 1,
  pool: 'p',
  planned: 0,
  done: 0,
  failed: 0,
  receipts: [],
  ...change,
})
const receipts = (count: number, from = 0) =>
  Array.from({ length: count }, (_, i) => ({
    device: `d${from + i}`,
    from: 'a',
    to: 'b',
    lastSeq: 1,
    firstSeq: 2,
    pauseMs: 1,
  }))

t.test('numbers of all gateways add up, and the move ends when none waits', async (t) => {
  const moves = new Moves()
  moves.cause(1, 'drain of worker a')
  moves.report('g', report({ planned: 5, done: 2 }), 1000)
  moves.report('h', report({ planned: 3, done: 3 }), 1100)
  t.match(moves.list(1200).running, [{ id: '1-p', cause: 'drain of worker a', planned: 8, done: 5 }])
  moves.report('g', report({ done: 2, failed: 1 }), 2000)
  t.match(moves.list(2100), {
    running: [],
    recent: [{ planned: 8, done: 7, failed: 1, finishedAt: new Date(2000).toISOString() }],
  })
})

t.test('what is done under a newer version counts for the older move that waits', async (t) => {
  const moves = new Moves()
  moves.report('g', report({ planned: 4, done: 1 }), 0)
  moves.report('g', report({ version: 2, planned: 2, done: 4 }), 10)
  t.match(moves.list(20).running, [{ id: '2-p', planned: 2, done: 1 }])
  t.match(moves.list(20).recent, [{ id: '1-p', planned: 4, done: 4 }])
})

t.test('moves that were called off are not waited for', async (t) => {
  const moves = new Moves()
  moves.report('g', report({ planned: 4, done: 1 }), 0)
  moves.report('g', report({ planned: -3 }), 10)
  t.same(moves.list(20).running, [])
})

t.test('a gateway that is gone, or silent for half a minute, ends its part', async (t) => {
  const moves = new Moves()
  moves.report('g', report({ planned: 4 }), 0)
  moves.forget('g', 50)
  t.same(moves.list(60).running, [])
  moves.report('h', report({ version: 2, planned: 4 }), 100)
  t.equal(moves.list(20_000).running.length, 1)
  t.equal(moves.list(40_000).running.length, 0)
})

t.test('the newest thousand receipts are kept', async (t) => {
  const moves = new Moves()
  for (let i = 0; i < 30; i++)
    moves.report('g', report({ version: i, planned: 100, done: 100, receipts: receipts(100, i * 100) }), i)
  const kept = moves.list(100).recent.flatMap((move) => move.receipts)
  t.equal(kept.length, KEPT_RECEIPTS)
  t.ok(kept.every(({ device }) => Number(device.slice(1)) >= 2000))
})

t.test('whatever is reported, done and failed add up to what was reported', async () => {
  const part = fc.record({
    gateway: fc.constantFrom('g', 'h'),
    version: fc.integer({ min: 1, max: 4 }),
    planned: fc.nat(9),
    done: fc.nat(9),
    failed: fc.nat(3),
  })
  fc.assert(
    fc.property(fc.array(part, { maxLength: 30 }), (parts) => {
      const moves = new Moves()
      for (const { gateway, ...numbers } of parts) moves.report(gateway, report(numbers), 0)
      const { running, recent } = moves.list(1)
      const sum = (
        name: 'done' | 'failed' | 'planned',
        list: readonly { done: number; failed: number; planned: number }[],
      ): number => list.reduce((total, entry) => total + entry[name], 0)
      const all = [...running, ...recent]
      return (['done', 'failed', 'planned'] as const).every((name) => sum(name, all) === sum(name, parts))
    }),
  )
})
