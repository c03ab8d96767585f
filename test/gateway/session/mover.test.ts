import t from 'tap'
import type { Binding } from '../../../gateway/session/binding.js'
import { Mover } from '../../../gateway/session/mover.js'
import { ManualClock } from '../../manual-clock.js'

/** A binding as far as the mover is concerned: it notes that it was asked to move. */
function fakes(count: number, log: number[]): Binding[] {
  return Array.from({ length: count }, (_, i) => {
    const fake: Pick<Binding, 'pool' | 'state' | 'move'> = { pool: 'p', state: 'bound', move: () => log.push(i) > 0 }
    return fake as Binding
  })
}

const handover = { from: 'a', to: 'b', clean: true, lastSeq: 1, firstSeq: 2, pauseMs: 1.5 }

t.test('no more moves begin than may be in flight; each that ends lets another begin', async (t) => {
  const clock = new ManualClock()
  const moved: number[] = []
  const mover = new Mover({ perSecond: 1e6, inFlight: 3 }, clock)
  const bindings = fakes(10, moved)
  for (const binding of bindings) mover.plan(binding)
  clock.advance(1)
  t.same(moved, [0, 1, 2])
  mover.finished(bindings[0] as Binding, 'd0', handover)
  t.same(moved, [0, 1, 2, 3])
  t.equal(mover.pending, 9)
})

t.test('moves begin slowly, and at the rate of the budget once the batch has got going', async (t) => {
  const clock = new ManualClock()
  const moved: number[] = []
  const mover = new Mover({ perSecond: 1000, inFlight: 10_000 }, clock)
  const bindings = fakes(5000, moved)
  for (const binding of bindings) mover.plan(binding)
  const during = (ms: number) => {
    const before = moved.length
    clock.advance(ms)
    return moved.length - before
  }
  const [first, second, , full] = [during(200), during(200), during(400), during(1000)] as const
  t.ok(first > 12 && first < 22, `${first} in the first 200 ms`)
  t.ok(second > first * 1.6 && second < first * 2.4, `${second} in the next ones`)
  t.ok(full > 950 && full <= 1010, `${full} in a whole second`)

  for (const [i, binding] of bindings.entries()) if (i < moved.length) mover.finished(binding, `d${i}`, handover)
  clock.advance(4000)
  for (const binding of bindings) mover.finished(binding, 'd', handover)
  t.equal(mover.pending, 0)
  for (const binding of bindings.slice(0, 500)) mover.plan(binding)
  t.ok(during(200) > 150, 'what follows at once goes on at that pace')
  clock.advance(1000)
  for (const binding of bindings) mover.finished(binding, 'd', handover)
  clock.advance(2000)
  for (const binding of bindings.slice(0, 500)) mover.plan(binding)
  const again = during(200)
  t.ok(again > 12 && again < 22, `${again} in the first 200 ms of the next batch`)
})

t.test('a pause holds what has not begun, and resuming goes on', async (t) => {
  const clock = new ManualClock()
  const moved: number[] = []
  const mover = new Mover({ perSecond: 1e6, inFlight: 1000 }, clock)
  mover.configure({}, true)
  for (const binding of fakes(5, moved)) mover.plan(binding)
  clock.advance(1000)
  t.same(moved, [])
  mover.configure({}, false)
  t.equal(moved.length, 5)
})

t.test('an abort calls off what has not begun, until the next table', async (t) => {
  const clock = new ManualClock()
  const moved: number[] = []
  const mover = new Mover({ perSecond: 1e6, inFlight: 2 }, clock)
  const bindings = fakes(6, moved)
  for (const binding of bindings) mover.plan(binding)
  clock.advance(1)
  t.equal(mover.abort(), 4)
  mover.plan(bindings[5] as Binding)
  clock.advance(100)
  t.same(moved, [0, 1])
  mover.restart()
  mover.finished(bindings[0] as Binding, 'd0', handover)
  mover.plan(bindings[5] as Binding)
  clock.advance(100)
  t.same(moved, [0, 1, 5])
  const progress = mover.takeProgress().get('p')
  t.match(progress, { planned: 3, done: 1, receipts: [{ device: 'd0', from: 'a', to: 'b', pauseMs: 1.5 }] })
})
