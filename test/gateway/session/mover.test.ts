import t from 'tap'
import type { Binding } from '../../../gateway/session/binding.js'
import { Mover } from '../../../gateway/session/mover.js'
import { ModelClock } from './fleet-model.js'

/** A binding as far as the mover is concerned: it notes that it was asked to move. */
function fakes(count: number, log: number[]): Binding[] {
  return Array.from({ length: count }, (_, i) => {
    const fake: Pick<Binding, 'pool' | 'state' | 'move'> = { pool: 'p', state: 'bound', move: () => log.push(i) > 0 }
    return fake as Binding
  })
}

const handover = { from: 'a', to: 'b', clean: true, lastSeq: 1, firstSeq: 2, pauseMs: 1.5 }

t.test('no more moves begin than may be in flight; each that ends lets another begin', async (t) => {
  const clock = new ModelClock()
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

t.test('moves begin at the rate of the budget', async (t) => {
  const clock = new ModelClock()
  const moved: number[] = []
  const mover = new Mover({ perSecond: 100, inFlight: 1000 }, clock)
  for (const binding of fakes(200, moved)) mover.plan(binding)
  clock.advance(1000)
  t.ok(moved.length >= 95 && moved.length <= 110, `${moved.length} in the first second`)
  clock.advance(1500)
  t.equal(moved.length, 200)
})

t.test('a pause holds what has not begun, and resuming goes on', async (t) => {
  const clock = new ModelClock()
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
  const clock = new ModelClock()
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
