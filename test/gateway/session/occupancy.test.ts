import t from 'tap'
import type { Binding } from '../../../gateway/session/binding.js'
import { countBindings } from '../../../gateway/session/occupancy.js'
import type { Session } from '../../../gateway/session/session.js'

const binding = (pool: string, worker: string, slot: number) => ({ pool, worker, slot }) as Binding

function session(primary: Binding | undefined, ...others: Binding[]): Session {
  const more = others.length === 0 ? undefined : new Map(others.map((one, i) => [`${i}`, one]))
  return { primary, others: more } as Session
}

t.test(
  'bindings are counted by pool, worker and slot; those without a slot or a worker only as what they have',
  async (t) => {
    const sessions = [
      session(binding('a', 'w1', 16_383)),
      session(binding('a', 'w2', 7), binding('b', 'w3', -1)),
      session(binding('a', 'w1', 16_383), binding('a', '', 0)),
      session(undefined),
    ]
    t.same(countBindings(sessions), {
      a: { workers: { w1: 2, w2: 1 }, slots: [0, 1, 7, 1, 16_383, 2] },
      b: { workers: { w3: 1 }, slots: [] },
    })
    t.same(countBindings([]), {})
  },
)
