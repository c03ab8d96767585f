import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import {
  formatProblem,
  parseRoutes,
  readRoutesFile,
  routesJsonSchema,
} from '../../../agents/coordinator/routes-file.js'
import { nearest } from '../../../agents/coordinator/routes-problem.js'
import { SluiceError } from '../../../proto/errors.js'
import { file, MALFORMED } from './malformed-routes.js'

/** The example of the contract. */
const EXAMPLE = `
pools:
  telemetry-v1: { policy: consistent_hash, key: device, maxLoad: 1.25 }
  telemetry-v2: { policy: consistent_hash }
  commands:     { policy: least_connections }
routes:
  - name: testers
    match: { headers: { end-user: testuser } }
    to: [{ pool: telemetry-v2 }]
  - name: commands
    match: { topic: cmd/# , protocol: mqtt, region: eu-* }
    to: [{ pool: commands }]
  - name: default
    to: [{ pool: telemetry-v1, weight: 90 }, { pool: telemetry-v2, weight: 10 }]
`

t.test('the example of the contract is read, with every default filled in', async (t) => {
  const { spec, errors, warnings } = readRoutesFile(EXAMPLE)
  t.same(errors, [])
  t.same(warnings, [])
  t.same(spec?.pools, [
    { name: 'telemetry-v1', policy: 'consistent_hash', key: 'device', maxLoad: 1.25 },
    { name: 'telemetry-v2', policy: 'consistent_hash', key: 'device', maxLoad: 1.25 },
    { name: 'commands', policy: 'least_connections', key: 'device', maxLoad: 1.25 },
  ])
  t.same(spec?.routes[0], {
    name: 'testers',
    match: { headers: { 'end-user': 'testuser' } },
    to: [{ pool: 'telemetry-v2', weight: 1 }],
  })
  t.same(spec?.routes[2]?.match, {})
})

t.test('JSON is as good as YAML', async (t) => {
  const { spec } = readRoutesFile(
    JSON.stringify({
      pools: { a: null },
      routes: [{ name: 'x', match: { device: { prefix: 'd-' } }, to: [{ pool: 'a' }] }],
    }),
  )
  t.same(spec?.routes[0]?.match, { device: { prefix: 'd-' } })
})

for (const [name, text, at, says] of MALFORMED) {
  t.test(`refused, with its place: ${name}`, async (t) => {
    const { spec, errors } = readRoutesFile(text)
    t.equal(spec, undefined)
    const found = errors.find(({ path, line, column }) => `${line}:${column} ${path}` === at)
    t.ok(found, `${at} is not among ${errors.map((problem) => formatProblem(problem, '')).join(' | ')}`)
    t.match(found?.message, says)
  })
}

t.test('all problems are listed at once, in the order of their lines', async (t) => {
  const text = file({
    pools: 'a: { polcy: x, maxLoad: 0 }',
    match: '{ topic: "#/a", type: x }',
    to: '[{ pool: b, weight: -1 }]',
  })
  const { errors } = readRoutesFile(text)
  t.same(
    errors.map(({ path }) => path),
    [
      'pools.a.polcy',
      'pools.a.maxLoad',
      'routes[0].match.topic',
      'routes[0].match.type',
      'routes[0].to[0].pool',
      'routes[0].to[0].weight',
    ],
  )
})

t.test('parseRoutes throws one error that lists all of them and names the first path', async (t) => {
  try {
    parseRoutes(file({ match: '{ type: x }', to: '[{ pool: b }]' }), 'my.yaml')
    t.fail('it was taken')
  } catch (error) {
    t.ok(error instanceof SluiceError && error.code === 'invalid_routes')
    t.equal((error as SluiceError).path, 'routes[0].match.type')
    t.match(
      (error as SluiceError).message,
      /^my\.yaml:4:14 routes\[0\]\.match\.type: .*\nmy\.yaml:5:12 routes\[0\]\.to\[0\]\.pool: /,
    )
  }
})

t.test('what is allowed but hardly meant is a warning', async (t) => {
  const more = '  - name: two\n    match: { region: eu }\n    to: [{ pool: a }]\n'
  const { spec, warnings } = readRoutesFile(file({ pools: 'a: {}, b: {}', match: '{ topic: "#" }', more }))
  t.ok(spec)
  t.same(
    warnings.map((warning) => formatProblem(warning, 'f')),
    [
      'f:6:5 routes[1]: is never reached: routes[0] ("one") takes all of it first',
      'f:1:17 pools.b: no route sends anything to it',
    ],
  )
  t.match(readRoutesFile(file({ match: '{ protocol: http }' })).warnings[0]?.message, /never holds/)
  const narrower = file({
    match: '{ device: a }',
    more: '  - name: two\n    match: { device: a, region: b }\n    to: [{ pool: a }]\n',
  })
  t.match(readRoutesFile(narrower).warnings[0]?.path, 'routes[1]')
  t.same(readRoutesFile(file({ match: '{ device: a }', more })).warnings, [])
})

t.test('no text makes the reader throw, or take long', async (t) => {
  const words = fc.constantFrom(
    'pools',
    'routes',
    'name',
    'to',
    'match',
    'pool',
    'weight',
    'a',
    ':',
    ' ',
    '\n',
    '  ',
    '- ',
    '{',
    '}',
    '[',
    ']',
    ',',
    '&x',
    '*x',
    '"',
    "'",
    '#',
    '|',
    '>',
    '!',
    '%',
    '---',
    '0',
    '-1',
    '.inf',
    '<<',
    '?',
    '\t',
    '\u0000',
    '\ud800',
  )
  fc.assert(
    fc.property(fc.array(words, { maxLength: 60 }), (parts) => {
      const { spec, errors } = readRoutesFile(parts.join(''))
      return spec !== undefined || errors.length > 0
    }),
    { numRuns: 3000 },
  )
  let x = 1
  const start = performance.now()
  for (let i = 0; i < 1500; i++) {
    const text = [...EXAMPLE]
    for (let k = 0; k < 1 + (i % 4); k++) {
      x = Math.imul(x, 1664525) + 1013904223
      text[(x >>> 4) % text.length] = String.fromCharCode((x >>> 20) % 128)
    }
    readRoutesFile(text.join(''))
  }
  t.ok(performance.now() - start < 20_000)
})

t.test('nearest finds a misspelt word and does not guess wildly', async (t) => {
  t.equal(nearest('wieght', ['pool', 'weight']), 'weight')
  t.equal(nearest('PROTOCOL', ['protocol']), 'protocol')
  t.equal(nearest('xyz', ['pool', 'weight']), undefined)
})

t.test('the JSON Schema in docs is the one that the reader checks by', async (t) => {
  const root = import.meta.url.includes('/dist/') ? '../../../../' : '../../../'
  const published = JSON.parse(readFileSync(new URL(`${root}docs/routes.schema.json`, import.meta.url), 'utf8'))
  t.same(published, routesJsonSchema())
})
