import { strictEqual as equal, deepStrictEqual as same } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import {
  APPENDIX_SIZE,
  appendAck,
  appendRedelivered,
  appendSeq,
  encodeFrame,
  type FrameFields,
  FrameType,
  FrameView,
  frameHeadSize,
  varintSize,
  writeFrameHead,
  writeVarint,
} from '../../proto/frame.js'
import { sluice } from '../../proto/generated/frame.js'

const Reference = sluice.v1.Frame
const utf8 = new TextEncoder()
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const unhex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))

/** What both codecs say of a frame, in one shape. */
interface Plain {
  type: number
  seq: number
  ack: number
  topic: string
  payload: string
  headers: Record<string, string>
  redelivered: boolean
}

function viewed(view: FrameView): Plain {
  const { type, seq, ack, redelivered } = view
  return {
    type,
    seq,
    ack,
    topic: view.topic(),
    payload: hex(view.payload()),
    headers: { ...view.headers() },
    redelivered,
  }
}

function referred(bytes: Uint8Array): Plain {
  const { type, seq, ack, topic, payload, headers, redelivered } = Reference.decode(bytes)
  return {
    type,
    seq: Number(seq),
    ack: Number(ack),
    topic,
    payload: hex(payload),
    headers: { ...headers },
    redelivered,
  }
}

const count = fc.oneof(fc.nat(300), fc.maxSafeNat())
/** Valid Unicode: a lone surrogate has no UTF-8. */
const text = fc.string({ unit: 'grapheme', maxLength: 90 })
const frames: fc.Arbitrary<Required<FrameFields>> = fc.record({
  type: fc.constantFrom(...Object.values(FrameType)),
  seq: count,
  ack: count,
  topic: text,
  payload: fc.uint8Array({ maxLength: 300 }),
  headers: fc.dictionary(text, text, { maxKeys: 4 }),
  redelivered: fc.boolean(),
})

t.test('golden vectors: these bytes are the public contract', async (t) => {
  const vectors: [string, FrameFields, string][] = [
    ['nothing', {}, ''],
    ['DATA', { topic: 'a/b', payload: utf8.encode('hi') }, '22 03 612f62 2a 02 6869'],
    [
      'PUBLISH with seq',
      { type: FrameType.PUBLISH, seq: 300, topic: 't', payload: Uint8Array.of(0) },
      '08 01 10 ac02 22 01 74 2a 01 00',
    ],
    ['ACK', { type: FrameType.ACK, ack: 7 }, '08 04 18 07'],
    ['headers', { headers: { code: 'x' } }, '32 09 0a 04 636f6465 12 01 78'],
    ['redelivered', { seq: 1, redelivered: true }, '10 01 38 01'],
    ['the largest seq', { seq: Number.MAX_SAFE_INTEGER }, '10 ffffffffffffff0f'],
  ]
  for (const [name, frame, bytes] of vectors) {
    t.equal(hex(encodeFrame(frame)), bytes.replaceAll(' ', ''), name)
    const view = new FrameView()
    t.ok(view.read(unhex(bytes)), name)
    t.same(viewed(view), referred(unhex(bytes)), name)
  }
})

t.test('the hand-written codec and the generated one agree, both ways', async () => {
  fc.assert(
    fc.property(frames, (frame) => {
      const mine = encodeFrame(frame)
      const theirs = Reference.encode(frame).finish()
      const view = new FrameView()
      for (const bytes of [mine, theirs]) {
        if (!view.read(bytes)) throw new Error(`not read: ${hex(bytes)}`)
        same(viewed(view), referred(bytes))
      }
      same(referred(mine), referred(theirs))
    }),
    { numRuns: 300 },
  )
})

t.test('appended fields replace earlier ones, also behind headers', async () => {
  fc.assert(
    fc.property(frames, count, count, (frame, seq, ack) => {
      const bytes = encodeFrame(frame)
      const extended = new Uint8Array(bytes.length + APPENDIX_SIZE)
      extended.set(bytes)
      let end = appendSeq(extended, bytes.length, seq)
      end = appendAck(extended, end, ack)
      end = appendRedelivered(extended, end)
      const view = new FrameView()
      if (!view.read(extended, 0, end)) throw new Error('not read')
      const expected = { ...viewed(view), seq, ack, redelivered: true }
      same(viewed(view), expected)
      same(referred(extended.subarray(0, end)), expected)
    }),
    { numRuns: 200 },
  )
})

t.test('headers before a seq whose byte looks like a header tag are read, and end', async (t) => {
  const bytes = unhex('32 06 0a 01 61 12 01 62 10 32')
  const view = new FrameView()
  t.ok(view.read(bytes))
  t.same({ ...view.headers() }, { a: 'b' })
  t.equal(view.seq, 50)
})

t.test('what is cut off, wrong or a group is not a frame', async (t) => {
  const bad: [string, string][] = [
    ['a topic that is longer than the bytes', '22 05 61'],
    ['a header entry that is cut off', '32 01 0a'],
    ['a header value that runs out of its entry', '32 03 0a 05 61 61 61 61 61'],
    ['a header key as a number', '32 02 08 01'],
    ['seq as bytes', '12 01 61'],
    ['topic as a number', '20 01'],
    ['a group', '3b 3c'],
    ['a known field with an overlong tag', 'a2 00 01 61'],
    ['field 0', '00 01'],
    ['seq above 2^53 - 1', '10 ff ff ff ff ff ff ff 10'],
    ['a varint without end', '10 ff'],
    ['an unknown varint of 11 bytes', '40 ff ff ff ff ff ff ff ff ff ff 01'],
  ]
  const view = new FrameView()
  for (const [name, bytes] of bad) t.equal(view.read(unhex(bytes)), false, name)
})

t.test('unknown fields are skipped, in frames and in header entries', async (t) => {
  const view = new FrameView()
  const bytes =
    '40 ff ff ff ff ff ff ff ff ff 01  49 0102030405060708  55 01020304  52 02 6161  10 05  32 0a 0a 01 61 18 05 22 00 12 01 62'
  t.ok(view.read(unhex(bytes)))
  t.equal(view.seq, 5)
  t.same({ ...view.headers() }, { a: 'b' })
})

t.test('a frame in the middle of a buffer is read where it lies', async (t) => {
  const frame = encodeFrame({ topic: 'x', payload: Uint8Array.of(1, 2), headers: { h: 'v' } })
  const around = new Uint8Array(frame.length + 20).fill(0xff)
  around.set(frame, 10)
  const view = new FrameView()
  t.ok(view.read(around, 10, 10 + frame.length))
  t.same([view.topic(), hex(view.payload()), { ...view.headers() }], ['x', '0102', { h: 'v' }])
})

t.test('text that is not UTF-8 throws instead of changing', async (t) => {
  const view = new FrameView()
  t.ok(view.read(unhex('22 02 c3 28')))
  t.throws(() => view.topic(), TypeError)
  t.ok(view.read(unhex('32 04 0a 02 c3 28')))
  t.throws(() => view.headers(), TypeError)
})

t.test(
  'whatever is read agrees with the generated codec; nothing hangs or runs out of the frame (seeded fuzz)',
  async (t) => {
    const view = new FrameView()
    let accepted = 0
    fc.assert(
      fc.property(
        frames,
        fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 3 }),
        fc.nat(400),
        (frame, flips, cut) => {
          const bytes = encodeFrame({ ...frame, topic: frame.topic.slice(0, 8), payload: frame.payload.subarray(0, 8) })
          for (const [at, value] of flips) if (at < bytes.length) bytes[at] = value
          const cutBytes = cut < bytes.length ? bytes.slice(0, cut) : bytes
          if (!view.read(cutBytes)) return
          let mine: Plain
          try {
            mine = viewed(view)
          } catch (error) {
            if (error instanceof TypeError) return
            throw error
          }
          accepted++
          same({ ...mine, type: mine.type | 0 }, referred(cutBytes), hex(cutBytes))
        },
      ),
      { numRuns: 2000, seed: 20_260_722 },
    )
    t.ok(accepted > 300, `${accepted} of the broken frames were still frames`)
  },
)

t.test('random bytes never make the reader throw or hang (seeded fuzz)', async (t) => {
  const view = new FrameView()
  // Bytes that mean something are likelier than chance would have them.
  const byte = fc.oneof(fc.nat(255), fc.constantFrom(0x08, 0x10, 0x22, 0x2a, 0x32, 0x38, 0x0a, 0x12, 0, 1, 2, 3))
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 40 }), (bytes) => {
      if (!view.read(Uint8Array.from(bytes))) return
      try {
        view.topic()
        view.headers()
      } catch (error) {
        if (!(error instanceof TypeError)) throw error
      }
    }),
    { numRuns: 20_000, seed: 1 },
  )
  t.pass('it ended')
})

t.test('varints and heads take the bytes that their sizes promise', async () => {
  const into = new Uint8Array(700)
  fc.assert(
    fc.property(count, fc.uint8Array({ maxLength: 300 }), fc.nat(300), (value, topic, length) => {
      equal(writeVarint(into, 0, value), varintSize(value))
      const head = writeFrameHead(into, 0, 1, value, topic, length)
      if (head > frameHeadSize(topic.length, length)) throw new Error(`${head} bytes`)
    }),
  )
})
