import fc from 'fast-check'
import t from 'tap'
import { surplusOf } from '../../../gateway/balance/surplus.js'

t.test('scale-out from 3 to 4 workers takes 25 sessions from each on each of two gateways: 150 of 600', async (t) => {
  const holdings = ['a', 'b', 'c', 'd'].map((id) => ({
    id,
    weight: 1,
    sessions: id === 'd' ? 0 : 200,
    here: id === 'd' ? 0 : 100,
  }))
  t.same(
    [...surplusOf(holdings, 0.1, 0)],
    [
      ['a', 25],
      ['b', 25],
      ['c', 25],
    ],
  )
})

t.test('a pool that is nearly even is left alone', async (t) => {
  const holdings = [
    { id: 'a', weight: 1, sessions: 109, here: 109 },
    { id: 'b', weight: 1, sessions: 91, here: 91 },
  ]
  t.equal(surplusOf(holdings, 0.1, 0.99).size, 0)
  t.equal(surplusOf(holdings, 0.05, 0).get('a'), 9)
  t.equal(surplusOf([], 0.1, 0).size, 0)
  t.equal(surplusOf([{ id: 'a', weight: 0, sessions: 5, here: 5 }], 0.1, 0).size, 0)
})

t.test('the parts of all gateways add up to the optimum, but for rounding', async () => {
  const member = fc.record({ weight: fc.integer({ min: 1, max: 4 }), sessions: fc.nat(5000) })
  fc.assert(
    fc.property(
      fc.array(member, { minLength: 2, maxLength: 12 }),
      fc.integer({ min: 1, max: 40 }),
      (workers, gateways) => {
        const total = workers.reduce((sum, w) => sum + w.sessions, 0)
        const weights = workers.reduce((sum, w) => sum + w.weight, 0)
        const moved = new Map<string, number>()
        for (let g = 0; g < gateways; g++) {
          const holdings = workers.map((w, i) => ({ ...w, id: `w${i}`, here: Math.floor((w.sessions + g) / gateways) }))
          for (const [id, n] of surplusOf(holdings, 0, (g * 0.6180339887) % 1)) moved.set(id, (moved.get(id) ?? 0) + n)
        }
        return workers.every((w, i) => {
          const above = Math.max(0, w.sessions - Math.ceil((total * w.weight) / weights))
          return Math.abs((moved.get(`w${i}`) ?? 0) - above) <= 3 + above * 0.02
        })
      },
    ),
  )
})
