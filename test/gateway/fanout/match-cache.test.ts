import t from 'tap'
import { MatchCache } from '../../../gateway/fanout/match-cache.js'

t.test('what is used stays, what is not goes, and there is never more than the limit', async (t) => {
  const cache = new MatchCache<number>(100, 10)
  cache.set('hot', -1)
  for (let i = 0; i < 1000; i++) {
    cache.set(`k${i}`, i)
    if (cache.get('hot') !== -1) t.fail(`gone at ${i}`)
  }
  const left = Array.from({ length: 1000 }, (_, i) => cache.get(`k${i}`)).filter((value) => value !== undefined)
  t.ok(left.length >= 48 && left.length <= 100, `${left.length} left`)
  t.equal(cache.get('k999'), 999)
})

t.test('deleting and clearing reach both generations, long keys are not kept', async (t) => {
  const cache = new MatchCache<number>(4, 10)
  for (const key of ['a', 'b', 'c']) cache.set(key, 1)
  cache.delete('a')
  cache.delete('c')
  t.same(
    ['a', 'b', 'c'].map((key) => cache.get(key)),
    [undefined, 1, undefined],
  )
  cache.clear()
  t.equal(cache.get('b'), undefined)
  cache.set('x'.repeat(11), 1)
  t.equal(cache.get('x'.repeat(11)), undefined)
})
