import fc from 'fast-check'
import t from 'tap'
import { diffSlots, type Member, place, rebalance } from '../../../agents/coordinator/placement.js'
import { SLOTS } from '../../../proto/hash.js'

const even = (ids: string): Member[] => [...ids].map((id) => ({ id, weight: 1 }))

/** Puts each count on the first slots of its worker, one session a slot. */
function spread(owners: Uint16Array, counts: readonly number[]): Uint32Array {
  const left = [...counts]
  return Uint32Array.from(owners, (owner) => {
    const more = (left[owner] ?? 0) > 0
    if (more) left[owner] = (left[owner] ?? 0) - 1
    return Number(more)
  })
}

t.test('rebalance returns the same placement while everybody is within the limit', async (t) => {
  const placement = place(undefined, even('abc'))
  t.equal(rebalance(placement, even('abc'), spread(placement.slots, [250, 175, 175]), 1.25), placement)
  t.equal(rebalance(placement, even('abc'), new Uint32Array(SLOTS), 1), placement)
  const slotless = { members: ['a'], slots: new Uint16Array(0) }
  t.equal(rebalance(slotless, even('a'), new Uint32Array(SLOTS), 1), slotless)
})

t.test('rebalance brings an overfull worker half-way back to the mean, moving no session too many', async (t) => {
  const before = place(undefined, even('abc'))
  const load = spread(before.slots, [300, 150, 150])
  const after = rebalance(before, even('abc'), load, 1.25)
  const { perWorker, sessionsMoved } = diffSlots(before, after, load)
  t.same(
    perWorker.map((w) => w.sessionsAfter),
    [225, 188, 187],
  )
  t.equal(sessionsMoved, 75)
  t.same(
    perWorker.map((w) => w.after),
    perWorker.map((w) => w.before),
  )
  t.equal(rebalance(after, even('abc'), load, 1.25), after, 'and then it is content')
})

t.test('rebalance respects weights, and gives a draining worker nothing', async (t) => {
  const members = [
    { id: 'a', weight: 1 },
    { id: 'b', weight: 3 },
    { id: 'c', weight: 0 },
  ]
  const before = place(undefined, members)
  const load = spread(before.slots, [200, 200])
  const { perWorker } = diffSlots(before, rebalance(before, members, load, 1.2), load)
  t.same(
    perWorker.map((w) => w.sessionsAfter),
    [110, 290, 0],
  )
})

t.test('a slot that alone exceeds the limit stays, and its worker gives away the others', async (t) => {
  const before = place(undefined, even('ab'))
  const load = spread(before.slots, [100, 100])
  const hot = before.slots.indexOf(0)
  load[hot] = 1000
  const after = rebalance(before, even('ab'), load, 1.1)
  const { perWorker } = diffSlots(before, after, load)
  t.equal(after.slots[hot], 0)
  t.same(
    perWorker.map((w) => w.sessionsAfter),
    [1000, 199],
  )
  t.equal(rebalance(after, even('ab'), load, 1.1), after, 'what cannot be helped is not tried again')
})

t.test('rebalance keeps slot counts, keeps the promise where slots are fine enough, and is deterministic', async () => {
  const member = fc.record({ id: fc.string({ minLength: 1, maxLength: 3 }), weight: fc.integer({ min: 1, max: 5 }) })
  const members = fc.uniqueArray(member, { selector: ({ id }) => id, minLength: 2, maxLength: 30 })
  fc.assert(
    fc.property(
      members,
      fc.integer(),
      fc.integer({ min: 0, max: 40 }),
      fc.double({ min: 1.05, max: 2, noNaN: true }),
      (list, seed, most, maxLoad) => {
        const before = place(undefined, list)
        let x = seed | 1
        const skew = (owner: number) => ((owner * 7919 + seed) >>> 3) % 4
        const load = Uint32Array.from(before.slots, (owner) => {
          x = Math.imul(x, 1664525) + 1013904223
          return ((x >>> 16) * (most + 1) * skew(owner)) / 65536 / 4
        })
        const after = rebalance(before, list, load, maxLoad)
        const { perWorker } = diffSlots(before, after, load)
        const total = load.reduce((sum, n) => sum + n, 0)
        const weights = list.reduce((sum, m) => sum + m.weight, 0)
        const within = perWorker.every(({ id, sessionsAfter }) => {
          const weight = list.find((m) => m.id === id)?.weight ?? 0
          return sessionsAfter <= Math.max(1, Math.ceil(((total * weight) / weights) * maxLoad))
        })
        const again = rebalance(before, [...list].reverse(), load, maxLoad)
        return (
          within &&
          perWorker.every((w) => w.before === w.after) &&
          again.slots.every((owner, slot) => owner === after.slots[slot])
        )
      },
    ),
    { numRuns: 100 },
  )
})

t.test('rebalance of 1,000 workers takes under 50 ms', async (t) => {
  const members = Array.from({ length: 1000 }, (_, i) => ({ id: `worker-${i}`, weight: 1 }))
  const before = place(undefined, members)
  const load = Uint32Array.from(before.slots, (owner, slot) => (owner % 3 === 0 ? slot % 7 : slot % 3))
  const times = Array.from({ length: 5 }, () => {
    const start = performance.now()
    rebalance(before, members, load, 1.1)
    return performance.now() - start
  })
  t.ok(Math.min(...times) < 50, `${times}`)
})
