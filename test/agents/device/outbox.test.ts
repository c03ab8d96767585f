import { deepStrictEqual as same } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { Outbox } from '../../../agents/device/outbox.js'
import type { FrameFields } from '../../../proto/frame.js'

const limits = { frames: 100, bytes: 100_000, inFlight: 4 }
const drain = (outbox: Outbox): FrameFields[] => {
  const written: FrameFields[] = []
  outbox.drain((frame) => written.push(frame))
  return written
}
const seqs = (frames: FrameFields[]): unknown[] =>
  frames.map(({ seq, topic, redelivered }) => seq ?? `${topic}${redelivered ? '!' : ''}`)

t.test('acknowledged frames are numbered, bounded in flight, and kept until their ack', async (t) => {
  const outbox = new Outbox(limits)
  const settled: number[] = []
  for (let i = 1; i <= 6; i++) void outbox.push({}, true).then(() => settled.push(i))
  t.same(seqs(drain(outbox)), [1, 2, 3, 4])
  t.same(drain(outbox), [])
  outbox.ack(3)
  t.same(seqs(drain(outbox)), [5, 6])
  await null
  t.same(settled, [1, 2, 3])
  outbox.ack(2)
  outbox.ack(99)
  t.equal(outbox.size, 3, 'old and impossible acks change nothing')
  t.equal(outbox.inFlight, 3)
})

t.test('an ack right after a rewind counts, as WELCOME brings one', async (t) => {
  const outbox = new Outbox(limits)
  for (let i = 1; i <= 3; i++) void outbox.push({}, true)
  drain(outbox)
  outbox.rewind()
  outbox.ack(2)
  t.match(drain(outbox), [{ seq: 3, redelivered: true }])
})

t.test('fire-and-forget frames keep their place, and go once', async (t) => {
  const outbox = new Outbox(limits)
  void outbox.push({}, true)
  void outbox.push({ topic: 'once' }, false)
  void outbox.push({}, true)
  t.same(seqs(drain(outbox)), [1, 'once', 2])
  outbox.rewind()
  t.same(seqs(drain(outbox)), [1, 2])
})

t.test('a new session counts from 1, and says what may have been processed', async (t) => {
  const outbox = new Outbox(limits)
  for (let i = 1; i <= 3; i++) void outbox.push({}, true)
  drain(outbox)
  outbox.ack(2)
  void outbox.push({}, true)
  outbox.renumber()
  t.match(drain(outbox), [
    { seq: 1, redelivered: true },
    { seq: 2, redelivered: false },
  ])
})

t.test('it is full by frames or by bytes, and empty when it is given up', async (t) => {
  const few = new Outbox({ ...limits, frames: 1 })
  const first = few.push({}, true)
  t.throws(() => few.push({}, true), { code: 'overloaded' })
  t.throws(() => new Outbox({ ...limits, bytes: 100 }).push({ payload: new Uint8Array(50) }, false), {
    code: 'overloaded',
  })
  few.abandon(new Error('closed'))
  await t.rejects(first, { message: 'closed' })
  t.equal(few.size, 0)
})

t.test(
  'whatever is lost and repeated, a receiver that drops what it has seen gets every frame once, in order',
  async () => {
    const step = fc.constantFrom('push', 'push', 'drain', 'ack', 'rewind')
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.infiniteStream(fc.boolean()), (steps, arrives) => {
        const outbox = new Outbox(limits)
        const received: string[] = []
        let pushed = 0
        const deliver = (frame: FrameFields): void => {
          // A gateway takes the next seq only; a lost one stops all that follow until they come again.
          if (frame.seq === received.length + 1 && arrives.next().value) received.push(frame.topic as string)
        }
        for (const now of [...steps, 'rewind']) {
          if (now === 'push') void outbox.push({ topic: String(++pushed) }, true)
          else if (now === 'drain') outbox.drain(deliver)
          else if (now === 'ack') outbox.ack(received.length)
          else outbox.rewind()
        }
        for (let tries = 0; tries < 200 && outbox.size > 0; tries++) {
          outbox.rewind()
          outbox.drain(deliver)
          outbox.ack(received.length)
        }
        same(
          received,
          Array.from({ length: pushed }, (_, i) => String(i + 1)),
        )
      }),
    )
  },
)
