import t from 'tap'
import { compileAffinity } from '../../../gateway/route/affinity.js'
import { explainRoute } from '../../../gateway/route/explain.js'
import { compileRoutes, type SessionAttributes } from '../../../gateway/route/router.js'
import { SLOTS, slotOf } from '../../../proto/hash.js'
import { EMPTY_TABLE, type Pool, type RoutingTable } from '../../../proto/table.js'

const SESSION: SessionAttributes = {
  device: 'd1',
  protocol: 'mqtt',
  gateway: 'g',
  region: 'eu',
  headers: { tenant: 'acme' },
}

function pool(name: string, over: Partial<Pool> = {}): [string, Pool] {
  const slots = Uint16Array.from({ length: SLOTS }, (_, slot) => slot % 2)
  return [
    name,
    { name, policy: 'consistent_hash', key: 'device', maxLoad: 1.25, members: ['w0', 'w1'], slots, ...over },
  ]
}

const TABLE: RoutingTable = {
  ...EMPTY_TABLE,
  version: 7,
  routes: [
    { name: 'us', match: { region: 'us-*', headers: { tenant: { present: true } } }, to: [{ pool: 'a', weight: 1 }] },
    { name: 'commands', match: { topic: 'cmd/#', type: 'publish' }, to: [{ pool: 'least', weight: 1 }] },
    { name: 'tenants', match: { topic: 't/#' }, to: [{ pool: 'tenant', weight: 1 }] },
    {
      name: 'rest',
      match: {},
      to: [
        { pool: 'a', weight: 90 },
        { pool: 'b', weight: 10 },
      ],
    },
  ],
  pools: new Map([
    pool('a'),
    pool('b'),
    pool('least', { policy: 'least_connections', slots: new Uint16Array(0) }),
    pool('tenant', { key: 'header:Tenant' }),
  ]),
}

t.test('explain names route, split, key, slot and worker, as the router decides them', async (t) => {
  const found = explainRoute(TABLE, SESSION, 'data', '')
  t.match(found, {
    version: 7,
    device: 'd1',
    route: 'rest',
    policy: 'consistent_hash',
    key: { by: 'device', value: 'd1' },
    slot: slotOf('d1'),
  })
  t.equal(found.pool, compileRoutes(TABLE).forSession(SESSION).dataPool)
  t.equal(found.worker, `w${slotOf('d1') % 2}`)
  t.same(found.passed, [
    { route: 'us', because: 'region is "eu", not "us-*"' },
    { route: 'commands', because: 'the frame is data, not publish' },
    { route: 'tenants', because: 'the frame has no topic, not t/#' },
  ])
  const [a, b] = found.split ?? []
  t.same([a?.percent, b?.percent], [90, 10])
  const chosen = found.split?.find(({ pool: name }) => name === found.pool)
  t.ok(chosen !== undefined && chosen.getsDeviceFrom <= chosen.percent)
  t.match(
    found.words.join(' '),
    /Route rest takes it\. Its split gives the device to pool .* is in slot \d+ of pool .*, which worker w\d owns\.$/,
  )
})

t.test('explain says when a policy chooses later, and hashes the header where the pool does', async (t) => {
  const least = explainRoute(TABLE, SESSION, 'publish', 'cmd/x')
  t.match(least, { route: 'commands', pool: 'least', policy: 'least_connections' })
  t.equal(least.slot, undefined)
  const tenant = explainRoute(TABLE, SESSION, 'data', 't/1')
  t.match(tenant, { key: { by: 'header:Tenant', value: 'acme' }, slot: slotOf('acme') })
})

t.test('explain says when nothing takes the frame, nobody owns the slot, or no pool takes devices', async (t) => {
  t.match(explainRoute({ ...TABLE, routes: TABLE.routes.slice(0, 1) }, SESSION, 'data', '').words, [
    'Route us does not take it: region is "eu", not "us-*".',
    'No route takes it.',
  ])
  const unowned = {
    ...TABLE,
    pools: new Map([
      pool('a', { slots: new Uint16Array(0), members: [] }),
      pool('b', { slots: new Uint16Array(0), members: [] }),
    ]),
  }
  const found = explainRoute(unowned, SESSION, 'data', '')
  t.equal(found.worker, undefined)
  t.match(found.words.at(-1), /which no worker owns/)
  const none = {
    ...TABLE,
    routes: [
      {
        name: 'z',
        match: {},
        to: [
          { pool: 'a', weight: 0 },
          { pool: 'b', weight: 0 },
        ],
      },
    ],
  }
  t.match(explainRoute(none, SESSION, 'data', '').words.at(-1), /None of its pools/)
})

t.test('affinity keys', async (t) => {
  const keys = (key: Pool['key'], topic: string, session = SESSION) => compileAffinity(key).keyOf(session, topic)
  t.equal(keys('device', 'a/b'), 'd1')
  t.equal(keys('header:tenant', 'a/b'), 'acme')
  t.equal(keys('header:none', 'a/b'), 'd1', 'without the header: the device')
  t.equal(keys('header:constructor', 'a/b'), 'd1')
  t.same(
    ['a/b/c/d', 'a/b', 'a', 'a//c', '/x/y', ''].map((topic) => keys('topic:2', topic)),
    ['a/b', 'a/b', 'a', 'a/', '/x', 'd1'],
  )
  t.same(
    (['device', 'header:x', 'topic:1'] as const).map((key) => compileAffinity(key).byTopic),
    [false, false, true],
  )
})
