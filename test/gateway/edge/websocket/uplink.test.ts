import t from 'tap'
import { Connection, type ConnectionContext } from '../../../../gateway/edge/websocket/connection.js'
import { EdgeCounters } from '../../../../gateway/edge/websocket/edge-counters.js'
import { Greeting } from '../../../../gateway/edge/websocket/greeting.js'
import { Outbox } from '../../../../gateway/edge/websocket/outbox.js'
import { Uplink } from '../../../../gateway/edge/websocket/uplink.js'
import type { Clock } from '../../../../gateway/ports.js'
import { encodeFrame, type FrameType } from '../../../../proto/frame.js'
import { seededRandom } from '../../../seeded-random.js'
import { FakeFanout, FakeHost } from './fakes.js'

const clock: Clock = { now: () => 0, wall: () => 0, after: () => () => undefined }

function setUp() {
  const fanout = new FakeFanout()
  const context: ConnectionContext = {
    greeting: new Greeting('g'),
    fanout,
    clock,
    outbox: new Outbox(() => undefined),
    counters: new EdgeCounters(),
    dropAbove: 1,
    leaveMs: 1,
  }
  const request = {
    early: undefined,
    device: 'd',
    token: undefined,
    attributes: {},
    resume: undefined,
  }
  const connection = new Connection(request, context)
  const session = new FakeHost().open({ device: 'd', protocol: 'websocket', attributes: {} }, connection)
  return { uplink: new Uplink(fanout, clock), connection, session, fanout }
}

t.test('no bytes make it throw: random ones, and real frames with bytes changed, cut or doubled', async (t) => {
  const random = seededRandom(20260725)
  const below = (n: number) => Math.floor(random() * n)
  const { uplink, connection, session, fanout } = setUp()
  let taken = 0
  for (let run = 0; run < 20_000; run++) {
    let bytes: Uint8Array = Uint8Array.from({ length: below(40) }, () => below(256))
    if (run % 4 !== 0) {
      const topic = ['a/b', 'a/#', '$share/g/t', 'ü', '', '+'][below(6)] as string
      const headers = random() < 0.3 ? { key: 'värde' } : {}
      const seq = random() < 0.5 ? session.taken + 1 : below(5)
      bytes = encodeFrame({ type: below(8) as FrameType, seq, ack: below(3), topic, payload: bytes, headers })
      for (let flips = below(3); flips > 0 && bytes.length > 0; flips--) bytes[below(bytes.length)] = below(256)
      if (random() < 0.2) bytes = bytes.subarray(0, below(bytes.length + 1))
    }
    if (uplink.take(connection, session, bytes)) taken++
  }
  t.ok(taken > 5000 && taken < 19_000, `${taken} of 20,000 were frames`)
  t.ok(session.relayed.length > 100 && fanout.published.length > 100 && fanout.subscriptions.length > 0)
})

t.test('a message of the fan-out outlives the bytes that it came in', async (t) => {
  const { uplink, connection, session, fanout } = setUp()
  for (const seq of [0, 1]) {
    const bytes = encodeFrame({ type: 1, seq, topic: 'a', payload: Buffer.from('payload') })
    uplink.take(connection, session, bytes)
    bytes.fill(0xee)
    t.equal(Buffer.from(fanout.published[seq]?.payload ?? []).toString(), 'payload')
  }
  t.equal(fanout.published[0]?.encoded.size, 1, 'without a seq the frame itself is what subscribers get')
  t.equal(fanout.published[1]?.encoded.size, 0)
})
