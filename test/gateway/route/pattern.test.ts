import fc from 'fast-check'
import t from 'tap'
import { createPattern } from '../../../gateway/route/pattern.js'

/** Patterns of what is supported, as text. */
const atom = fc.constantFrom(
  'a',
  'b',
  'c',
  '.',
  '\\d',
  '\\w',
  '\\s',
  '\\D',
  '\\W',
  '\\S',
  '[a-c]',
  '[^a]',
  '[-a]',
  '[a\\]]',
  '[]',
  '[^]',
  '\\.',
  '\\x61',
  '\\u0062',
  '^',
  '$',
  '1',
  '-',
  ' ',
)
const quantifier = fc.constantFrom('', '', '', '*', '+', '?', '{2}', '{1,3}', '{0,2}', '{1,}', '*?', '{0}')
const { pattern } = fc.letrec<{ pattern: string; piece: string }>((tie) => ({
  piece: fc
    .tuple(
      fc.oneof(
        { depthSize: 'small' },
        atom,
        tie('pattern').map((p) => `(${p})`),
        tie('pattern').map((p) => `(?:${p})`),
      ),
      quantifier,
    )
    // JavaScript refuses to repeat ^ and $.
    .map(([one, often]) => (one === '^' || one === '$' ? one : one + often)),
  pattern: fc
    .array(
      fc.array(tie('piece'), { maxLength: 4 }).map((pieces) => pieces.join('')),
      { minLength: 1, maxLength: 3 },
    )
    .map((branches) => branches.join('|')),
}))
const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '1', '-', '.', ' ', '\n', ']', 'é'), maxLength: 12 })

t.test('createPattern agrees with RegExp on everything that it supports', async () => {
  fc.assert(
    fc.property(pattern, fc.array(text, { minLength: 1, maxLength: 5 }), (source, texts) => {
      const matches = compiled(source)
      // Longer ones can keep RegExp, which backtracks, busy for hours.
      fc.pre(matches !== undefined && source.length <= 30)
      const expected = new RegExp(source)
      return texts.every((one) => matches(one) === expected.test(one))
    }),
    { numRuns: 1500 },
  )
})

/** Undefined for a pattern that is too large, whichever way. */
function compiled(source: string): ((text: string) => boolean) | undefined {
  try {
    return createPattern(source)
  } catch (error) {
    if (/at most 256|too large/.test(String(error))) return undefined
    throw error
  }
}

t.test('examples', async (t) => {
  const hits = (source: string, ...texts: string[]) => texts.map(createPattern(source))
  t.same(hits('^sensor-[0-9]{3}$', 'sensor-042', 'sensor-42', 'xsensor-042', 'sensor-0421'), [
    true,
    false,
    false,
    false,
  ])
  t.same(hits('eu|us', 'eu-west', 'aus', 'asia'), [true, true, false])
  t.same(hits('', '', 'anything'), [true, true])
  t.same(hits('^$', '', 'a'), [true, false])
  t.same(hits('a{0}', 'b'), [true])
})

t.test('patterns that make a backtracking engine explode take no time', async (t) => {
  const hostile = ['(a+)+$', '(a|a)*b', '(a*)*b', '(a|aa)+$', '(.*)*x', '((a?){20}a{20})$', '(x+x+)+y']
  const start = performance.now()
  for (const source of hostile) {
    const matches = createPattern(source)
    t.equal(matches(`${'a'.repeat(4000)}!`), false, source)
    matches('x'.repeat(4000))
  }
  t.ok(performance.now() - start < 3000)
})

t.test('a pattern that would become too large, or too deep, is refused quickly', async (t) => {
  const start = performance.now()
  for (const source of [
    'a{9999}',
    '((a{99}){99}){99}',
    '(((){9999}){9999}){9999}',
    '(a{1,40}){1,60}',
    '('.repeat(100),
    'a'.repeat(257),
  ]) {
    if (source === '(((){9999}){9999}){9999}') t.equal(createPattern(source)(''), true)
    else t.throws(() => createPattern(source), { code: 'invalid_routes' }, source)
  }
  t.ok(performance.now() - start < 1000)
})

t.test('what is not supported is refused by name and place', async (t) => {
  const refused: readonly (readonly [string, RegExp])[] = [
    ['(a', /\( without its \)/],
    ['a)', /\) without its \(/],
    ['[a', /\[ without its \]/],
    ['a\\', /\\ at its end/],
    ['*a', /\* with nothing in front/],
    ['a|+', /\+ with nothing in front/],
    ['a**', /quantifier behind a quantifier/],
    ['a{', /begins no \{m\}/],
    ['a{2,1}', /from 2 down to 1/],
    ['(?=a)', /lookaround/],
    ['(?<n>a)', /lookaround, a named group/],
    ['(a)\\1', /\\1/],
    ['\\bword', /\\b/],
    ['[z-a]', /does not rise/],
    ['[\\D]', /inside \[ \]/],
    ['\\x1', /2 hex digits/],
    ['\\u12G4', /4 hex digits/],
  ]
  for (const [source, says] of refused)
    t.throws(() => createPattern(source), { code: 'invalid_routes', message: says }, source)
})

t.test('any text is either a pattern or refused with a SluiceError', async () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 40 }), text, (source, one) => {
      try {
        createPattern(source)(one)
        return true
      } catch (error) {
        return (error as { code?: string }).code === 'invalid_routes'
      }
    }),
    { numRuns: 3000 },
  )
})

t.test('a value that is too long does not match', async (t) => {
  t.equal(createPattern('a')('a'.repeat(4096)), true)
  t.equal(createPattern('a')('a'.repeat(4097)), false)
})
