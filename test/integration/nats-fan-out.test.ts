/**
 * One publisher, subscribers spread over two of three gateways: each gets every message, in order; NATS carries each message
 * once to the other gateway with subscribers and never to the one without. Issue 7 measures with
 * SLUICE_SUBSCRIBERS=10000 SLUICE_SECONDS=60.
 */

import t from 'tap'
import { connect } from '../../agents/device/mod.js'
import { encodeFrame, FrameType, type FrameView } from '../../proto/frame.js'
import { StormDevice } from '../bench/storm/storm-device.js'
import { hasNatsServer } from '../gateway/fanout/nats-server.js'
import { detailOf, MonitoredNats } from './nats-fleet.js'
import { eventually, startProduct } from './product.js'

const SUBSCRIBERS = Number(process.env.SLUICE_SUBSCRIBERS ?? 300)
const SECONDS = Number(process.env.SLUICE_SECONDS ?? 3)
const RATE = Number(process.env.SLUICE_RATE ?? 10)
/** Well below the silence after which a gateway cuts a device off. */
const ALIVE_MS = 20_000
/** Words of the gateways among each other that one connection may have been sent more than another. */
const CHATTER = 12

const TIMEOUT_MS = SECONDS * 1000 + SUBSCRIBERS * 5 + 60_000
t.setTimeout(TIMEOUT_MS)

/** Counts what its subscribers get; each must get 0, 1, 2 ... */
class Audience {
  readonly #next = new Map<StormDevice, number>()
  readonly devices: StormDevice[]
  subscribed = 0
  received = 0
  outOfOrder = 0
  closed = 0

  constructor(urls: readonly URL[]) {
    this.devices = Array.from({ length: SUBSCRIBERS }, (_, i) => {
      const url = urls[i % urls.length] as URL
      return new StormDevice(`s-${i}`, {
        frame: (device, view) => this.#take(device, view),
        refused: (device, retryMs) => void setTimeout(() => device.connect(url), retryMs),
        closed: () => void this.closed++,
      })
    })
  }

  async gather(urls: readonly URL[]): Promise<void> {
    for (const [i, device] of this.devices.entries()) {
      device.connect(urls[i % urls.length] as URL)
      while (i - this.subscribed > 200) await new Promise((resolve) => setTimeout(resolve, 2))
    }
    await eventually('everybody to have subscribed', 30_000, async () => this.subscribed === SUBSCRIBERS || undefined)
  }

  /** These devices answer no pings: they say something now and then, or their gateway would take them for dead. */
  stayAlive(): () => void {
    const timer = setInterval(() => {
      for (const device of this.devices) device.send(encodeFrame({ type: FrameType.ACK }))
    }, ALIVE_MS)
    return () => clearInterval(timer)
  }

  close(): void {
    for (const device of this.devices) device.destroy()
  }

  #take(device: StormDevice, view: FrameView): void {
    if (view.type === FrameType.WELCOME) {
      device.send(encodeFrame({ type: FrameType.SUBSCRIBE, seq: 1, topic: 'news/+' }))
    } else if (view.type === FrameType.PUBLISH) {
      const expected = this.#next.get(device) ?? 0
      const got = Number(new TextDecoder().decode(view.payload()))
      if (got !== expected) this.outOfOrder++
      this.#next.set(device, got + 1)
      this.received++
    } else if (view.ack >= 1) this.subscribed++
  }
}

t.test(
  'each subscriber on both gateways gets every message, and NATS carries it once',
  {
    skip: !hasNatsServer && 'nats-server is not installed',
    timeout: TIMEOUT_MS,
  },
  async (t) => {
    const nats = await MonitoredNats.start()
    t.teardown(() => nats.server.remove())
    const product = await startProduct('--gateways', '3', '--workers', '1', '--nats', nats.server.url)
    t.teardown(() => product.stop())
    const [first, second, third] = product.gateways as [Gateway, Gateway, Gateway]
    const urls = [new URL(first.ws), new URL(second.ws)]
    const audience = new Audience(urls)
    t.teardown(() => audience.close())
    t.teardown(audience.stayAlive())
    await audience.gather(urls)
    const publisher = await connect({ bootstrap: first.ws, device: 'publisher' })
    t.teardown(() => publisher.close())

    const look = () =>
      Promise.all(
        [first, second, third].map(async ({ id, http }) => {
          const [detail, connection] = await Promise.all([detailOf(http), nats.connectionOf(id)])
          return { in: detail.busIn as number, out: detail.busOut as number, natsOut: connection.out_msgs }
        }),
      ) as Promise<[Look, Look, Look]>
    const before = await look()
    const sent = await publish(publisher, audience)
    const after = await look()
    publisher.close()

    const carried = after.map((now, i) => now.natsOut - (before[i] as Look).natsOut)
    t.comment(
      `${sent} messages to ${SUBSCRIBERS} subscribers: ${audience.received} of ${sent * SUBSCRIBERS} arrived, ` +
        `${audience.outOfOrder} out of order; NATS sent the gateways ${carried.join(', ')} messages, words between them among these`,
    )
    t.equal(audience.received, sent * SUBSCRIBERS, 'nothing is lost, nothing comes twice')
    t.equal(audience.outOfOrder, 0)
    t.equal(audience.closed, 0, 'nobody was disconnected')
    t.same(
      after.map((now, i) => [now.out - (before[i] as Look).out, now.in - (before[i] as Look).in]),
      [
        [sent, 0],
        [0, sent],
        [0, 0],
      ],
      'each message left the first gateway once, and came to the second once',
    )
    const [, toSecond, toThird] = carried as [number, number, number]
    t.ok(Math.abs(toSecond - toThird - sent) <= CHATTER, `NATS sent ${toSecond} to one and ${toThird} to the other`)
  },
)

type Gateway = Awaited<ReturnType<typeof startProduct>>['gateways'][number]
interface Look {
  in: number
  out: number
  natsOut: number
}

/** Publishes at the rate for the time; resolves with how many messages when all have arrived, or nothing comes any more. */
async function publish(publisher: Awaited<ReturnType<typeof connect>>, audience: Audience): Promise<number> {
  const began = performance.now()
  let sent = 0
  while (performance.now() - began < SECONDS * 1000) {
    for (; sent < ((performance.now() - began) / 1000) * RATE; sent++) void publisher.publish('news/all', String(sent))
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  const wanted = sent * SUBSCRIBERS
  for (let last = -1; audience.received < wanted && audience.received !== last; ) {
    last = audience.received
    await new Promise((resolve) => setTimeout(resolve, 2000))
  }
  return sent
}
