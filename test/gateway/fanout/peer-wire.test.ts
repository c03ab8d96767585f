import t from 'tap'
import { OctetWriter } from '../../../gateway/fanout/octets.js'
import {
  type PeerSink,
  readRecords,
  writeAck,
  writeAnswer,
  writeAsk,
  writeHello,
  writeInterest,
  writeMark,
  writeMessage,
  writeRetained,
  writeSynced,
} from '../../../gateway/fanout/peer-wire.js'
import { seededRandom } from '../../seeded-random.js'
import { message } from './fixtures.js'

function written(write: (out: OctetWriter) => void): Uint8Array {
  const out = new OctetWriter(4)
  write(out)
  return out.take()
}

const hex = (write: (out: OctetWriter) => void) => Buffer.from(written(write)).toString('hex')

function collect(): { sink: PeerSink; got: unknown[] } {
  const got: unknown[] = []
  const sink: PeerSink = {
    hello: (protocol, id) => got.push(['hello', protocol, id]),
    interest: (filter, members) => got.push(['interest', filter, members]),
    mark: (version) => got.push(['mark', version]),
    ack: (version) => got.push(['ack', version]),
    message: ({ topic, payload }, shared) => got.push(['message', topic, payload.length, shared]),
    retained: ({ topic, payload }) => got.push(['retained', topic, payload.length]),
    synced: () => got.push(['synced']),
    ask: (number, body) => got.push(['ask', number, body.length]),
    answer: (number, body) => got.push(['answer', number, body.length]),
  }
  return { sink, got }
}

t.test('golden vectors of every record', async (t) => {
  t.equal(
    hex((out) => writeHello(out, 'g1')),
    '010401026731',
  )
  t.equal(
    hex((out) => writeInterest(out, 'a/#', 1)),
    '020401612f23',
  )
  t.equal(
    hex((out) => writeInterest(out, '$share/g/a', 300)),
    '020cac0224' + '73686172652f672f61',
  )
  t.equal(
    hex((out) => writeMark(out, 300)),
    '0302ac02',
  )
  t.equal(
    hex((out) => writeAck(out, 1)),
    '040101',
  )
  const x = message('a', 'x', { at: 1 })
  t.equal(
    hex((out) => writeMessage(out, x)),
    '050800' + '01000101610078',
  )
  t.equal(
    hex((out) => writeMessage(out, x, ['$share/g/a'])),
    '0513010a' + '2473686172652f672f61' + '01000101610078',
  )
  t.equal(
    hex((out) => writeRetained(out, message('a', 'x', { at: 1, retain: true }))),
    '060701040101610078',
  )
  t.equal(hex(writeSynced), '0700')
  t.equal(
    hex((out) => writeAsk(out, 300, Uint8Array.of(1, 2))),
    '0804ac020102',
  )
  t.equal(
    hex((out) => writeAnswer(out, 300, Uint8Array.of(9))),
    '0903ac0209',
  )
  t.equal(
    hex((out) => writeAnswer(out, 1, new Uint8Array(0))),
    '090101',
  )
})

t.test('a row of records comes back in order, unknown kinds are skipped', async (t) => {
  const { sink, got } = collect()
  const bytes = written((out) => {
    writeHello(out, 'gateway-1')
    writeInterest(out, 'é/+', 2)
    out.u8(99)
    out.octets(Uint8Array.of(1, 2, 3))
    writeMark(out, 7)
    writeMessage(out, message('a/b', 'hello'), ['$share/g/a/+', '$share/h/#'])
    writeRetained(out, message('r', ''))
    writeSynced(out)
    writeAck(out, 9)
    writeAsk(out, 1, Uint8Array.of(1, 2, 3))
    writeAnswer(out, 2 ** 40, new Uint8Array(0))
  })
  readRecords(bytes, sink)
  t.same(got, [
    ['hello', 1, 'gateway-1'],
    ['interest', 'é/+', 2],
    ['mark', 7],
    ['message', 'a/b', 5, ['$share/g/a/+', '$share/h/#']],
    ['retained', 'r', 0],
    ['synced'],
    ['ack', 9],
    ['ask', 1, 3],
    ['answer', 2 ** 40, 0],
  ])
})

t.test('what a question and an answer say outlives the bytes that they came in', async (t) => {
  const bytes = written((out) => {
    writeAsk(out, 1, Uint8Array.of(1, 2))
    writeAnswer(out, 1, Uint8Array.of(3))
  })
  const bodies: Uint8Array[] = []
  const keep = (_number: number, body: Uint8Array) => bodies.push(body)
  readRecords(bytes, { ...collect().sink, ask: keep, answer: keep })
  bytes.fill(0)
  t.same(bodies, [Uint8Array.of(1, 2), Uint8Array.of(3)])
})

t.test('hostile bytes end in a RangeError or TypeError', async (t) => {
  const random = seededRandom(7)
  const seed = written((out) => {
    writeHello(out, 'g')
    writeInterest(out, 'a/b', 1)
    writeMessage(out, message('a/b', 'hello'), ['$share/g/a/+'])
    writeRetained(out, message('r', 'x'))
    writeMark(out, 1234)
    writeAsk(out, 77, Uint8Array.of(1, 2, 3))
    writeAnswer(out, 77, Uint8Array.of(1, 2, 3))
  })
  let refused = 0
  for (let round = 0; round < 20_000; round++) {
    const bytes = seed.slice(0, 1 + Math.floor(random() * seed.length))
    for (let i = 0; i < 3; i++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
    try {
      readRecords(bytes, collect().sink)
    } catch (error) {
      refused++
      if (!(error instanceof RangeError || error instanceof TypeError)) throw error
    }
  }
  t.ok(refused > 1000, `${refused} refused`)
  t.throws(() => readRecords(Buffer.from('0109ff', 'hex'), collect().sink), /9 bytes/)
  t.throws(() => readRecords(Buffer.from('0509ffffffff7f000000', 'hex'), collect().sink))
})
