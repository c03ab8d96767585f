import fc from 'fast-check'
import t from 'tap'
import type { Candidate } from '../../../gateway/balance/candidate.js'
import { createPicker } from '../../../gateway/balance/picker.js'
import { POLICIES } from '../../../proto/table.js'

const anyCandidates = fc.uniqueArray(
  fc.record({
    id: fc.string({ minLength: 1, maxLength: 4 }),
    weight: fc.oneof(fc.constant(0), fc.double({ min: 0.1, max: 10, noNaN: true })),
    sessions: fc.nat(50),
    available: fc.boolean(),
  }),
  { selector: ({ id }) => id, maxLength: 20 },
)

/** Requests like those of many sessions: slots and chance spread, no owner known. */
function requestsOf(count: number): { slot: number; owner: undefined; random: number }[] {
  return Array.from({ length: count }, (_, i) => ({
    slot: (i * 7919) % 16384,
    owner: undefined,
    random: ((i * 6364136223) % 99991) / 99991,
  }))
}

for (const policy of POLICIES) {
  t.test(
    `${policy}: never picks who is unavailable or has no weight, and picks somebody else whenever there is one`,
    async () => {
      fc.assert(
        fc.property(
          anyCandidates,
          fc.nat(16383),
          fc.double({ min: 0, max: 0.999999, noNaN: true }),
          (candidates, slot, random) => {
            const picker = createPicker(policy)
            for (let i = 0; i < 5; i++) {
              const picked = picker.pick(candidates, { slot, owner: candidates[0]?.id, random })
              const eligible = candidates.filter((c) => c.available && c.weight > 0)
              if (picked === undefined ? eligible.length > 0 : !eligible.includes(picked)) return false
            }
            return true
          },
        ),
      )
    },
  )

  t.test(`${policy}: equal calls in equal order give equal answers`, async () => {
    fc.assert(
      fc.property(anyCandidates, (candidates) => {
        const [one, other] = [createPicker(policy), createPicker(policy)]
        return requestsOf(30).every((request) => one.pick(candidates, request) === other.pick(candidates, request))
      }),
    )
  })

  t.test(`${policy}: shares out by weight`, async (t) => {
    const candidates = [1, 2, 5, 0].map((weight, i) => ({ id: `w${i}`, weight, sessions: 0, available: true }))
    const picker = createPicker(policy)
    for (const request of requestsOf(8000)) {
      const picked = picker.pick(candidates, request)
      if (picked) (picked as { sessions: number }).sessions++
    }
    const [a = 0, b = 0, c = 0, d] = candidates.map(({ sessions }) => sessions)
    t.ok(Math.abs(a - 1000) < 120 && Math.abs(b - 2000) < 160 && Math.abs(c - 5000) < 200, `${[a, b, c]}`)
    t.equal(d, 0)
  })
}

t.test('consistent_hash takes the owner of the slot while it can, and spreads the slots of a lost one', async (t) => {
  const { pick } = createPicker('consistent_hash')
  const up = (available: string): Candidate[] =>
    [...'abcd'].map((id) => ({ id, weight: 1, sessions: 0, available: available.includes(id) }))
  t.equal(pick(up('abcd'), { slot: 5, owner: 'c', random: 0 })?.id, 'c')
  const standIns = Array.from({ length: 3000 }, (_, slot) => pick(up('abd'), { slot, owner: 'c', random: 0 })?.id)
  for (const id of 'abd') {
    const share = standIns.filter((chosen) => chosen === id).length
    t.ok(share > 900 && share < 1100, `${id} stands in for ${share} of 3000`)
  }
  const moved = standIns.filter(
    (chosen, slot) => chosen !== 'a' && pick(up('bd'), { slot, owner: 'c', random: 0 })?.id !== chosen,
  )
  t.equal(moved.length, 0, 'losing another worker moves none of those that did not stand there')
  t.equal(pick(up('abd').reverse(), { slot: 9, owner: 'c', random: 0 })?.id, standIns[9], 'whatever the order')
})

t.test('least_connections fills a new worker first and breaks ties by chance', async (t) => {
  const { pick } = createPicker('least_connections')
  const at = (sessions: number[]): Candidate[] =>
    sessions.map((n, i) => ({ id: `w${i}`, weight: 1, sessions: n, available: true }))
  t.equal(pick(at([200, 200, 0]), { slot: -1, owner: undefined, random: 0.9 })?.id, 'w2')
  const tied = [0, 0.4, 0.99].map((random) => pick(at([3, 3, 3]), { slot: -1, owner: undefined, random })?.id)
  t.same(tied, ['w0', 'w1', 'w2'])
})

t.test('round_robin does not come in bursts, and whoever was away has no backlog', async (t) => {
  const picker = createPicker('round_robin')
  const all = [5, 1, 1].map((weight, i) => ({ id: `w${i}`, weight, sessions: 0, available: true }))
  const request = { slot: -1, owner: undefined, random: 0 }
  const turns = Array.from({ length: 7 }, () => picker.pick(all, request)?.id)
  t.same(turns, ['w0', 'w0', 'w1', 'w0', 'w2', 'w0', 'w0'], "nginx's own example")
  const without = all.map((c) => ({ ...c, available: c.id !== 'w0' }))
  for (let i = 0; i < 100; i++) picker.pick(without, request)
  const again = Array.from({ length: 7 }, () => picker.pick(all, request)?.id)
  t.equal(again.filter((id) => id === 'w0').length, 5)
})
