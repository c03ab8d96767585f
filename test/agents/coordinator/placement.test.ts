import fc from 'fast-check'
import t from 'tap'
import { diffSlots, type Member, ownerOf, type Placement, place } from '../../../agents/coordinator/placement.js'
import { pickSlots } from '../../../agents/coordinator/placement-release.js'
import { SLOTS } from '../../../proto/hash.js'
import { UNOWNED } from '../../../proto/table.js'

const even = (ids: string): Member[] => [...ids].map((id) => ({ id, weight: 1 }))

const anyMembers = fc.uniqueArray(
  fc.record({
    id: fc.string({ minLength: 1, maxLength: 3 }),
    weight: fc.oneof(
      fc.constant(1),
      fc.constant(0),
      fc.integer({ min: 0, max: 1000 }),
      fc.double({ min: 0, max: 3, noNaN: true }),
    ),
  }),
  { selector: ({ id }) => id, maxLength: 40 },
)

const anyLoad = fc.tuple(fc.integer(), fc.constantFrom(0, 1, 3, 5000)).map(([seed, most]) => loadOf(seed, most))

/** Sessions per slot from a small generator: `most` 1 leaves most slots empty, 5000 is a heavy tail. */
function loadOf(seed: number, most: number): Uint32Array {
  let x = seed | 1
  return Uint32Array.from({ length: SLOTS }, () => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    const u = (x >>> 0) / 2 ** 32
    return most === 1 ? Number(u < 0.04) : Math.floor(u ** 8 * (most + 0.5))
  })
}

function countsOf(placement: Placement): Map<string, number> {
  const counts = new Map(placement.members.map((id) => [id, 0]))
  for (let slot = 0; slot < SLOTS; slot++) {
    const owner = ownerOf(placement, slot)
    if (owner !== undefined) counts.set(owner, (counts.get(owner) ?? 0) + 1)
  }
  return counts
}

function sessionsOf(placement: Placement, load: Uint32Array): Map<string, number> {
  return new Map(diffSlots(undefined, placement, load).perWorker.map(({ id, sessionsAfter }) => [id, sessionsAfter]))
}

/** Fewest slots that any placement within the rounded shares can move, by trying every way to round (the greedy choice is exact). */
function fewestMoves(before: Placement, members: readonly Member[]): number {
  const counts = countsOf(before)
  const total = members.reduce((sum, { weight }) => sum + weight, 0)
  let kept = 0
  let spare = SLOTS
  let wanted = 0
  for (const { id, weight } of members) {
    const share = (SLOTS * weight) / total
    const floor = Math.floor(share)
    spare -= floor
    const count = counts.get(id) ?? 0
    kept += Math.min(count, floor)
    if (count > floor && share > floor) wanted++
  }
  const owned = [...counts.values()].reduce((sum, count) => sum + count, 0)
  return owned - kept - Math.min(spare, wanted)
}

t.test(
  'place moves the optimum, keeps every worker within one slot of its share, and does not care about order',
  async () => {
    fc.assert(
      fc.property(anyMembers, anyMembers, fc.option(anyLoad, { nil: undefined }), (first, second, load) => {
        const before = place(undefined, first, load)
        const after = place(before, second, load)
        const total = second.reduce((sum, { weight }) => sum + weight, 0)
        const counts = countsOf(after)
        for (const { id, weight } of second) {
          const share = total === 0 ? 0 : (SLOTS * weight) / total
          if (Math.abs((counts.get(id) ?? 0) - share) >= 1 + 1e-6) return false
        }
        const moved = diffSlots(before, after).moves.filter(({ from }) => from !== undefined).length
        const again = place(before, [...second].reverse(), load)
        return (
          (total === 0 || moved === fewestMoves(before, second)) &&
          Buffer.compare(bytesOf(again), bytesOf(after)) === 0 &&
          again.members.join() === after.members.join()
        )
      }),
      { numRuns: 150 },
    )
  },
)

function bytesOf({ slots }: Placement): Buffer {
  return Buffer.from(slots.buffer, slots.byteOffset, slots.byteLength)
}

t.test('place with the same members again moves nothing', async () => {
  fc.assert(
    fc.property(anyMembers, anyLoad, (members, load) => {
      const before = place(undefined, members)
      return diffSlots(before, place(before, members, load)).moves.length === 0
    }),
    { numRuns: 50 },
  )
})

t.test('place leaves every slot unowned when nobody has a weight', async (t) => {
  for (const members of [
    [],
    [{ id: 'a', weight: 0 }],
    [
      { id: 'a', weight: Number.NaN },
      { id: 'b', weight: -1 },
    ],
  ]) {
    const placement = place(place(undefined, even('ab')), members)
    t.ok(placement.slots.every((owner) => owner === UNOWNED))
    t.same(
      placement.members,
      members.map(({ id }) => id),
    )
  }
  const back = place(place(undefined, []), even('ab'))
  t.same([...countsOf(back).values()], [8192, 8192])
})

t.test(
  'place gives the slots of unknown members, and of owners beyond the list, to those that are there',
  async (t) => {
    const slots = new Uint16Array(SLOTS)
    for (let slot = 0; slot < SLOTS; slot++) slots[slot] = slot % 5
    const before: Placement = { members: ['gone', 'b', 'also gone'], slots }
    const after = place(before, even('bc'))
    t.same([...countsOf(after).values()], [8192, 8192])
    const kept = diffSlots(before, after).moves.filter(({ from }) => from === 'b')
    t.equal(kept.length, 0, 'b had fewer than its share and keeps them all')
  },
)

t.test('place takes a previous pool without slots as a start from scratch', async (t) => {
  const scratch = place(undefined, even('abc'))
  t.same(place({ members: ['a', 'b', 'c'], slots: new Uint16Array(0) }, even('abc')).slots, scratch.slots)
})

t.test('place refuses more members than a slot table can name', async (t) => {
  const members = Array.from({ length: 65_536 }, (_, i) => ({ id: `w${i}`, weight: 1 }))
  t.throws(() => place(undefined, members), { code: 'bad_request' })
})

t.test('a draining member stays in the list and owns nothing', async (t) => {
  const before = place(undefined, even('abc'))
  const after = place(before, [
    { id: 'c', weight: 1 },
    { id: 'a', weight: 1 },
    { id: 'b', weight: 0 },
  ])
  t.same(after.members, ['a', 'b', 'c'])
  t.same(
    [...countsOf(after)],
    [
      ['a', 8192],
      ['b', 0],
      ['c', 8192],
    ],
  )
})

t.test('600 sessions on 3 workers become 150 each on 4, and 150 of them move', async (t) => {
  const load = new Uint32Array(SLOTS)
  const before = place(undefined, even('abc'))
  const left = [200, 200, 200]
  for (let slot = 0; slot < SLOTS; slot += 7) {
    const owner = before.slots[slot] as number
    if ((left[owner] as number) <= 0) continue
    load[slot] = 1
    left[owner] = (left[owner] as number) - 1
  }
  const after = place(before, even('abcd'), load)
  t.same([...sessionsOf(after, load).values()], [150, 150, 150, 150])
  t.equal(diffSlots(before, after, load).sessionsMoved, 150)
  const drained = place(after, [...even('abd'), { id: 'c', weight: 0 }], load)
  t.same([...sessionsOf(drained, load).values()], [200, 200, 0, 200])
  t.equal(diffSlots(after, drained, load).sessionsMoved, 150)
})

t.test('the fullest worker and the new one meet in the middle, and the others are left alone', async (t) => {
  const before = place(undefined, even('abc'))
  const load = Uint32Array.from(before.slots, (owner, slot) => (slot % 20 === 0 ? ([5, 2, 2][owner] ?? 0) : 0))
  const held = sessionsOf(before, load)
  const after = sessionsOf(place(before, even('abcd'), load), load)
  const middle = (held.get('a') ?? 0) / 2
  t.ok(Math.abs((after.get('a') ?? 0) - middle) <= 5, `a holds ${after.get('a')} of ${held.get('a')}`)
  t.ok(Math.abs((after.get('d') ?? 0) - middle) <= 5, `d holds ${after.get('d')}`)
  t.same([after.get('b'), after.get('c')], [held.get('b'), held.get('c')])
})

t.test('pickSlots comes as near to the target as the gaps between loads allow', async () => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.integer({ min: 1, max: 400 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (seed, count, part) => {
        const load = loadOf(seed, 5000)
        const owned = Array.from({ length: 500 }, (_, k) => k * 3)
        const sorted = owned.map((slot) => load[slot] as number).sort((a, b) => a - b)
        const lowest = sorted.slice(0, count).reduce((sum, n) => sum + n, 0)
        const highest = sorted.slice(-count).reduce((sum, n) => sum + n, 0)
        const target = lowest + part * (highest - lowest)
        const picked = pickSlots(owned, load, count, target)
        const held = picked.reduce((sum, slot) => sum + (load[slot] as number), 0)
        const widest = Math.max(...sorted.map((n, k) => n - (sorted[k - 1] ?? n)))
        return new Set(picked).size === count && Math.abs(held - target) <= widest
      },
    ),
    { numRuns: 100 },
  )
})

t.test('1,000 workers and 16,384 slots take under 20 ms', async (t) => {
  const members = Array.from({ length: 1000 }, (_, i) => ({ id: `worker-${i}`, weight: 1 }))
  const load = loadOf(1, 3)
  const from = place(undefined, members)
  const cases: Record<string, () => Placement> = {
    scratch: () => place(undefined, members),
    join: () => place(from, [...members, { id: 'new', weight: 1 }], load),
    leave: () => place(from, members.slice(1), load),
    'half are replaced': () =>
      place(
        from,
        members.map((m, i) => (i % 2 ? m : { id: `next-${i}`, weight: 1 })),
        load,
      ),
    weights: () =>
      place(
        from,
        members.map((m, i) => ({ ...m, weight: 1 + (i % 9) })),
        load,
      ),
  }
  for (const [name, run] of Object.entries(cases)) {
    const best = Math.min(...Array.from({ length: 7 }, () => elapsed(run)))
    t.comment(`${name}: ${best.toFixed(1)} ms`)
    t.ok(best < 20, `${name}: ${best.toFixed(1)} ms`)
  }
})

function elapsed(run: () => unknown): number {
  const start = performance.now()
  run()
  return performance.now() - start
}
