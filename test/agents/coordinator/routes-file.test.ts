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

/** A file with one pool and one route, part of which can be replaced. */
function file({ pools = 'a: {}', match = '{}', to = '[{ pool: a }]', more = '' }): string {
  return `pools: { ${pools} }\nroutes:\n  - name: one\n    match: ${match}\n    to: ${to}\n${more}`
}

const CASES: readonly (readonly [name: string, text: string, at: string, says: RegExp])[] = [
  ['an empty file', '', '1:1 $', /empty/],
  ['only a comment', '# nothing\n', '1:1 $', /empty/],
  ['a number', '5', '1:1 $', /must be a record/],
  ['a list', '- a', '1:1 $', /not a list/],
  ['a tab as indentation', 'pools:\n\ta: {}', '2:1 pools', /[Tt]ab/],
  ['an unclosed bracket', 'pools: {a: {}\nroutes: []', '2:1 routes', /\}/],
  ['two documents', 'pools: {}\n---\nroutes: []', '2:1 pools', /second document/],
  [
    'a key twice',
    'pools: {a: {}}\nroutes:\n  - name: x\n    name: y\n    to: [{pool: a}]',
    '4:5 routes[0].name',
    /unique/,
  ],
  ['an unknown tag', file({ pools: 'a: !secret {}' }), '1:13 pools.a', /tag/],
  ['an unknown anchor', file({ pools: 'a: *b' }), '1:1 $', /alias/],
  ['no pools', 'routes: [{name: x, to: [{pool: a}]}]', '1:1 pools', /missing/],
  ['no routes', 'pools: {a: {}}', '1:1 routes', /missing/],
  ['no route at all', 'pools: {a: {}}\nroutes: []', '2:1 routes', /at least one/],
  ['routes as a record', 'pools: {a: {}}\nroutes: {a: 1}', '2:1 routes', /must be a list, not a record/],
  ['pools as a list', 'pools: [a]\nroutes: [{name: x, to: [{pool: a}]}]', '1:1 pools', /record of names, not a list/],
  ['a misspelt top key', `${file({})}pool: {}`, '6:1 pool', /did you mean pools\?/],
  ['a misspelt pool key', file({ pools: 'a: { polcy: random }' }), '1:15 pools.a.polcy', /did you mean policy\?/],
  [
    'a misspelt policy',
    file({ pools: 'a: { policy: round-robin }' }),
    '1:15 pools.a.policy',
    /did you mean round_robin\?/,
  ],
  ['a misspelt case', file({ pools: 'a: { maxload: 2 }' }), '1:15 pools.a.maxload', /did you mean maxLoad\?/],
  ['a maxLoad below 1', file({ pools: 'a: { maxLoad: 0.5 }' }), '1:15 pools.a.maxLoad', /at least 1/],
  ['a maxLoad of text', file({ pools: 'a: { maxLoad: "2" }' }), '1:15 pools.a.maxLoad', /must be a number, not "2"/],
  ['a maxLoad that is no number', file({ pools: 'a: { maxLoad: .nan }' }), '1:15 pools.a.maxLoad', /number/],
  ['an unknown key', file({ pools: 'a: { key: serial }' }), '1:15 pools.a.key', /device, header:NAME, or topic:LEVELS/],
  ['a key of no levels', file({ pools: 'a: { key: "topic:0" }' }), '1:15 pools.a.key', /topic:LEVELS/],
  ['a key without a header', file({ pools: 'a: { key: "header:" }' }), '1:15 pools.a.key', /header:NAME/],
  [
    'a pool name with a control character',
    file({ pools: '"a\\u0007": {}, a: {}' }),
    '1:10 pools["a\\u0007"]',
    /control characters/,
  ],
  [
    'a pool called __proto__',
    file({ pools: '__proto__: {}, a: {}' }),
    '1:10 pools.__proto__',
    /nothing may have this name/,
  ],
  ['no name', 'pools: {a: {}}\nroutes:\n  - to: [{pool: a}]', '3:5 routes[0].name', /missing/],
  [
    'a name that is a number',
    'pools: {a: {}}\nroutes:\n  - name: 5\n    to: [{pool: a}]',
    '3:5 routes[0].name',
    /in quotes: "5"/,
  ],
  [
    'a name twice',
    file({ match: '{ device: x }', more: '  - name: one\n    to: [{pool: a}]\n' }),
    '6:5 routes[1].name',
    /routes\[0\] is called "one" already/,
  ],
  ['no target', file({ to: '[]' }), '5:5 routes[0].to', /at least one pool/],
  ['a target that is a text', file({ to: '[a]' }), '5:10 routes[0].to[0]', /record of keys, not "a"/],
  ['a target without a pool', file({ to: '[{ weight: 3 }]' }), '5:10 routes[0].to[0].pool', /missing/],
  [
    'a misspelt pool',
    file({ pools: 'telemetry: {}', to: '[{ pool: telemtry }]' }),
    '5:12 routes[0].to[0].pool',
    /did you mean telemetry\?/,
  ],
  ['a pool that nobody declared', file({ to: '[{ pool: nowhere }]' }), '5:12 routes[0].to[0].pool', /pools are a/],
  ['a pool twice in a split', file({ to: '[{ pool: a }, { pool: a }]' }), '5:25 routes[0].to[1].pool', /twice/],
  ['a negative weight', file({ to: '[{ pool: a, weight: -1 }]' }), '5:21 routes[0].to[0].weight', /at least 0/],
  [
    'a weight of text',
    file({ to: '[{ pool: a, weight: ten }]' }),
    '5:21 routes[0].to[0].weight',
    /must be a number, not "ten"/,
  ],
  ['an infinite weight', file({ to: '[{ pool: a, weight: .inf }]' }), '5:21 routes[0].to[0].weight', /./],
  ['weights that are all 0', file({ to: '[{ pool: a, weight: 0 }]' }), '5:5 routes[0].to', /every weight is 0/],
  ['a bad filter', file({ match: '{ topic: "a/#/b" }' }), '4:14 routes[0].match.topic', /MQTT topic filter/],
  ['an empty filter', file({ match: '{ topic: "" }' }), '4:14 routes[0].match.topic', /MQTT topic filter/],
  ['an unknown type', file({ match: '{ type: subscribe }' }), '4:14 routes[0].match.type', /data, publish/],
  ['a match that is a text', file({ match: 'all' }), '4:5 routes[0].match', /record of keys/],
  ['a device that is a number', file({ match: '{ device: 5 }' }), '4:14 routes[0].match.device', /must be a text/],
  [
    'an unclosed group',
    file({ match: '{ device: { regex: "a(b" } }' }),
    '4:24 routes[0].match.device.regex',
    /\( without its \)/,
  ],
  [
    'a backreference',
    file({ match: '{ device: { regex: "(a)\\\\1" } }' }),
    '4:24 routes[0].match.device.regex',
    /not supported/,
  ],
  ['a lookahead', file({ match: '{ device: { regex: "(?=a)" } }' }), '4:24 routes[0].match.device.regex', /lookaround/],
  [
    'an unknown condition',
    file({ match: '{ device: { regexp: a } }' }),
    '4:24 routes[0].match.device.regexp',
    /did you mean regex\?/,
  ],
  [
    'two conditions at once',
    file({ match: '{ device: { exact: a, prefix: b } }' }),
    '4:14 routes[0].match.device',
    /exactly one of/,
  ],
  ['no condition', file({ match: '{ device: {} }' }), '4:14 routes[0].match.device', /exactly one of/],
  ['headers as a list', file({ match: '{ headers: [a] }' }), '4:14 routes[0].match.headers', /record/],
  [
    'a header called __proto__',
    file({ match: '{ headers: { __proto__: a } }' }),
    '4:25 routes[0].match.headers.__proto__',
    /nothing may/,
  ],
  [
    'a header directly in match',
    file({ match: '{ end-user: x }' }),
    '4:14 routes[0].match.end-user',
    /known here: topic, type/,
  ],
  ['deep nesting', '['.repeat(100_000), '1:1 $', /levels deep/],
  ['deep nesting in blocks', '- '.repeat(100_000), '1:1 $', /levels deep/],
  ['aliases that explode', explodingAliases(), '1:1 $', /alias/],
  ['a file that is too long', `# ${'x'.repeat(1024 * 1024)}\n`, '1:1 $', /at most 1048576/],
  [
    'an alias inside itself',
    file({ match: '&m { headers: *m }' }),
    '4:17 routes[0].match.headers.headers',
    /exactly one/,
  ],
]

function explodingAliases(): string {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]']
  for (let i = 1; i < 9; i++)
    lines.push(
      `a${i}: &a${i} [${Array(9)
        .fill(`*a${i - 1}`)
        .join(', ')}]`,
    )
  return lines.join('\n')
}

for (const [name, text, at, says] of CASES) {
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
