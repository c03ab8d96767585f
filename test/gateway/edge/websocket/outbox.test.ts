import fc from 'fast-check'
import t from 'tap'
import type { SendOutcome } from '../../../../gateway/edge/server/server.js'
import { Outbox, type Outlet } from '../../../../gateway/edge/websocket/outbox.js'
import { encodeFrame, type FrameFields, FrameType } from '../../../../proto/frame.js'
import { decode } from './fakes.js'

/** An outlet that keeps what it is sent, and whether it was corked. */
class Sink implements Outlet {
  head = -1
  tail = -1
  ackDue = 0
  listed = false
  readonly frames: FrameFields[] = []
  readonly corks: number[] = []
  outcome: SendOutcome = 'ok'
  overruns = 0
  drops = 0

  send(bytes: Uint8Array): SendOutcome {
    if (this.outcome !== 'dropped') this.frames.push(decode(Uint8Array.from(bytes)))
    return this.outcome
  }
  cork(fn: () => void): void {
    const before = this.frames.length
    fn()
    this.corks.push(this.frames.length - before)
  }
  overrun(): void {
    this.overruns++
  }
  dropped(): void {
    this.drops++
  }
}

function setUp(): { outbox: Outbox; turns: (() => void)[] } {
  const turns: (() => void)[] = []
  return { outbox: new Outbox((fn) => turns.push(fn)), turns }
}

const DATA = encodeFrame({ payload: Buffer.from('data') })

t.test('one turn is one cork per outlet, one frame needs none, and the turn is asked for once', async (t) => {
  const { outbox, turns } = setUp()
  const [a, b] = [new Sink(), new Sink()]
  outbox.frame(a, DATA, 0, DATA.length, 1, false, true)
  outbox.frame(b, DATA, 0, DATA.length, -1, false, false)
  outbox.frame(a, DATA, 0, DATA.length, 2, true, true)
  outbox.acknowledge(a, 9)
  t.equal(turns.length, 1)
  t.equal(a.frames.length, 0, 'nothing before the turn ends')
  turns[0]?.()
  const payload = Buffer.from('data')
  t.same(a.frames, [
    { seq: 1, payload },
    { seq: 2, ack: 9, redelivered: true, payload },
  ])
  t.same(b.frames, [{ payload }])
  t.same([a.corks, b.corks], [[2], []])
  outbox.frame(a, DATA, 0, DATA.length, -1, false, false)
  t.equal(turns.length, 2)
  turns[1]?.()
  t.same(a.frames.at(-1), { payload }, 'the acknowledgement was told once')
})

t.test('an acknowledgement behind a shared frame travels as its own, in the same cork', async (t) => {
  const { outbox } = setUp()
  const sink = new Sink()
  const shared = encodeFrame({ type: FrameType.PUBLISH, topic: 'a' })
  const before = Buffer.from(shared)
  outbox.shared(sink, shared, false)
  outbox.acknowledge(sink, 300)
  outbox.flush()
  t.same(sink.frames, [
    { type: FrameType.PUBLISH, topic: 'a' },
    { type: FrameType.ACK, ack: 300 },
  ])
  t.same(sink.corks, [2])
  t.ok(before.equals(shared), 'what is shared is not written to')
})

t.test('a borrowed span is neither copied nor written to, and keeps its place among copies', async (t) => {
  const { outbox } = setUp()
  const sink = new Sink()
  const chunk = new Uint8Array(3 + DATA.length + 20).fill(0xee)
  chunk.set(DATA, 3)
  const before = Buffer.from(chunk)
  outbox.frame(sink, DATA, 0, DATA.length, 1, false, true)
  outbox.borrowed(sink, chunk.subarray(1), 2, 2 + DATA.length)
  outbox.acknowledge(sink, 5)
  outbox.flush()
  const payload = Buffer.from('data')
  t.same(sink.frames, [{ seq: 1, payload }, { payload }, { type: FrameType.ACK, ack: 5 }])
  t.same(sink.corks, [3])
  t.ok(before.equals(chunk))
  outbox.borrowed(sink, chunk, 3, 3 + DATA.length)
  outbox.flush()
  t.same([sink.frames.at(-1), sink.corks], [{ payload }, [3]], 'one alone needs no cork')
})

t.test(
  'what comes together leaves before the turn ends, but not ahead of what an acknowledgement promises',
  async (t) => {
    const order: string[] = []
    let turns = 0
    const outbox = new Outbox(
      () => turns++,
      () => order.push('before'),
    )
    const sink = new Sink()
    outbox.together(() => {
      outbox.frame(sink, DATA, 0, DATA.length, 1, false, true)
      outbox.frame(sink, DATA, 0, DATA.length, 2, false, true)
      t.equal(sink.frames.length, 0, 'in one piece')
    })
    t.same([sink.frames.map(({ seq }) => seq), sink.corks, turns], [[1, 2], [2], 0], 'and the turn is spared')
    outbox.together(() => {
      outbox.frame(sink, DATA, 0, DATA.length, 2, false, true)
      outbox.acknowledge(sink, 7)
    })
    t.equal(sink.frames.length, 2, 'once a turn is often enough for what has to be safe first')
    t.same([order, turns], [[], 1])
    outbox.flush()
    t.same([sink.frames.at(-1)?.seq, sink.frames.at(-1)?.ack, order], [2, 7, ['before']])
    const free = setUp().outbox
    free.together(() => {
      free.frame(sink, DATA, 0, DATA.length, 3, false, true)
      free.acknowledge(sink, 8)
    })
    t.same(
      [sink.frames.at(-1)?.seq, sink.frames.at(-1)?.ack],
      [3, 8],
      'with nothing to make safe there is nothing to wait for',
    )
  },
)

t.test('what fails on the way does not keep what came before it, nor what comes next', async (t) => {
  const { outbox, turns } = setUp()
  const sink = new Sink()
  const failing = () => {
    outbox.frame(sink, DATA, 0, DATA.length, 1, false, true)
    throw new Error('read no further')
  }
  t.throws(() => outbox.together(failing), { message: 'read no further' })
  t.equal(sink.frames.length, 1)
  outbox.frame(sink, DATA, 0, DATA.length, 2, false, true)
  turns[0]?.()
  t.equal(sink.frames.length, 2)
})

t.test('what is dropped is told apart: kept frames and acknowledgements overrun, others are counted', async (t) => {
  const { outbox } = setUp()
  const sink = new Sink()
  sink.outcome = 'dropped'
  outbox.frame(sink, DATA, 0, DATA.length, -1, false, false)
  outbox.flush()
  t.same([sink.drops, sink.overruns], [1, 0])
  outbox.frame(sink, DATA, 0, DATA.length, 1, false, true)
  outbox.flush()
  t.same([sink.drops, sink.overruns], [1, 1])
  outbox.acknowledge(sink, 1)
  outbox.flush()
  t.same([sink.drops, sink.overruns], [1, 2])
})

t.test('flushOne writes one outlet now, discard forgets it', async (t) => {
  const { outbox, turns } = setUp()
  const [a, b] = [new Sink(), new Sink()]
  for (const sink of [a, b]) outbox.frame(sink, DATA, 0, DATA.length, -1, false, false)
  outbox.flushOne(a)
  t.same([a.frames.length, b.frames.length], [1, 0])
  outbox.frame(a, DATA, 0, DATA.length, -1, false, false)
  outbox.discard(b)
  turns[0]?.()
  t.same([a.frames.length, b.frames.length], [2, 0])
})

t.test(
  'whatever the sizes, frames arrive whole and in order, and a turn that is too large is written early',
  async (t) => {
    const size = fc.oneof(
      { weight: 20, arbitrary: fc.nat(300) },
      { weight: 2, arbitrary: fc.nat(70_000) },
      { weight: 1, arbitrary: fc.nat(900_000) },
    )
    const step = fc.record({ to: fc.nat(3), size, seq: fc.nat(0xffffffff), kind: fc.nat(9) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { outbox } = setUp()
        const sinks = [0, 1, 2, 3].map(() => new Sink())
        const expected: number[][] = [[], [], [], []]
        for (const { to, size, seq, kind } of steps) {
          const frame = encodeFrame({ payload: new Uint8Array(size).fill(to) })
          if (kind === 0) outbox.shared(sinks[to] as Sink, frame, false)
          else
            outbox.frame(
              sinks[to] as Sink,
              Buffer.concat([Buffer.alloc(3), frame]),
              3,
              3 + frame.length,
              seq,
              false,
              true,
            )
          if (kind === 1) outbox.flush()
          if (kind === 2) outbox.acknowledge(sinks[to] as Sink, seq + 1)
          expected[to]?.push(size)
        }
        outbox.flush()
        for (const [to, sink] of sinks.entries()) {
          const got = sink.frames.filter(({ type }) => type === undefined)
          const intact = got.every(({ payload }) => !payload || payload.every((byte) => byte === to))
          const sizes = got.map(({ payload }) => payload?.length ?? 0)
          if (!intact || String(sizes) !== String(expected[to])) return false
        }
        return true
      }),
      { numRuns: 150, seed: 7 },
    )
    t.pass()
  },
)

t.test('more entries than the first tables hold', async (t) => {
  const { outbox } = setUp()
  const sink = new Sink()
  for (let seq = 1; seq <= 5000; seq++) outbox.frame(sink, DATA, 0, DATA.length, seq, false, true)
  outbox.flush()
  t.same(
    sink.frames.map(({ seq }) => seq),
    Array.from({ length: 5000 }, (_, i) => i + 1),
  )
})
