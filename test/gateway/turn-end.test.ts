import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { TurnEnd } from '../../gateway/turn-end.js'
import { ManualClock } from '../manual-clock.js'

t.test('what is to be done at the end of a turn is done once, in its order, and not before', async (t) => {
  const end = new TurnEnd(new ManualClock())
  const done: string[] = []
  end.run(() => done.push('a'))
  end.run(() => done.push('b'))
  t.same(done, [])
  await turn()
  t.same(done, ['a', 'b'])
  await turn()
  t.same(done, ['a', 'b'])
})

t.test('what the end of a turn brings has its own turn', async (t) => {
  const end = new TurnEnd(new ManualClock())
  const done: string[] = []
  end.run(() => {
    done.push('a')
    end.run(() => done.push('b'))
  })
  await turn()
  t.same(done, ['a'])
  await turn()
  t.same(done, ['a', 'b'])
})

t.test('while each turn brings a connection, what they bring is kept together', async (t) => {
  const end = new TurnEnd(new ManualClock())
  const done: number[] = []
  for (let i = 0; i < 10; i++) {
    end.accepted()
    end.run(() => done.push(i))
    await turn()
    t.same(done, [], `nothing yet in turn ${i}`)
  }
  await turn()
  t.same(done, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 'a turn without a connection ends it')
})

t.test('others wait for a storm of connections no longer than a millisecond', async (t) => {
  const clock = new ManualClock()
  const end = new TurnEnd(clock)
  let done = 0
  for (let storm = 1; storm <= 2; storm++) {
    end.run(() => done++)
    for (let i = 0; i < 4; i++) {
      end.accepted()
      await turn()
      t.equal(done, storm - 1)
      clock.advance(0.25)
    }
    end.accepted()
    await turn()
    t.equal(done, storm, `storm ${storm}`)
  }
})

t.test('a connection of an earlier turn puts off an end by one turn at most', async (t) => {
  const end = new TurnEnd(new ManualClock())
  end.accepted()
  await turn()
  let done = 0
  end.run(() => done++)
  await turn()
  await turn()
  t.equal(done, 1)
})

t.test('one that fails keeps none of the others', async (t) => {
  const turns: (() => void)[] = []
  const end = new TurnEnd(new ManualClock(), (fn) => turns.push(fn))
  const done: number[] = []
  const fail = (): void => {
    throw new Error('disk full')
  }
  end.run(() => done.push(1))
  end.run(fail)
  end.run(() => done.push(2))
  end.run(fail)
  end.run(() => done.push(3))
  let failures = 0
  for (let next = turns.shift(); next !== undefined; next = turns.shift()) {
    try {
      next()
    } catch {
      failures++
    }
  }
  t.same(done, [1, 2, 3])
  t.equal(failures, 2)
  end.run(() => done.push(4))
  turns.shift()?.()
  t.same(done, [1, 2, 3, 4])
})
