import t from 'tap'
import { Backoff } from '../../../agents/device/backoff.js'

t.test('the ceiling doubles up to the most, with full jitter', async (t) => {
  let random = 1
  const backoff = new Backoff(100, 1000, () => random)
  t.same(
    Array.from({ length: 6 }, () => backoff.next()),
    [100, 200, 400, 800, 1000, 1000],
  )
  random = 0.25
  t.equal(backoff.next(), 250)
  random = 0
  t.equal(backoff.next(), 0)
})

t.test('a success starts over, a request to wait is added once, a wanted move does not wait', async (t) => {
  const backoff = new Backoff(100, 1000, () => 1)
  backoff.next()
  backoff.next()
  backoff.reset()
  t.equal(backoff.next(), 100)
  backoff.notBefore(5000)
  t.equal(backoff.next(), 5200)
  t.equal(backoff.next(), 400)
  backoff.notBefore(10 ** 9)
  t.equal(backoff.next(), 60_800)
  backoff.skipOnce()
  t.equal(backoff.next(), 0)
  t.equal(backoff.next(), 1000)
})
