/**
 * NATS goes away and comes back, killed or standing still: local delivery never stops, the gateways say what is cut, and
 * delivery between them is back within 3 s, with every QoS 1 message in order. Issue 7 measures with SLUICE_OUTAGE_SECONDS=20.
 */

import mqtt, { type MqttClient } from 'mqtt'
import t, { type Test } from 'tap'
import { hasNatsServer } from '../gateway/fanout/nats-server.js'
import { busOf, detailOf, MonitoredNats } from './nats-fleet.js'
import { eventually, type Product, startProduct } from './product.js'

/** Long enough for a server that stands still to be noticed, which takes up to 4 s. */
const OUTAGE_MS = Number(process.env.SLUICE_OUTAGE_SECONDS ?? 6) * 1000
const SEND_EVERY_MS = 20
const BACK_MS = 3000

const TIMEOUT_MS = OUTAGE_MS + 60_000
t.setTimeout(2 * TIMEOUT_MS)

/** A subscriber that counts, and remembers its longest silence. */
class Watcher {
  readonly kept: number[] = []
  readonly lossy: number[] = []
  #last = performance.now()
  silence = 0
  #ended = false

  constructor(client: MqttClient) {
    client.on('message', (topic, payload) => {
      const now = performance.now()
      if (!this.#ended) this.silence = Math.max(this.silence, now - this.#last)
      this.#last = now
      ;(topic === 'out/kept' ? this.kept : this.lossy).push(Number(payload.toString()))
    })
  }

  /** From now on silence is no fault. */
  end(): void {
    this.#ended = true
  }

  get any(): number {
    return this.kept.length + this.lossy.length
  }
}

interface Stage {
  product: Product
  nats: MonitoredNats
  a: string
  b: string
  here: Watcher
  there: Watcher
  publisher: MqttClient
}

async function stage(t: Test): Promise<Stage> {
  const nats = await MonitoredNats.start()
  t.teardown(() => nats.server.remove())
  const product = await startProduct('--workers', '1', '--nats', nats.server.url)
  t.teardown(() => product.stop())
  const [a, b] = product.gateways as [Product['gateways'][number], Product['gateways'][number]]
  const client = async (url: string, clientId: string) => {
    const made = await mqtt.connectAsync(url, { clientId })
    t.teardown(() => made.end(true))
    return made
  }
  const [publisher, local, remote] = await Promise.all([
    client(a.mqtt, 'pub'),
    client(a.mqtt, 'l'),
    client(b.mqtt, 'r'),
  ])
  const [here, there] = [new Watcher(local), new Watcher(remote)]
  await Promise.all([local.subscribeAsync('out/+', { qos: 1 }), remote.subscribeAsync('out/+', { qos: 1 })])
  return { product, nats, a: a.http, b: b.http, here, there, publisher }
}

/** Publishes 0, 1, 2 ... on both topics until it is told to stop; resolves with how many, once all are acknowledged. */
function publishing(publisher: MqttClient): () => Promise<number> {
  let sent = 0
  const acked: Promise<unknown>[] = []
  const timer = setInterval(() => {
    publisher.publish('out/lossy', String(sent))
    acked.push(publisher.publishAsync('out/kept', String(sent), { qos: 1 }))
    sent++
  }, SEND_EVERY_MS)
  return async () => {
    clearInterval(timer)
    await Promise.all(acked)
    return sent
  }
}

async function outage(t: Test, cut: (s: Stage) => unknown, heal: (s: Stage) => unknown): Promise<void> {
  const s = await stage(t)
  const stop = publishing(s.publisher)
  await eventually('messages on both sides', 5000, async () => (s.there.any > 10 && s.here.any > 10) || undefined)
  const cutAt = performance.now()
  await cut(s)
  for (const http of [s.a, s.b]) {
    await eventually(`${http} says that it is cut`, 5000, async () => (await busOf(http)).state === 'cut' || undefined)
  }
  const noticed = performance.now() - cutAt
  t.match(await busOf(s.a), { reason: /NATS is away .* local fan-out goes on/ })
  t.match(await detailOf(s.a), { busUp: 0 })
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, OUTAGE_MS - (performance.now() - cutAt))))
  const waiting = (await detailOf(s.a)).busQueued as number
  t.ok(waiting > 0, `${waiting} QoS 1 messages wait`)
  const before = s.there.any
  const healAt = performance.now()
  await heal(s)
  await eventually('delivery to the other gateway', 10_000, async () => s.there.any > before || undefined)
  const back = performance.now() - healAt
  const now = s.there.lossy.at(-1) ?? 0
  await eventually('live messages', 10_000, async () => (s.there.lossy.at(-1) ?? 0) > now || undefined)
  const live = performance.now() - healAt
  s.here.end()
  const sent = await stop()
  await eventually('all QoS 1 messages on both sides', 10_000, async () => {
    return (s.there.kept.length >= sent && s.here.kept.length >= sent) || undefined
  })
  const figures = [noticed, back, live, s.here.silence].map(Math.round)
  t.comment(
    `${sent} messages; noticed after ${figures[0]} ms, delivery back after ${figures[1]} ms, live after ${figures[2]} ms, ` +
      `${waiting} had waited, ${sent - s.there.lossy.length} QoS 0 did not cross, longest local silence ${figures[3]} ms`,
  )
  t.ok(back < BACK_MS && live < BACK_MS, 'it is back in time')
  t.ok(s.here.silence < 1000, 'local delivery never stopped')
  const all = Array.from({ length: sent }, (_, i) => i)
  t.same(s.there.kept, all, 'every QoS 1 message crossed, once and in order')
  t.same(s.here.kept, all)
  t.equal(s.here.lossy.length, sent)
  for (const http of [s.a, s.b]) {
    await eventually('all is well', 5000, async () => (await busOf(http)).state === 'connected' || undefined)
  }
  t.match(await detailOf(s.a), { busUp: 1, busQueued: 0, busDroppedQueue: 0 })
}

const skip = !hasNatsServer && 'nats-server is not installed'

t.test('nats-server is killed and started again', { skip, timeout: TIMEOUT_MS }, (t) =>
  outage(
    t,
    ({ nats }) => nats.server.stop(),
    ({ nats }) => nats.server.start(),
  ),
)

t.test('nats-server stands still and goes on', { skip, timeout: TIMEOUT_MS }, (t) =>
  outage(
    t,
    ({ nats }) => nats.server.freeze(),
    ({ nats }) => nats.server.thaw(),
  ),
)
