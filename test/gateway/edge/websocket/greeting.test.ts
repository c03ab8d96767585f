import t from 'tap'
import { Greeting } from '../../../../gateway/edge/websocket/greeting.js'
import type { DeviceSession } from '../../../../gateway/ports.js'
import { FrameType, FrameView } from '../../../../proto/frame.js'

function greet(greeting: Greeting, id: string, uplinkAcked: number, resumed: boolean) {
  const view = new FrameView()
  t.ok(view.read(greeting.frame({ id, uplinkAcked, resumed } as DeviceSession)))
  return { type: view.type, ack: view.ack, seq: view.seq, headers: { ...view.headers() } }
}

t.test('WELCOME names session and gateway, and how far the uplink is', async (t) => {
  const greeting = new Greeting('gateway--1')
  // 45 is the code of the hyphen, which ids have.
  for (const length of [1, 16, 16, 45, 200]) {
    for (const acked of [0, 1, 300, Number.MAX_SAFE_INTEGER]) {
      for (const resumed of [false, true]) {
        const session = '-'.repeat(length)
        t.same(greet(greeting, session, acked, resumed), {
          type: FrameType.WELCOME,
          ack: acked,
          seq: 0,
          headers: { session, gateway: 'gateway--1', resumed: String(resumed) },
        })
      }
    }
  }
})
