import fc from 'fast-check'
import t from 'tap'
import { OutlierDetector } from '../../../gateway/balance/outlier.js'

const options = { consecutive: 3, baseMs: 1000, maxMs: 2500, maxShare: 0.5, forgiveMs: 10_000 }

function failTimes(detector: OutlierDetector, id: string, times: number, now: number, poolSize = 4): boolean {
  let ejected = false
  for (let i = 0; i < times; i++) ejected = detector.failure(id, now, poolSize) || ejected
  return ejected
}

t.test('a worker is ejected by failures in a row, not by failures with a success between them', async (t) => {
  const detector = new OutlierDetector(options)
  failTimes(detector, 'a', 2, 0)
  detector.success('a')
  t.equal(failTimes(detector, 'a', 2, 0), false)
  t.equal(failTimes(detector, 'a', 1, 0), true)
  t.equal(detector.isEjected('a', 999), true)
  t.equal(detector.isEjected('a', 1000), false)
})

t.test('each ejection lasts longer, up to the longest, and calm time forgives', async (t) => {
  const detector = new OutlierDetector(options)
  const lengths = []
  let now = 0
  for (let i = 0; i < 4; i++) {
    failTimes(detector, 'a', 3, now)
    const start = now
    while (detector.isEjected('a', now)) now += 100
    lengths.push(now - start)
  }
  t.same(lengths, [1000, 2000, 2500, 2500])
  now += 40_000
  failTimes(detector, 'a', 3, now)
  t.equal(detector.isEjected('a', now + 999), true)
  t.equal(detector.isEjected('a', now + 1000), false, 'as if it were the first time')
})

t.test('failures that arrive while a worker is ejected count for nothing', async (t) => {
  const detector = new OutlierDetector(options)
  failTimes(detector, 'a', 3, 0)
  failTimes(detector, 'a', 50, 500)
  t.equal(detector.isEjected('a', 1000), false)
})

t.test('never more than the set share of a pool is ejected, and the only worker never', async () => {
  const steps = fc.array(fc.record({ id: fc.nat(9), wait: fc.nat(400) }), { maxLength: 300 })
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 10 }), (list, poolSize) => {
      const detector = new OutlierDetector(options)
      let now = 0
      return list.every(({ id, wait }) => {
        now += wait
        failTimes(detector, `w${id % poolSize}`, 3, now, poolSize)
        return detector.ejectedCount(now) <= Math.floor(poolSize / 2)
      })
    }),
  )
})

t.test('workers that left are forgotten', async (t) => {
  const detector = new OutlierDetector(options)
  failTimes(detector, 'a', 3, 0)
  failTimes(detector, 'b', 3, 0)
  detector.keepOnly(new Set(['b']))
  t.equal(detector.isEjected('a', 1), false)
  t.equal(detector.isEjected('b', 1), true)
})
