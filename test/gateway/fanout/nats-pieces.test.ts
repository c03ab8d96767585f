import fc from 'fast-check'
import t from 'tap'
import { MAX_WHOLE, PIECE_VERSION, PieceJoiner, splitRecord } from '../../../gateway/fanout/nats-pieces.js'
import { OctetWriter } from '../../../gateway/fanout/octets.js'
import { seededRandom } from '../../seeded-random.js'

const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString('hex')

function piece(transfer: number, sender: string, size: number, from: number, body: number[]): Uint8Array {
  const out = new OctetWriter()
  out.u8(PIECE_VERSION)
  out.varint(transfer)
  out.text(sender)
  out.varint(size)
  out.varint(from)
  out.raw(Uint8Array.from(body))
  return out.take()
}

t.test('golden vector', async (t) => {
  const [first, second] = splitRecord(new Uint8Array(400).fill(7), 300, 'g', 300) as [Uint8Array, Uint8Array]
  t.equal(hex(first.subarray(0, 9)), '02ac02' + '0167' + '9003' + '00' + '07')
  t.equal(hex(second.subarray(0, 10)), '02ac02' + '0167' + '9003' + '8f02' + '07')
  t.ok(first.length <= 300 && second.length <= 300)
})

t.test('what was split comes back as it was, and every piece fits', async (t) => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 20_000 }),
        fc.integer({ min: 400, max: 4000 }),
        (record, most) => {
          const joiner = new PieceJoiner()
          const pieces = splitRecord(record, most, 'gateway-é/1', 9) as Uint8Array[]
          const got = pieces.map((one) => joiner.take(one))
          return (
            pieces.every(({ length }) => length <= most) &&
            hex(got.pop()) === hex(record) &&
            got.every((one) => one === undefined)
          )
        },
      ),
      { numRuns: 100 },
    ),
  )
})

t.test('a record that is too large, or a limit that leaves no room, is not split', async (t) => {
  t.equal(splitRecord(new Uint8Array(MAX_WHOLE + 1), 1024 * 1024, 'g', 1), undefined)
  t.equal(splitRecord(new Uint8Array(1000), 100, 'g', 1), undefined)
})

t.test('repeated pieces are passed over, lost ones cost their record and no other', async (t) => {
  const joiner = new PieceJoiner()
  const parts = splitRecord(
    Uint8Array.from({ length: 1000 }, (_, i) => i),
    400,
    'g',
    1,
  ) as Uint8Array[]
  const doubled = parts.flatMap((one) => [one, one]).map((one) => joiner.take(one))
  t.equal(doubled.filter((one) => one !== undefined).length, 1)
  t.equal(joiner.take(piece(2, 'g', 4, 0, [1, 2])), undefined)
  t.equal(joiner.take(piece(3, 'g', 4, 2, [3, 4])), undefined, 'its beginning is lost')
  t.equal(joiner.take(piece(4, 'g', 2, 0, [1])), undefined)
  t.equal(joiner.take(piece(2, 'g', 4, 2, [3, 4])), undefined, 'another record has begun since')
  t.equal(joiner.take(piece(9, 'other', 2, 0, [8])), undefined, 'senders do not disturb each other')
  t.equal(hex(joiner.take(piece(4, 'g', 2, 1, [2]))), '0102')
})

t.test('unfinished records are bounded: the oldest are given up', async (t) => {
  const joiner = new PieceJoiner(10_000)
  for (let i = 0; i < 10; i++) joiner.take(piece(1, `s${i}`, 2000, 0, [1]))
  const rest = Array.from({ length: 1999 }, () => 2)
  t.equal(joiner.take(piece(1, 's0', 2000, 1, rest)), undefined)
  t.equal(joiner.take(piece(1, 's9', 2000, 1, rest))?.length, 2000)
})

t.test('hostile bytes end in a RangeError or TypeError', async (t) => {
  t.throws(() => new PieceJoiner().take(piece(1, 'g', MAX_WHOLE + 1, 0, [1])), RangeError)
  t.throws(() => new PieceJoiner().take(piece(1, 'g', 2, 1, [1, 2])), RangeError)
  t.throws(() => new PieceJoiner().take(piece(1, 'g', 2, 1, [])), RangeError)
  const random = seededRandom(11)
  const seed = piece(300, 'gateway/1', 20, 0, [1, 2, 3, 4])
  let refused = 0
  for (let round = 0; round < 20_000; round++) {
    const bytes = seed.slice(0, 1 + Math.floor(random() * seed.length))
    for (let i = 0; i < 2; i++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
    try {
      new PieceJoiner().take(bytes)
    } catch (error) {
      refused++
      if (!(error instanceof RangeError || error instanceof TypeError)) throw error
    }
  }
  t.ok(refused > 1000, `${refused} refused`)
})
