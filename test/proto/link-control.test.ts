import fc from 'fast-check'
import { Packr } from 'msgpackr'
import t from 'tap'
import { SluiceError } from '../../proto/errors.js'
import { varintSize, writeVarint } from '../../proto/frame.js'
import {
  type LinkControl,
  packLinkControl,
  readAck,
  readAttach,
  readAttached,
  readClose,
  readDetach,
  readDetached,
  readHello,
  readLoad,
  readRefused,
  unpackLinkControl,
} from '../../proto/link-control.js'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const text = (ascii: string): string => Buffer.from(ascii).toString('hex')
/** Another encoder's map: whatever the SDK would never write. */
const foreign = (value: unknown): Uint8Array => new Packr({ useRecords: false }).pack(value)
const attach = {
  session: 's',
  device: 'd',
  protocol: 'mqtt',
  attributes: { a: 'b' },
  epoch: 3,
  table: 9,
  acked: 4,
  redelivered: false,
}

t.test('golden vectors: plain msgpack maps that any library reads', async (t) => {
  t.equal(hex(packLinkControl({ epoch: 7 })), `81a5${text('epoch')}07`)
  t.equal(
    hex(packLinkControl({ protocol: 1, id: 'w', role: 'worker', sessions: 300 })),
    `84a8${text('protocol')}01a2${text('id')}a1${text('w')}a4${text('role')}a6${text('worker')}a8${text('sessions')}cd012c`,
  )
  t.equal(
    hex(packLinkControl({ epoch: 1, acked: 2, sent: 3, state: Uint8Array.of(9, 8) })),
    `84a5${text('epoch')}01a5${text('acked')}02a4${text('sent')}03a5${text('state')}c4020908`,
  )
})

t.test('every record comes back as it went, absent fields left out', async (t) => {
  const cases: [LinkControl, (bytes: Uint8Array) => LinkControl][] = [
    [{ protocol: 1, id: 'g', role: 'gateway', token: 'x' }, readHello],
    [{ protocol: 1, id: 'w', role: 'worker', pool: 'p', sessions: 3, draining: true }, readHello],
    [attach, readAttach],
    [{ ...attach, slot: 16_383, sent: 2 ** 40, state: Uint8Array.of(1) }, readAttach],
    [{ epoch: Number.MAX_SAFE_INTEGER }, readAttached],
    [{ epoch: 1, code: 'stale_epoch', message: 'm', retryAfterMs: 5 }, readRefused],
    [{ epoch: 1 }, readDetach],
    [{ epoch: 1, acked: 2, sent: 3 }, readDetached],
    [{ code: 'closed' }, readClose],
    [{ sessions: 0 }, readLoad],
  ]
  for (const [message, read] of cases) {
    const back = read(packLinkControl(message))
    t.same({ ...back }, message)
    t.same(Object.keys(back).sort(), Object.keys(message).sort())
  }
  t.notOk(
    'token' in unpackLinkControl(packLinkControl({ protocol: 1, id: 'g', role: 'gateway', token: undefined } as never)),
  )
})

t.test('what other encoders write is taken: unknown names, nil, 64-bit integers', async (t) => {
  const back = readAttach(foreign({ ...attach, epoch: 3n, slot: null, state: null, future: { deep: [1] } }))
  t.equal(back.epoch, 3)
  t.notOk('slot' in back || 'state' in back || 'future' in back)
  t.same(
    { ...readAttach(foreign({ session: 's', device: 'd', protocol: 'p', epoch: 1 })) },
    {
      session: 's',
      device: 'd',
      protocol: 'p',
      attributes: {},
      epoch: 1,
      table: 0,
      acked: 0,
      redelivered: false,
    },
  )
})

t.test('a wrong field is refused by its name', async (t) => {
  const cases: [string, object][] = [
    ['session', { ...attach, session: 3 }],
    ['device', { ...attach, device: 'x'.repeat(8193) }],
    ['epoch', { ...attach, epoch: -1 }],
    ['epoch', { ...attach, epoch: 1.5 }],
    ['epoch', { ...attach, epoch: 2 ** 60 }],
    ['acked', { ...attach, acked: 'x' }],
    ['redelivered', { ...attach, redelivered: 1 }],
    ['state', { ...attach, state: 'text' }],
    ['attributes', { ...attach, attributes: ['a'] }],
    ['a', { ...attach, attributes: { a: 1 } }],
    ['attributes', { ...attach, attributes: Object.fromEntries(Array.from({ length: 257 }, (_, i) => [i, 'x'])) }],
  ]
  for (const [path, message] of cases) t.throws(() => readAttach(foreign(message)), { code: 'bad_request', path })
  t.throws(() => readHello(foreign({ protocol: 1, id: 'x', role: 'device' })), { code: 'bad_request', path: 'role' })
})

t.test('what is not one map is refused, however deep or long (seeded fuzz)', async (t) => {
  for (const bytes of ['', '90', 'c0', 'a161', '80c0', '91'.repeat(100_000), 'dfffffffff']) {
    t.throws(() => unpackLinkControl(Buffer.from(bytes, 'hex')), { code: 'bad_request' })
  }
  const whole = packLinkControl({ ...attach, state: Uint8Array.of(1, 2, 3) })
  const flip = fc.tuple(fc.nat(whole.length - 1), fc.nat(255))
  fc.assert(
    fc.property(fc.array(flip, { minLength: 1, maxLength: 4 }), fc.nat(whole.length), (flips, cut) => {
      const bytes = whole.slice(0, cut)
      for (const [at, value] of flips) if (at < cut) bytes[at] = value
      try {
        readAttach(bytes)
      } catch (error) {
        if (!(error instanceof SluiceError)) throw error
      }
    }),
    { numRuns: 5000, seed: 3 },
  )
})

t.test('state is a copy: the record it came in is reused', async (t) => {
  const bytes = packLinkControl({ ...attach, state: Uint8Array.of(1, 2, 3) })
  const { state } = readAttach(bytes)
  bytes.fill(0)
  t.same([...(state as Uint8Array)], [1, 2, 3])
})

t.test('an ACK is exactly one varint', async (t) => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (seq) => {
      const bytes = new Uint8Array(varintSize(seq) + 4)
      const end = writeVarint(bytes, 2, seq)
      if (readAck(bytes, 2, end) !== seq) throw new Error('another value')
    }),
  )
  for (const bytes of ['', '80', '0101', 'ffffffffffffff10', '808080808080808001']) {
    t.throws(() => readAck(Buffer.from(bytes, 'hex')), { code: 'bad_request' })
  }
})
