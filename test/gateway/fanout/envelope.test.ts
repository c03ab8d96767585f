import fc from 'fast-check'
import t from 'tap'
import { decodeEnvelope, envelopeOf, isExpired } from '../../../gateway/fanout/envelope.js'
import { isTopicName } from '../../../proto/topic.js'
import { seededRandom } from '../../seeded-random.js'
import { message } from './fixtures.js'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

t.test('golden vectors: the bytes on the wire and on disk never change', async (t) => {
  t.equal(hex(envelopeOf(message('a/b', 'hi', { at: 1 }))), '01000103612f62006869')
  t.equal(
    hex(envelopeOf(message('a', '', { at: 300, qos: 2, retain: true, publisher: 'd1' }))),
    '0106ac02016102' + '6431',
  )
  const properties = {
    payloadFormat: 1 as const,
    expiry: 60,
    contentType: 't',
    responseTopic: 'r',
    correlationData: Uint8Array.of(9),
    user: [
      ['k', '1'],
      ['k', '2'],
    ] as const,
  }
  t.equal(
    hex(envelopeOf(message('a', 'p', { at: 0, qos: 1, properties }))),
    '010900' + '0161' + '00' + '3f' + '01' + '3c' + '0174' + '0172' + '0109' + '02' + '016b0131' + '016b0132' + '70',
  )
})

t.test('every message comes back as it was', async (t) => {
  const text = fc.string({ unit: 'grapheme', maxLength: 20 })
  const properties = fc.record(
    {
      payloadFormat: fc.constantFrom(0 as const, 1 as const),
      expiry: fc.integer({ min: 0, max: 0xffffffff }),
      contentType: text,
      responseTopic: text,
      correlationData: fc.uint8Array({ maxLength: 20 }),
      user: fc.array(fc.tuple(text, text), { maxLength: 4 }),
    },
    { requiredKeys: [] },
  )
  const any = fc.record({
    topic: text.filter(isTopicName),
    payload: fc.uint8Array({ maxLength: 300 }),
    qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
    retain: fc.boolean(),
    publisher: text,
    properties: fc.option(properties, { nil: undefined }),
    at: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  })
  fc.assert(
    fc.property(any, (parts) => {
      const decoded = decodeEnvelope(envelopeOf({ ...parts, encoded: new Map() }))
      const { encoded: _, ...back } = decoded
      t.same(back, parts)
    }),
    { numRuns: 300 },
  )
})

t.test('a message is encoded once', async (t) => {
  const one = message('a', 'x')
  t.equal(envelopeOf(one), envelopeOf(one))
})

t.test(
  'hostile bytes end in a RangeError or TypeError, and never in a message that could not be published',
  async (t) => {
    const random = seededRandom(20261122)
    const properties = { expiry: 5, user: [['a', 'b']] as const, contentType: 'x' }
    const seed = envelopeOf(message('some/topic', 'payload', { qos: 1, publisher: 'dev', properties }))
    let refused = 0
    for (let round = 0; round < 20_000; round++) {
      const bytes = seed.slice(0, 1 + Math.floor(random() * seed.length))
      for (let i = 0; i < 3; i++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
      try {
        const { topic, qos } = decodeEnvelope(bytes)
        if (!isTopicName(topic) || qos > 2) t.fail(`accepted ${hex(bytes)}`)
      } catch (error) {
        refused++
        if (!(error instanceof RangeError || error instanceof TypeError)) throw error
      }
    }
    t.ok(refused > 1000 && refused < 20_000, `${refused} refused`)
    t.throws(() => decodeEnvelope(Buffer.from('02000103612f62006869', 'hex')), /version 2/)
    t.throws(() => decodeEnvelope(Buffer.from('010001' + '022b61' + '00', 'hex')), /topic/)
    t.throws(() => decodeEnvelope(Buffer.from('0108000161' + '00' + '20' + 'ffffff7f', 'hex')), /user properties/)
  },
)

t.test('expiry counts from when the first gateway took the message', async (t) => {
  const one = message('a', 'x', { at: 1000, properties: { expiry: 2 } })
  t.notOk(isExpired(one, 2999))
  t.ok(isExpired(one, 3000))
  t.notOk(isExpired(message('a', 'x'), Number.MAX_SAFE_INTEGER))
})
