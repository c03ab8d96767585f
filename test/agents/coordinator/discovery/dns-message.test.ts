import fc from 'fast-check'
import t from 'tap'
import { encodeSrvQuestion, readSrvAnswer } from '../../../../agents/coordinator/discovery/dns-message.js'
import { SluiceError } from '../../../../proto/errors.js'
import { type AnswerOptions, answerTo, dnsName } from './dns-answer.js'

const QUESTION = encodeSrvQuestion(0x1234, '_sluice._tcp.test')
const read = (options: AnswerOptions) => readSrvAnswer(answerTo(QUESTION, options), QUESTION)
const srv = (port: number, ttl = 60) => ({ name: 'a.test', port, priority: 1, weight: 2, ttl })

t.test('a question is these bytes', async (t) => {
  const hex = '123401000001000000000000075f736c75696365045f746370047465737400' + '00210001'
  t.equal(Buffer.from(QUESTION).toString('hex'), hex)
  t.same(encodeSrvQuestion(0x1234, '_sluice._tcp.test.'), QUESTION)
})

const EXPECTED = {
  code: 0,
  truncated: false,
  records: [{ priority: 3, weight: 5, port: 9000, name: 'a.test' }],
  ttl: 60,
}

t.test('an answer of dnsmasq 2.90, as it came over the wire', async (t) => {
  const hex =
    '123485800001000100000001075f736c75696365045f74637004746573740000210001c00c002100010000003c000e00030005232801610474' +
    '65737400c035000100010000003c00040a000001'
  t.same(readSrvAnswer(Buffer.from(hex, 'hex'), QUESTION), EXPECTED)
})

t.test('a target whose name is compressed is read, although servers should not do that', async (t) => {
  const hex =
    '123485800001000100000000075f736c75696365045f74637004746573740000210001c00c002100010000003c000a0003000523280161c019'
  t.same(readSrvAnswer(Buffer.from(hex, 'hex'), QUESTION), EXPECTED)
})

t.test('the TTL is the least of the records; without records it is what the SOA says of nothing', async (t) => {
  t.equal(read({ records: [srv(1, 60), srv(2, 5), srv(3, 90)] }).ttl, 5)
  t.equal(read({ code: 3, soa: [3600, 30] }).ttl, 30)
  t.equal(read({ soa: [10, 30] }).ttl, 10)
  t.equal(read({}).ttl, undefined)
  t.equal(read({ records: [srv(1, 0x80000000)] }).ttl, 0)
})

t.test('codes and truncation are told', async (t) => {
  t.match(read({ code: 2 }), { code: 2, records: [] })
  t.match(read({ truncated: true }), { truncated: true })
  t.match(read({ records: [{ ...srv(1), name: '' }] }), { records: [{ name: '' }] })
})

t.test('an answer to another question is refused', async (t) => {
  const other = encodeSrvQuestion(0x1234, '_sluice._tcp.tess')
  t.throws(() => readSrvAnswer(answerTo(other, {}), QUESTION), { message: /another question/ })
  const later = encodeSrvQuestion(0x1235, '_sluice._tcp.test')
  t.throws(() => readSrvAnswer(answerTo(later, {}), QUESTION), { message: /not the answer/ })
  t.throws(() => readSrvAnswer(QUESTION, QUESTION), { message: /not the answer/ })
  // Servers may repeat it in other letters.
  const upper = Buffer.from(QUESTION)
  upper.set(dnsName('_SLUICE._tcp.test'), 12)
  t.equal(readSrvAnswer(answerTo(upper, {}), QUESTION).code, 0)
})

t.test('names that go in circles, and records that are cut off, are refused', async (t) => {
  const circle = answerTo(QUESTION, { records: [srv(1)] })
  const at = QUESTION.length
  circle.writeUInt16BE(0xc000 | at, at)
  t.throws(() => readSrvAnswer(circle, QUESTION), { message: /in circles/ })
  const whole = answerTo(QUESTION, { records: [srv(1), srv(2)], soa: [1, 1] })
  for (let length = 0; length < whole.length; length++) {
    t.throws(() => readSrvAnswer(whole.subarray(0, length), QUESTION), { code: 'bad_request' }, `${length} bytes`)
  }
})

t.test('names that DNS cannot be asked for are refused', async (t) => {
  for (const name of ['', '.', 'a..b', 'a'.repeat(64), 'a b', 'ü.test', `${'abcdefgh.'.repeat(40)}test`]) {
    t.throws(() => encodeSrvQuestion(1, name), { code: 'bad_request' }, name)
  }
})

t.test('whatever bytes come, they are an answer or a SluiceError', async () => {
  const whole = answerTo(QUESTION, { records: [srv(1), srv(2)], soa: [1, 1] })
  const spoilt = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 6 }).map((changes) => {
    const bytes = Buffer.from(whole)
    for (const [at, value] of changes) bytes[at] = value
    return bytes
  })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), spoilt), (bytes) => {
      try {
        return readSrvAnswer(bytes, QUESTION).records.length < 1000
      } catch (error) {
        return error instanceof SluiceError
      }
    }),
    { numRuns: 5000, seed: 11 },
  )
})
