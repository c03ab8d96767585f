import t from 'tap'
import { SLOTS } from '../../proto/hash.js'
import { EMPTY_TABLE, type GatewayEntry, type Pool, type RoutingTable, type WorkerEntry } from '../../proto/table.js'
import { checkTable, gatewayProblem, workerProblem } from '../../proto/table-check.js'

const pool: Pool = {
  name: 'p',
  policy: 'consistent_hash',
  key: 'device',
  maxLoad: 1.25,
  members: ['w1'],
  slots: new Uint16Array(SLOTS),
}
const worker: WorkerEntry = { id: 'w1', pool: 'p', link: 'tcp://10.0.0.1:9000', weight: 1, state: 'up' }
const gateway: GatewayEntry = {
  id: 'g1',
  region: 'eu',
  http: 'http://g1:8080',
  ws: 'ws://g1:8080/v1/connect',
  mqtt: 'mqtt://g1:1883',
  state: 'up',
  capacity: 0,
}
const good: RoutingTable = {
  version: 3,
  routes: [{ name: 'default', match: {}, to: [{ pool: 'p', weight: 1 }] }],
  pools: new Map([['p', pool]]),
  workers: new Map([['w1', worker]]),
  gateways: new Map([['g1', gateway]]),
}
const withPool = (change: Partial<Pool>): RoutingTable => ({ ...good, pools: new Map([['p', { ...pool, ...change }]]) })
const withWorker = (change: Partial<WorkerEntry>): RoutingTable => ({
  ...good,
  workers: new Map([['w1', { ...worker, ...change }]]),
})

t.test('a sound table has no problems', async (t) => {
  t.same(checkTable(good), [])
})

t.test('each broken rule is told with the part that breaks it', async (t) => {
  const stray = new Uint16Array(SLOTS)
  stray[77] = 1
  const cases: [RoutingTable, RegExp][] = [
    [{ ...good, version: 0 }, /^version: /],
    [{ ...EMPTY_TABLE, version: 1, routes: good.routes }, /^routes\[0\]\.to\[0\]\.pool: no pool is called "p"/],
    [{ ...good, routes: [...good.routes, ...good.routes] }, /^routes\[1\]\.name: another route/],
    [
      { ...good, routes: [{ name: 'r', match: { topic: 'a#' }, to: [{ pool: 'p', weight: 1 }] }] },
      /^routes\[0\]\.match\.topic: /,
    ],
    [{ ...good, routes: [{ name: 'r', match: {}, to: [] }] }, /^routes\[0\]\.to: names no pool/],
    [
      { ...good, routes: [{ name: 'r', match: {}, to: [{ pool: 'p', weight: -1 }] }] },
      /^routes\[0\]\.to\[0\]\.weight: /,
    ],
    [withPool({ members: ['w1', 'w2'] }), /^pools\.p\.members\[1\]: no worker is called "w2"/],
    [withPool({ members: ['w1', 'w1'] }), /^pools\.p\.members: names a worker twice/],
    [withPool({ slots: stray }), /^pools\.p\.slots\[77\]: owner 1 is not a member/],
    [withPool({ slots: new Uint16Array(5) }), /^pools\.p\.slots: must be 16384, not 5/],
    [withPool({ policy: 'random' }), /^pools\.p\.slots: policy random has no slots/],
    [withPool({ maxLoad: 0.9 }), /^pools\.p\.maxLoad: /],
    [withPool({ name: 'q' }), /^pools\.p: is called "q" inside/],
    [withWorker({ pool: 'other' }), /^pools\.p\.members\[0\]: worker "w1" belongs to pool "other"/],
    [withWorker({ link: 'http://x:1' }), /^workers\.w1: its link "http:\/\/x:1"/],
    [
      { ...good, gateways: new Map([['g1', { ...gateway, ws: 'nowhere' }]]) },
      /^gateways\.g1: its ws address "nowhere"/,
    ],
  ]
  for (const [table, problem] of cases) t.match(checkTable(table)[0], problem, String(problem))
})

t.test('at most twenty problems are listed', async (t) => {
  const members = Array.from({ length: 500 }, (_, i) => `gone-${i}`)
  t.equal(checkTable(withPool({ members })).length, 20)
})

t.test('links are TCP, TLS or Unix sockets with a usable address', async (t) => {
  const usable = (link: string): boolean => workerProblem({ ...worker, link }) === undefined
  for (const link of ['tcp://h:1', 'tls://w.example:65535', 'tcp://[::1]:9000', 'unix:/run/w.sock'])
    t.ok(usable(link), link)
  for (const link of [
    'tcp://h',
    'tcp://h:0',
    'tcp://h:65536',
    'tcp://:1',
    'udp://h:1',
    'unix:',
    'unix:x',
    'unix:/\0',
    'tcp://h:1/x',
    '',
  ]) {
    t.notOk(usable(link), link)
  }
})

t.test('ids without a character or with control characters are refused', async (t) => {
  for (const id of ['', 'a\nb', '\x7f', 'x'.repeat(257)]) t.match(workerProblem({ ...worker, id }), /its id/)
  t.equal(workerProblem({ ...worker, id: 'wörker/1' }), undefined)
})

t.test('a gateway without MQTT is fine, one with an address that is none is not', async (t) => {
  t.equal(gatewayProblem({ ...gateway, mqtt: '' }), undefined)
  t.match(gatewayProblem({ ...gateway, mqtt: 'g1:1883' }), /mqtt address/)
  t.match(gatewayProblem({ ...gateway, peers: ['http://h:1', 'h:2'] }), /peer address "h:2"/)
  t.match(gatewayProblem({ ...gateway, location: { lat: 91, lon: 0 } }), /location/)
  t.match(gatewayProblem({ ...gateway, capacity: Number.NaN }), /capacity/)
})
