import fc from 'fast-check'
import { Packr } from 'msgpackr'
import t from 'tap'
import { type ControlMessage, packControl, unpackControl } from '../../proto/control.js'
import { SluiceError } from '../../proto/errors.js'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const text = (ascii: string): string => Buffer.from(ascii).toString('hex')

const messages: ControlMessage[] = [
  {
    t: 'register_worker',
    protocol: 1,
    id: 'w',
    pool: 'p',
    link: 'tcp://h:1',
    weight: 1,
    pid: 2,
    incarnation: 'i',
    sessions: 0,
  },
  {
    t: 'register_gateway',
    ...{ protocol: 1, id: 'g', region: 'r', location: { lat: 48.1, lon: -11.5 }, http: 'h', ws: 'w', mqtt: 'm' },
    ...{ capacity: 0, pid: 1, incarnation: 'i', tableVersion: 3 },
  },
  { t: 'registered', id: 'w', coordinator: 'c', heartbeatMs: 500 },
  { t: 'refused', code: 'conflict', message: 'm' },
  { t: 'worker_heartbeat', sessions: 5, lagMs: 1 },
  {
    ...{ t: 'gateway_heartbeat', sessions: 5, lagMs: 0, p99Ms: 1.25 },
    ...{ pools: { p: { workers: { a: 1, b: 2 }, slots: [1, 2, 3, 4] } } },
    counters: { connects: 1, disconnects: 2, errors: 3, framesUp: 2 ** 40, framesDown: 5 },
  },
  { t: 'link_report', worker: 'w', event: 'down', detail: 'd' },
  { t: 'snapshot', version: 7, table: Uint8Array.of(1, 2) },
  { t: 'delta', from: 7, to: 8, delta: Uint8Array.of(3) },
  { t: 'ack', version: 8 },
  { t: 'nack', version: 8, serving: 7, code: 'table_rejected', message: 'm' },
  { t: 'fleet_load', gateways: { a: 1 } },
  { t: 'query', id: 1, what: 'session', device: 'd' },
  { t: 'answer', id: 1, body: { any: ['thing', null, 1.5] } },
  { t: 'drain', id: 'w' },
  { t: 'drained', id: 'w' },
  { t: 'drain_gateway', draining: true, windowMs: 10 },
  { t: 'move_budget', perSecond: 100, inFlight: 10, paused: false },
  {
    t: 'move_report',
    version: 1,
    pool: 'p',
    planned: 1,
    done: 1,
    failed: 0,
    receipts: [{ device: 'd', from: 'a', to: 'b', lastSeq: 1, firstSeq: 2, pauseMs: 3 }],
  },
]

t.test('every control message comes back as it went', async (t) => {
  for (const message of messages) t.same(unpackControl(packControl(message)), message, message.t)
})

t.test('golden vectors: what a worker is sent is a plain map, the rest are records', async (t) => {
  t.equal(
    hex(packControl({ t: 'registered', id: 'w', coordinator: 'c', heartbeatMs: 500 })),
    `84a1${text('t')}aa${text('registered')}a2${text('id')}a1${text('w')}ab${text('coordinator')}a1${text('c')}ab${text('heartbeatMs')}cd01f4`,
  )
  t.equal(
    hex(packControl({ t: 'drained', id: 'w' })),
    `82a1${text('t')}a7${text('drained')}a2${text('id')}a1${text('w')}`,
  )
  t.equal(hex(packControl({ t: 'ack', version: 8 })), `d4724092a1${text('t')}a7${text('version')}a3${text('ack')}08`)
})

t.test('a worker in another language may send plain maps', async (t) => {
  const plain = new Packr({ useRecords: false })
  for (const message of messages) t.same(unpackControl(plain.pack(message)), message, message.t)
})

t.test('definitions of records do not leak from one message to the next', async (t) => {
  const [first] = messages as [ControlMessage]
  packControl(first)
  // The body of a record without its definition means nothing by itself.
  t.throws(() => unpackControl(Buffer.from('40a161', 'hex')), { code: 'bad_request' })
  t.same(unpackControl(packControl(first)), first)
})

t.test('what cannot be decoded is a SluiceError, however deep or broken (seeded fuzz)', async (t) => {
  for (const bytes of ['', '91'.repeat(100_000), 'c0c0', 'dfffffffff']) {
    t.throws(() => unpackControl(Buffer.from(bytes, 'hex')), { code: 'bad_request' })
  }
  const packed = messages.map((message) => packControl(message))
  fc.assert(
    fc.property(
      fc.nat(packed.length - 1),
      fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 4 }),
      fc.nat(250),
      (which, flips, cut) => {
        const bytes = (packed[which] as Uint8Array).slice(0, cut)
        for (const [at, value] of flips) if (at < bytes.length) bytes[at] = value
        try {
          unpackControl(bytes)
        } catch (error) {
          if (!(error instanceof SluiceError)) throw error
        }
      },
    ),
    { numRuns: 5000, seed: 11 },
  )
})
