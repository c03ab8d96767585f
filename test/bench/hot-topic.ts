/**
 * A hot topic beside round trips: every subscriber gets every message of one topic, while other devices of the same
 * gateway do round trips. Prints how long those took, and what became of every delivery: made, dropped (and why), arrived.
 *
 *     node dist/test/bench/hot-topic.js [--subscribers 10000] [--rate 50] [--secs 10] [--loadgen PATH]
 *
 * The subscribers are loadgen.c's where it can be had; a crowd in JavaScript is slower than the gateway that it listens to.
 */

import { parseArgs } from 'node:util'
import { connect } from '../../agents/device/mod.js'
import { encodeFrame, FrameType } from '../../proto/frame.js'
import { type Detail, detailOf } from '../integration/nats-fleet.js'
import { startProduct } from '../integration/product.js'
import { findGenerator, type LoadGenerator, runLoad } from './load-generator.js'
import { ProbeThread } from './storm/probes.js'
import { StormDevice } from './storm/storm-device.js'

const TOPIC = 'hot'
const PAYLOAD = 'x'.repeat(64)
/** Longest that what waits in the gateway may take to go out after the last message, in ms: more than what may wait is worth. */
const DRAIN_MS = 15_000

const { values } = parseArgs({
  options: {
    subscribers: { type: 'string', default: '10000' },
    rate: { type: 'string', default: '50' },
    secs: { type: 'string', default: '10' },
    loadgen: { type: 'string' },
  },
})
const [count, rate, secs] = [Number(values.subscribers), Number(values.rate), Number(values.secs)]

/** Subscribers that count together. */
interface Crowd {
  /** Deliveries that arrived, once no more can come. */
  received(): Promise<number>
  close(): void
}

/** loadgen.c only listens: its own publisher sends next to nothing. */
function listenWith(generator: LoadGenerator, url: URL): Crowd {
  const hex = (type: FrameType, payload = '') =>
    Buffer.from(encodeFrame({ type, topic: TOPIC, payload: Buffer.from(payload) })).toString('hex')
  const seconds = secs + 10 + DRAIN_MS / 1000
  const path = `${url.pathname}?device=hot-{i}`
  const listeners = ['--conns', `${count}`, '--path-sub', path, '--skip-sub', '1']
  const publisher = ['--path', path, '--skip', '1', '--hex', hex(FrameType.PUBLISH, PAYLOAD), '--rate', '0.001']
  const figures = runLoad(
    generator,
    [
      ...['ws-fanout', '--port', url.port, ...listeners, '--open-hex-sub', hex(FrameType.SUBSCRIBE), ...publisher],
      ...['--warm', '0', '--secs', `${seconds}`],
    ],
    undefined,
  )
  return {
    // It tells the rate over its time only, rounded to one a second.
    received: async () => Math.round(((await figures).deliveries_per_s ?? 0) * seconds),
    close: () => {},
  }
}

function listenHere(url: URL): Crowd {
  let received = 0
  const devices = Array.from({ length: count }, (_, i) => {
    const device: StormDevice = new StormDevice(`hot-${i}`, {
      frame: (_device, view) => {
        if (view.type === FrameType.PUBLISH) received++
        else if (view.type === FrameType.WELCOME)
          device.send(encodeFrame({ type: FrameType.SUBSCRIBE, seq: 1, topic: TOPIC }))
      },
      refused: (_device, retryMs) => void setTimeout(() => device.connect(url), retryMs),
      closed: () => {},
    })
    return device
  })
  void (async () => {
    for (const [i, device] of devices.entries()) {
      device.connect(url)
      if (i % 100 === 0) await pause(50)
    }
  })()
  const close = () => {
    for (const device of devices) device.destroy()
  }
  return { received: async () => received, close }
}

const product = await startProduct('--gateways', '1', '--workers', '1')
const { http, ws } = product.gateways[0] as (typeof product.gateways)[number]
const generator = findGenerator(values.loadgen)
const crowd = generator.name === 'loadgen.c' ? listenWith(generator, new URL(ws)) : listenHere(new URL(ws))
while ((await sessions()) < count) await pause(100)
const probes = await ProbeThread.start(ws, 20)
const publisher = await connect({ bootstrap: ws, device: 'publisher' })
await probes.take()
await pause(2000)
const before = await probes.take()
const sent = await publish()
const during = await probes.take()
const after = await drained()
const received = await crowd.received()
const made = after.deliveries ?? 0
process.stdout.write(
  [
    `${count} subscribers (${generator.name}), ${sent} messages in ${secs} s: ${sent * count} deliveries wanted`,
    `made by the gateway: ${made}, of these dropped because a device was too slow: ${after.droppedSlow ?? 0}; not made: ${after.droppedBacklog ?? 0} messages, ${(after.droppedBacklog ?? 0) * count} deliveries`,
    `arrived: ${received}`,
    `round trips beside it, before: ${JSON.stringify(before)}, during: ${JSON.stringify(during)}`,
    '',
  ].join('\n'),
)
publisher.close()
await probes.stop()
crowd.close()
await product.stop()
process.exit(0)

async function sessions(): Promise<number> {
  return ((await (await fetch(new URL('/v1/status', http))).json()) as { sessions: number }).sessions
}

/** Publishes at the rate for the time; returns how many. */
async function publish(): Promise<number> {
  const began = performance.now()
  let sent = 0
  while (performance.now() - began < secs * 1000) {
    for (; sent < ((performance.now() - began) / 1000) * rate; sent++) void publisher.publish(TOPIC, PAYLOAD)
    await pause(2)
  }
  return sent
}

/** The gateway's counters when nothing waits in it any more. */
async function drained(): Promise<Detail> {
  const end = performance.now() + DRAIN_MS
  for (;;) {
    await pause(500)
    const detail = await detailOf(http)
    if (detail.queued === 0 || performance.now() > end) return detail
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
