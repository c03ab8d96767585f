import { deepStrictEqual as same } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { encodeFrame } from '../../proto/frame.js'
import { LinkKind, MAX_RECORD, RECORD_HEADER, RecordBatch, RecordReader } from '../../proto/link.js'

type Seen = [kind: number, binding: number, body: string]
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** What a reader makes of these chunks. */
function read(chunks: readonly Uint8Array[], limit?: number): Seen[] {
  const seen: Seen[] = []
  const reader = new RecordReader((kind, binding, bytes, start, end) => {
    seen.push([kind, binding, hex(bytes.subarray(start, end))])
  }, limit)
  for (const chunk of chunks) reader.push(chunk)
  return seen
}

function batch(records: readonly (readonly [number, number, Uint8Array])[], initial?: number): Uint8Array {
  const into = new RecordBatch(initial)
  for (const [kind, binding, body] of records) into.add(kind, binding, body)
  return into.take().slice()
}

const records = fc.array(fc.tuple(fc.nat(255), fc.nat(0xffffffff), fc.uint8Array({ maxLength: 40 })), {
  minLength: 1,
  maxLength: 8,
})

/** A stream whose peer stands still from the first write on, or takes everything. */
class Stream {
  readonly kept: Uint8Array[] = []
  writableLength = 0
  constructor(readonly takes: boolean) {}

  write(bytes: Uint8Array): void {
    this.kept.push(this.takes ? bytes.slice() : bytes)
    if (!this.takes) this.writableLength += bytes.length
  }
}

t.test('what a stream keeps is not written over, and keeps no more memory than it needs', async (t) => {
  const stream = new Stream(false)
  const into = new RecordBatch()
  let behind = false
  for (let i = 0; i < 5000; i++) {
    into.add(LinkKind.FRAME, i, Uint8Array.of(1, 2, 3))
    behind = !into.writeTo(stream, behind)
    t.ok(behind)
  }
  const seen: number[] = []
  const reader = new RecordReader((_kind, binding) => seen.push(binding))
  for (const bytes of stream.kept) reader.push(bytes)
  t.same(
    seen,
    Array.from({ length: 5000 }, (_, i) => i),
  )
  const memory = [...new Set(stream.kept.map(({ buffer }) => buffer))].reduce(
    (sum, { byteLength }) => sum + byteLength,
    0,
  )
  t.ok(memory < 5000 * 40 + 2 * 64 * 1024, `${memory} bytes`)
  into.add(LinkKind.FRAME, 1, new Uint8Array(40_000))
  t.notOk(into.writeTo(stream, behind))
  into.add(LinkKind.FRAME, 2, new Uint8Array(40_000).fill(7))
  t.equal(stream.kept.at(-1)?.at(-1), 0, 'a large one is handed over, with its memory')
})

t.test('what a stream takes at once leaves the batch its memory', async (t) => {
  const stream = new Stream(true)
  const into = new RecordBatch()
  const { bytes } = into
  into.add(LinkKind.FRAME, 1, Uint8Array.of(1))
  t.ok(into.writeTo(stream, false))
  into.add(LinkKind.FRAME, 1, Uint8Array.of(1))
  t.ok(into.writeTo(stream, true))
  t.equal(into.bytes, bytes)
  t.equal(into.length, 0)
})

t.test('golden vectors: these bytes are the public contract', async (t) => {
  const into = new RecordBatch()
  into.add(LinkKind.FRAME, 258, encodeFrame({ topic: 'a' }))
  into.addAck(1, 300)
  into.add(LinkKind.PING, 0, new Uint8Array(0))
  into.add(LinkKind.PONG, 0xffffffff, Uint8Array.of(9))
  t.equal(
    hex(into.take()),
    ['08000000 08 02010000 220161', '07000000 09 01000000 ac02', '05000000 0b 00000000', '06000000 0c ffffffff 09']
      .join('')
      .replaceAll(' ', ''),
  )
  t.same(
    LinkKind,
    {
      HELLO: 1,
      ATTACH: 2,
      ATTACHED: 3,
      REFUSED: 4,
      DETACH: 5,
      DETACHED: 6,
      CLOSE: 7,
      FRAME: 8,
      ACK: 9,
      PUBLISH: 10,
      PING: 11,
      PONG: 12,
      LOAD: 13,
    },
    'kinds never change',
  )
})

t.test('records come out as they went in, split at every single byte', async (t) => {
  const bytes = batch([
    [1, 0, Uint8Array.of(1, 2, 3)],
    [8, 7, new Uint8Array(0)],
    [9, 0xfffffffe, new Uint8Array(300).fill(5)],
    [8, 3, Uint8Array.of(4)],
  ])
  const whole = read([bytes])
  t.equal(whole.length, 4)
  for (let at = 0; at <= bytes.length; at++) same(read([bytes.subarray(0, at), bytes.subarray(at)]), whole)
  for (let size = 1; size <= 20; size++) {
    const chunks: Uint8Array[] = []
    for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size))
    same(read(chunks), whole)
  }
})

t.test('records come out as they went in, split anywhere', async () => {
  fc.assert(
    fc.property(records, fc.array(fc.nat(400), { maxLength: 12 }), fc.nat(64), (list, cuts, initial) => {
      const bytes = batch(list, initial + 1)
      const at = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length]
      const chunks = at.slice(1).map((end, i) => bytes.subarray(at[i], end))
      same(
        read(chunks),
        list.map(([kind, binding, body]) => [kind, binding, hex(body)]),
      )
    }),
  )
})

t.test('a length that cannot be is refused as soon as it is known, before anything is reserved', async (t) => {
  const long = Uint8Array.of(255, 255, 255, 255, 8, 1, 0, 0, 0)
  const short = Uint8Array.of(4, 0, 0, 0, 8, 1, 0, 0, 0)
  for (const bytes of [long, short]) {
    t.throws(() => read([bytes]), RangeError)
    t.throws(() => read([bytes.subarray(0, 2), bytes.subarray(2, 4), bytes.subarray(4)]), RangeError)
  }
  t.throws(() => read([batch([[8, 1, new Uint8Array(100)]])], 50), RangeError)
  t.equal(read([batch([[8, 1, new Uint8Array(45)]])], 50).length, 1)
  t.equal(read([batch([[5, 1, new Uint8Array(MAX_RECORD - 5)]])]).length, 1)
})

t.test('bytes of any kind throw RangeErrors or nothing (seeded fuzz)', async () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 6 }), (chunks) => {
      try {
        read(chunks)
      } catch (error) {
        if (!(error instanceof RangeError)) throw error
      }
    }),
    { numRuns: 5000, seed: 7 },
  )
})

t.test('a record that made its reader throw is not seen again', async (t) => {
  let calls = 0
  const reader = new RecordReader(() => {
    calls++
    if (calls === 1) throw new Error('once')
  })
  const bytes = batch([[1, 1, Uint8Array.of(1)]])
  reader.push(bytes.subarray(0, 5))
  t.throws(() => reader.push(bytes.subarray(5)), /once/)
  reader.push(bytes)
  t.equal(calls, 2)
})

t.test('a batch grows, keeps what it has, and leaves taken bytes alone once they were replaced', async (t) => {
  const into = new RecordBatch(16)
  into.add(8, 1, Uint8Array.of(1, 2, 3))
  const pos = into.begin(8, 2, 100)
  into.bytes.fill(7, pos, pos + 10)
  into.end(pos + 10)
  t.equal(into.length, 2 * RECORD_HEADER + 13)
  const taken = into.take()
  const before = hex(taken)
  into.replaceBuffer()
  into.add(9, 3, new Uint8Array(40).fill(255))
  t.equal(hex(taken), before)
  t.same(read([taken]), [
    [8, 1, '010203'],
    [8, 2, '07'.repeat(10)],
  ])
})
