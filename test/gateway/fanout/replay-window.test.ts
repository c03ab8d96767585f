import t from 'tap'
import { ReplayWindow, WINDOW } from '../../../gateway/fanout/replay-window.js'

t.test('every number counts once, per sender, in any order within the window', async (t) => {
  const window = new ReplayWindow()
  t.same(
    [1, 1, 3, 2, 3, 2, 4].map((seq) => window.accept('a', seq)),
    [true, false, true, true, false, false, true],
  )
  t.ok(window.accept('b', 1))
  t.ok(window.accept('a', 5000))
  t.notOk(window.accept('a', 5000 - WINDOW))
  t.ok(window.accept('a', 5001 - WINDOW))
  t.notOk(window.accept('a', 5001 - WINDOW))
})

t.test('the number of senders is bounded', async (t) => {
  const window = new ReplayWindow()
  for (let i = 0; i < 2000; i++) window.accept(`s${i}`, 1)
  t.notOk(window.accept('s1999', 1))
  t.ok(window.accept('s0', 1), 'the oldest was forgotten')
})
