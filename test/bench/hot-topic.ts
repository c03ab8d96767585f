/**
 * A hot topic beside round trips: every subscriber gets every message of one topic, while other devices of the same
 * gateway do round trips. Prints how long those took.
 *
 *     node dist/test/bench/hot-topic.js [--subscribers 10000] [--rate 50] [--secs 10]
 */

import { parseArgs } from 'node:util'
import { connect } from '../../agents/device/mod.js'
import { encodeFrame, FrameType } from '../../proto/frame.js'
import { startProduct } from '../integration/product.js'
import { ProbeThread } from './storm/probes.js'
import { StormDevice } from './storm/storm-device.js'

const { values } = parseArgs({
  options: {
    subscribers: { type: 'string', default: '10000' },
    rate: { type: 'string', default: '50' },
    secs: { type: 'string', default: '10' },
  },
})
const [count, rate, secs] = [Number(values.subscribers), Number(values.rate), Number(values.secs)]
const product = await startProduct('--gateways', '1', '--workers', '1')
const url = product.gateways[0]?.ws as string
let [subscribed, received] = [0, 0]
const devices = Array.from({ length: count }, (_, i) => {
  return new StormDevice(`hot-${i}`, {
    frame: (device, view) => {
      if (view.type === FrameType.PUBLISH) received++
      else if (view.type === FrameType.WELCOME)
        device.send(encodeFrame({ type: FrameType.SUBSCRIBE, seq: 1, topic: 'hot' }))
      else if (view.ack >= 1) subscribed++
    },
    refused: (device, retryMs) => void setTimeout(() => device.connect(new URL(url)), retryMs),
    closed: () => {},
  })
})
for (const [i, device] of devices.entries()) {
  device.connect(new URL(url))
  while (i - subscribed > 200) await new Promise((resolve) => setTimeout(resolve, 2))
}
while (subscribed < count) await new Promise((resolve) => setTimeout(resolve, 10))
const probes = await ProbeThread.start(url, 20)
const publisher = await connect({ bootstrap: url, device: 'publisher' })
await probes.take()
await new Promise((resolve) => setTimeout(resolve, 2000))
const before = await probes.take()
let sent = 0
const began = performance.now()
while (performance.now() - began < secs * 1000) {
  for (; sent < ((performance.now() - began) / 1000) * rate; sent++) void publisher.publish('hot', 'x'.repeat(64))
  await new Promise((resolve) => setTimeout(resolve, 2))
}
const during = await probes.take()
await new Promise((resolve) => setTimeout(resolve, 2000))
process.stdout.write(
  `${count} subscribers, ${sent} messages in ${secs} s: ${received} of ${sent * count} deliveries; round trips beside it, before: ${JSON.stringify(before)}, during: ${JSON.stringify(during)}\n`,
)
publisher.close()
await probes.stop()
for (const device of devices) device.destroy()
await product.stop()
process.exit(0)
