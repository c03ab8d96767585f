import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { packControl } from '../../proto/control.js'
import { SluiceError } from '../../proto/errors.js'
import { SLOTS } from '../../proto/hash.js'
import {
  EMPTY_TABLE,
  type GatewayEntry,
  type Policy,
  type Pool,
  type Route,
  type RoutingTable,
  UNOWNED,
  type WorkerEntry,
} from '../../proto/table.js'
import { checkTable } from '../../proto/table-check.js'
import { applyDelta, packDelta, packTable, sameTable, unpackTable } from '../../proto/table-delta.js'

/** Small seeded generator (xorshift32), so that slot tables need not be shrunk entry by entry. */
function random(seed: number): () => number {
  let x = seed | 1
  return () => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (x >>> 0) / 2 ** 32
  }
}

function slotsOver(members: number, seed: number, churn = 1, base?: Uint16Array): Uint16Array {
  const next = random(seed)
  const owner = (): number => (members === 0 || next() < 0.01 ? UNOWNED : Math.floor(next() * members))
  return Uint16Array.from({ length: SLOTS }, (_, s) =>
    base === undefined || next() < churn ? owner() : (base[s] as number),
  )
}

const worker = (id: string, pool: string, weight = 1): WorkerEntry => ({
  id,
  pool,
  link: `tcp://127.0.0.1:${9000 + id.length}`,
  weight,
  state: 'up',
})

const policies = fc.constantFrom<Policy>(
  'consistent_hash',
  'consistent_hash',
  'least_connections',
  'round_robin',
  'random',
)
const text = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.record({ exact: fc.string({ maxLength: 8 }) }, { noNullPrototype: true }),
  fc.record({ prefix: fc.string({ maxLength: 8 }) }, { noNullPrototype: true }),
  fc.record({ regex: fc.constantFrom('a.*', '^x$') }, { noNullPrototype: true }),
  fc.record({ present: fc.boolean() }, { noNullPrototype: true }),
)
const match = fc.record(
  {
    topic: fc.constantFrom('a/#', 'cmd/+', 'x'),
    type: fc.constantFrom('data' as const, 'publish' as const),
    protocol: text,
    region: text,
    device: text,
    headers: fc.dictionary(fc.stringMatching(/^[a-z-]{1,6}$/), text, { maxKeys: 3, noNullPrototype: true }),
  },
  { requiredKeys: [], noNullPrototype: true },
)
const poolNames = ['a', 'b', 'default', 'télémétrie'] as const

const arbitraryPool = (name: string) =>
  fc
    .record({
      policy: policies,
      maxLoad: fc.constantFrom(1, 1.25, 2),
      ids: fc.uniqueArray(fc.integer({ min: 0, max: 60 }), { maxLength: 30 }),
      sorted: fc.constantFrom(true, true, true, false),
      seed: fc.nat(),
    })
    .map(({ policy, maxLoad, ids, sorted, seed }): Pool => {
      const members = (sorted ? ids.toSorted((x, y) => x - y) : ids).map(
        (id) => `${name}-${String(id).padStart(2, '0')}`,
      )
      const slots = policy === 'consistent_hash' ? slotsOver(members.length, seed) : new Uint16Array(0)
      return { name, policy, key: 'device', maxLoad, members, slots }
    })

const arbitraryGateway = fc
  .record({
    id: fc.constantFrom('g1', 'g2', 'g3'),
    region: fc.constantFrom('eu', 'us'),
    at: fc.option(fc.integer({ min: -90, max: 90 })),
    threads: fc.integer({ min: 1, max: 3 }),
  })
  .map(
    ({ id, region, at, threads }): GatewayEntry => ({
      id,
      region,
      ...(at === null ? {} : { location: { lat: at, lon: at * 2 } }),
      http: `http://${id}:8080`,
      ws: `ws://${id}:8080/v1/connect`,
      mqtt: '',
      ...(threads === 1 ? {} : { peers: Array.from({ length: threads }, (_, i) => `http://${id}:900${i}`) }),
      state: 'up',
      capacity: 0,
    }),
  )

const arbitraryTable: fc.Arbitrary<RoutingTable> = fc
  .record({
    version: fc.integer({ min: 1, max: 2 ** 40 }),
    pools: fc.subarray([...poolNames], { minLength: 1 }).chain((names) => fc.tuple(...names.map(arbitraryPool))),
    routes: fc.array(fc.record({ match, weight: fc.constantFrom(0, 1, 90) }), { maxLength: 5 }),
    gateways: fc.uniqueArray(arbitraryGateway, { selector: (gateway) => gateway.id }),
  })
  .map(({ version, pools, routes, gateways }) => ({
    version,
    routes: routes.map(
      ({ match, weight }, i): Route => ({ name: `r${i}`, match, to: [{ pool: pools[0]?.name ?? '', weight }] }),
    ),
    pools: new Map(pools.map((pool) => [pool.name, pool])),
    workers: new Map(
      pools.flatMap((pool) => pool.members.map((id): [string, WorkerEntry] => [id, worker(id, pool.name)])),
    ),
    gateways: new Map(gateways.map((gateway) => [gateway.id, gateway])),
  }))

function bigTable(workers: number): RoutingTable {
  const members = Array.from({ length: workers }, (_, i) => `worker-${String(i * 2).padStart(5, '0')}`)
  const pool: Pool = {
    name: 'default',
    policy: 'consistent_hash',
    key: 'device',
    maxLoad: 1.25,
    members,
    slots: slotsOver(workers, 7),
  }
  return {
    version: 41,
    routes: [{ name: 'default', match: {}, to: [{ pool: 'default', weight: 1 }] }],
    pools: new Map([['default', pool]]),
    workers: new Map(members.map((id) => [id, worker(id, 'default')])),
    gateways: new Map(),
  }
}

/** A worker joins in the middle of the sorted list and takes its share of slots. */
function withJoin(table: RoutingTable, id: string): RoutingTable {
  const pool = table.pools.get('default') as Pool
  const members = [...pool.members, id].sort()
  const at = members.indexOf(id)
  const slots = pool.slots.map((owner, s) =>
    s % members.length === 0 ? at : owner !== UNOWNED && owner >= at ? owner + 1 : owner,
  )
  return {
    ...table,
    version: table.version + 1,
    pools: new Map([['default', { ...pool, members, slots }]]),
    workers: new Map([...table.workers, [id, worker(id, 'default')]]),
  }
}

t.test('a table survives packing', async () => {
  fc.assert(
    fc.property(arbitraryTable, (table) => {
      assert.deepEqual(unpackTable(packTable(table)), table)
    }),
    { numRuns: 60 },
  )
})

t.test('a delta leads from any table to any other', async () => {
  fc.assert(
    fc.property(arbitraryTable, arbitraryTable, (from, to) => {
      const result = applyDelta(from, packDelta(from, to))
      assert.deepEqual(result, to)
      assert.ok(sameTable(result, to))
    }),
    { numRuns: 80 },
  )
})

t.test('a delta leads over a chain of member and slot changes', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 40 }), fc.nat()), { minLength: 1, maxLength: 12 }),
      (steps) => {
        let here: RoutingTable = bigTable(5)
        let there = here
        for (const [number, seed] of steps) {
          const pool = there.pools.get('default') as Pool
          const id = `worker-${String(number).padStart(5, '0')}`
          const members = pool.members.includes(id)
            ? pool.members.filter((other) => other !== id)
            : [...pool.members, id].sort()
          const slots = slotsOver(
            members.length,
            seed,
            0.1,
            pool.slots.map((owner) => (owner < members.length ? owner : UNOWNED)),
          )
          there = {
            ...there,
            version: there.version + 1,
            pools: new Map([['default', { ...pool, members, slots }]]),
            workers: new Map(members.map((member) => [member, worker(member, 'default')])),
          }
          here = applyDelta(here, packDelta(here === there ? there : here, there))
          assert.deepEqual(here, there)
        }
      },
    ),
    { numRuns: 40 },
  )
})

t.test('a delta for one worker that joins 1,000 is under 3 % of the snapshot', async (t) => {
  const before = bigTable(1000)
  for (const id of ['worker-00001', 'worker-01001', 'worker-99999']) {
    const after = withJoin(before, id)
    t.same(checkTable(after), [])
    const share = packDelta(before, after).length / packTable(after).length
    t.ok(share < 0.03, `${(share * 100).toFixed(2)} % for ${id}`)
    t.strictSame(applyDelta(before, packDelta(before, after)), after)
  }
})

t.test('a delta that changes no route keeps the very list of routes', async (t) => {
  const before = bigTable(3)
  t.equal(applyDelta(before, packDelta(before, withJoin(before, 'worker-00001'))).routes, before.routes)
})

t.test('a delta from another version is refused as a conflict', async (t) => {
  const before = bigTable(3)
  const bytes = packDelta(before, withJoin(before, 'worker-00001'))
  t.throws(() => applyDelta({ ...before, version: 40 }, bytes), { code: 'conflict', message: /version 41.*version 40/ })
})

t.test('equal tables are the same whatever their version, and any change makes them differ', async (t) => {
  const a = bigTable(3)
  t.ok(sameTable(a, { ...unpackTable(packTable(a)), version: 99 }))
  t.notOk(sameTable(a, withJoin(a, 'worker-00001')))
  t.notOk(sameTable(a, { ...a, routes: [] }))
  const drained = new Map(a.workers).set('worker-00000', { ...worker('worker-00000', 'default'), state: 'draining' })
  t.notOk(sameTable(a, { ...a, workers: drained }))
  t.notOk(sameTable(a, EMPTY_TABLE))
})

t.test('the name of the part at fault is told', async (t) => {
  const fields = { format: 1, version: 1, routes: [], pools: [], workers: [], gateways: [] }
  const refused = (change: object, path: string): void => {
    t.throws(() => unpackTable(packControl({ ...fields, ...change })), {
      name: 'SluiceError',
      code: 'bad_request',
      path,
    })
  }
  t.strictSame(unpackTable(packControl(fields)).version, 1)
  refused({ format: 2 }, 'format')
  refused({ version: -1 }, 'version')
  refused({ version: 1.5 }, 'version')
  refused({ routes: [{ name: 'x', match: { region: 4 }, to: [] }] }, 'routes[0].match.region')
  refused({ workers: [worker('a', 'p'), worker('a', 'p')] }, 'workers[1]')
  refused({ workers: [{ ...worker('a', 'p'), state: 'gone' }] }, 'workers[0].state')
  const pool = {
    name: 'p',
    policy: 'consistent_hash',
    key: 'device',
    maxLoad: 1,
    members: ['a'],
    slots: new Uint8Array(SLOTS * 2),
  }
  refused({ pools: [{ ...pool, slots: new Uint8Array(10) }] }, 'pools[0].slots')
  refused({ pools: [{ ...pool, members: [] }] }, 'pools[0].slots')
  refused({ pools: [{ ...pool, key: 'header:' }] }, 'pools[0].key')
  refused({ pools: [{ ...pool, maxLoad: 0.5 }] }, 'pools[0].maxLoad')
})

t.test('damaged bytes give a SluiceError or a table, never another error', async (t) => {
  const before = bigTable(20)
  const after = withJoin(before, 'worker-00001')
  const inputs = [packTable(after), packDelta(before, after)]
  const next = random(20_26)
  for (let run = 0; run < 3000; run++) {
    const bytes = (inputs[run % 2] as Uint8Array).slice()
    // The interesting bytes are the structure's, at the front and behind the slots.
    for (let hits = 1 + Math.floor(next() * 4); hits > 0; hits--) {
      const span = next() < 0.5 ? 400 : bytes.length
      bytes[Math.floor(next() * Math.min(span, bytes.length))] = Math.floor(next() * 256)
    }
    const cut = next() < 0.2 ? bytes.subarray(0, Math.floor(next() * bytes.length)) : bytes
    try {
      const table = run % 2 === 0 ? unpackTable(cut) : applyDelta(before, cut)
      checkTable(table)
    } catch (error) {
      if (!(error instanceof SluiceError)) return t.fail(`run ${run}`, { error })
    }
  }
  t.pass('3,000 damaged inputs')
})
