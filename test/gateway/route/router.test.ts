import fc from 'fast-check'
import t from 'tap'
import { compileRoutes, type FrameKind, type SessionAttributes } from '../../../gateway/route/router.js'
import type { Route, RouteMatch } from '../../../proto/table.js'

const SESSION: SessionAttributes = {
  device: 'd1',
  protocol: 'mqtt',
  gateway: 'gw-1',
  region: 'eu-west',
  headers: { 'end-user': 'testuser' },
}

function route(name: string, match: RouteMatch, ...pools: string[]): Route {
  return { name, match, to: pools.map((pool) => ({ pool, weight: 1 })) }
}

const CONTRACT: readonly Route[] = [
  route('testers', { headers: { 'end-user': 'testuser' } }, 'v2'),
  route('commands', { topic: 'cmd/#', protocol: 'mqtt', region: 'eu-*' }, 'commands'),
  {
    name: 'default',
    match: {},
    to: [
      { pool: 'v1', weight: 90 },
      { pool: 'v2', weight: 10 },
    ],
  },
]

t.test('the first route that matches wins', async (t) => {
  const router = compileRoutes({ routes: CONTRACT })
  const poolOf = (over: Partial<SessionAttributes>, topic: string) =>
    router.route({ ...SESSION, ...over }, 'publish', topic)?.pool
  t.equal(poolOf({}, 'cmd/x'), 'v2', 'a tester, whatever the topic')
  t.equal(poolOf({ headers: {} }, 'cmd/x'), 'commands')
  t.equal(poolOf({ headers: {} }, 'other'), 'v1')
  t.equal(poolOf({ headers: {}, region: 'us' }, 'cmd/x'), 'v1')
  t.equal(poolOf({ headers: {}, protocol: 'websocket' }, 'cmd/x'), 'v1')
})

t.test('a session whose frames all go the same way is constant, and shares its routes with others', async (t) => {
  const router = compileRoutes({ routes: CONTRACT })
  const tester = router.forSession(SESSION)
  t.match(tester, { constant: true, dataPool: 'v2' })
  t.equal(router.forSession({ ...SESSION, device: 'd2' }), tester)
  const other = router.forSession({ ...SESSION, headers: {} })
  t.match(other, { constant: false, dataPool: 'v1' })
  t.equal(other.pool('data', 'cmd/a'), 'commands')
  t.same(
    ['v1', 'v2', 'commands'].map((pool) => other.reaches(pool)),
    [true, false, true],
  )
  t.equal(router.forSession({ ...SESSION, headers: {} }), other)
})

t.test('type data and publish are told apart, and what no route takes goes nowhere', async (t) => {
  const router = compileRoutes({
    routes: [route('p', { type: 'publish', topic: 'a/+' }, 'pubs'), route('d', { type: 'data' }, 'datas')],
  })
  const routes = router.forSession(SESSION)
  t.equal(routes.constant, false)
  t.equal(routes.dataPool, 'datas')
  t.equal(routes.pool('publish', 'a/b'), 'pubs')
  t.equal(routes.pool('publish', 'b'), undefined)
  t.match(compileRoutes({ routes: [] }).forSession(SESSION), { constant: true, dataPool: undefined })
  t.match(compileRoutes({ routes: [{ name: 'z', match: {}, to: [{ pool: 'a', weight: 0 }] }] }).forSession(SESSION), {
    constant: true,
    dataPool: undefined,
  })
})

t.test('a topic route that leads where everything else goes keeps the session constant', async (t) => {
  const router = compileRoutes({ routes: [route('t', { topic: 'x/#' }, 'a'), route('rest', {}, 'a')] })
  t.match(router.forSession(SESSION), { constant: true, dataPool: 'a' })
  const open = compileRoutes({ routes: [route('t', { topic: 'x/#' }, 'a')] })
  t.equal(open.forSession(SESSION).constant, false, 'without a rest some frames go nowhere')
})

t.test('headers are matched under lower-case names, and names of Object are no headers', async (t) => {
  const router = compileRoutes({
    routes: [
      route('h', { headers: { 'End-User': { prefix: 'test' } } }, 'a'),
      route('p', { headers: { constructor: { present: true } } }, 'b'),
    ],
  })
  t.equal(router.forSession(SESSION).dataPool, 'a')
  t.equal(router.forSession({ ...SESSION, headers: {} }).dataPool, undefined)
})

t.test('every attribute can be matched', async (t) => {
  const cases: RouteMatch[] = [
    { device: 'd?' },
    { gateway: { exact: 'gw-1' } },
    { region: { regex: '^eu' } },
    { protocol: { prefix: 'mq' } },
  ]
  for (const match of cases)
    t.equal(compileRoutes({ routes: [route('r', match, 'a')] }).forSession(SESSION).dataPool, 'a')
})

t.test('a regex that is not understood is refused when the table is compiled', async (t) => {
  t.throws(() => compileRoutes({ routes: [route('r', { device: { regex: '(' } }, 'a')] }), { code: 'invalid_routes' })
})

t.test('forSession decides as route does, for any routes, sessions and frames', async () => {
  const text = fc.constantFrom('a', 'b', '*', 'a*', '?')
  const match = fc.record(
    {
      topic: fc.constantFrom('a/#', '+', '#', 'a/b', 'a/+'),
      type: fc.constantFrom<FrameKind>('data', 'publish'),
      device: text,
      region: text,
      headers: fc.dictionary(fc.constantFrom('x', 'y'), text, { maxKeys: 2 }),
    },
    { requiredKeys: [] },
  )
  const target = fc.record({ pool: fc.constantFrom('p1', 'p2', 'p3'), weight: fc.nat(3) })
  const routes = fc.array(
    fc.record({ name: fc.string(), match, to: fc.uniqueArray(target, { selector: ({ pool }) => pool, minLength: 1 }) }),
    { maxLength: 6 },
  )
  const session = fc.record({
    device: fc.constantFrom('a', 'b', 'aa', 'c'),
    protocol: fc.constant('mqtt'),
    gateway: fc.constant('g'),
    region: fc.constantFrom('a', 'b'),
    headers: fc.dictionary(fc.constantFrom('x', 'y'), fc.constantFrom('a', 'b')),
  })
  fc.assert(
    fc.property(
      routes,
      fc.array(session, { minLength: 1, maxLength: 4 }),
      fc.constantFrom('', 'a', 'a/b', 'b', '$a'),
      (list, sessions, topic) => {
        const router = compileRoutes({ routes: list })
        return sessions.every((attributes) =>
          (['data', 'publish'] as const).every((type) => {
            const expected = router.route(attributes, type, topic)?.pool
            const shared = router.forSession(attributes)
            if (shared.pool(type, topic) !== expected) return false
            if (shared.constant && shared.dataPool !== expected) return false
            return expected === undefined || shared.reaches(expected)
          }),
        )
      },
    ),
    { numRuns: 2000 },
  )
})
