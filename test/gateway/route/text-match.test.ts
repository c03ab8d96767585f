import fc from 'fast-check'
import t from 'tap'
import { compileText, globMatches } from '../../../gateway/route/text-match.js'

t.test('a glob matches what the regular expression of the same meaning matches', async () => {
  const unit = fc.constantFrom('a', 'b', '-', '.', '/')
  const glob = fc.string({ unit: fc.oneof(unit, fc.constantFrom('*', '?')), maxLength: 10 })
  fc.assert(
    fc.property(glob, fc.string({ unit, maxLength: 12 }), (pattern, text) => {
      const expression = pattern
        .replace(/[.\-/]/g, '\\$&')
        .replace(/\*/g, '.*')
        .replace(/\?/g, '.')
      return globMatches(pattern, text) === new RegExp(`^${expression}$`, 's').test(text)
    }),
    { numRuns: 3000 },
  )
})

t.test('a glob with many stars takes no time', async (t) => {
  const start = performance.now()
  t.equal(globMatches('*a'.repeat(1000), `${'a'.repeat(4000)}b`), false)
  t.ok(performance.now() - start < 500)
})

t.test('each form holds for what it says, and none but present for what is absent', async (t) => {
  const holds = (match: Parameters<typeof compileText>[0], ...values: (string | undefined)[]) =>
    values.map(compileText(match))
  t.same(holds('eu-*', 'eu-west', 'eu-', 'us-eu-', undefined), [true, true, false, false])
  t.same(holds('a.c', 'a.c', 'abc'), [true, false])
  t.same(holds('', '', 'a', undefined), [true, false, false])
  t.same(holds({ exact: 'a*' }, 'a*', 'ab', undefined), [true, false, false])
  t.same(holds({ prefix: 'ab' }, 'abc', 'ab', 'a', undefined), [true, true, false, false])
  t.same(holds({ regex: '^v[12]$' }, 'v1', 'v3', undefined), [true, false, false])
  t.same(holds({ present: true }, '', 'x', undefined), [true, true, false])
  t.same(holds({ present: false }, '', 'x', undefined), [false, false, true])
})
