import t from 'tap'
import { slowStartWeight } from '../../../gateway/balance/slow-start.js'

t.test('a new worker rises evenly from a tenth of its weight to all of it', async (t) => {
  const options = { windowMs: 1000, from: 0.1 }
  t.equal(slowStartWeight(10, 0, options), 1)
  t.equal(slowStartWeight(10, 500, options), 5.5)
  t.equal(slowStartWeight(10, 1000, options), 10)
  t.equal(slowStartWeight(10, -5, options), 1, 'a clock that was set back does no harm')
  t.equal(slowStartWeight(10, Number.POSITIVE_INFINITY, options), 10)
  t.equal(slowStartWeight(10, 0, { windowMs: 0, from: 0.1 }), 10)
  t.equal(slowStartWeight(0, 500, options), 0)
})
