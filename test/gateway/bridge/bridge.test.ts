/** A bridge between a real fan-out and a real mosquitto. */

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import mqtt, { type IPublishPacket, type MqttClient } from 'mqtt'
import t, { type Test } from 'tap'
import { Bridge, type BridgeStatus } from '../../../gateway/bridge/bridge.js'
import type { BridgeOptions } from '../../../gateway/bridge/bridge-options.js'
import { createFanout, type LocalFanout } from '../../../gateway/fanout/fan-out.js'
import { createSystemClock } from '../../../gateway/system-clock.js'
import { message, options, Recorder, silent } from '../fanout/fixtures.js'
import { hasMosquitto, Mosquitto } from './mosquitto.js'

const skip = hasMosquitto ? false : 'mosquitto is not installed'
const clock = createSystemClock()

interface Scene {
  readonly broker: Mosquitto
  readonly fanout: LocalFanout
  readonly bridge: Bridge
  readonly client: MqttClient
  /** What the upstream client saw, in order. */
  readonly upstream: IPublishPacket[]
}

async function until(what: string, holds: () => boolean, ms = 5000): Promise<void> {
  const end = performance.now() + ms
  while (!holds()) {
    if (performance.now() > end) throw new Error(`${what} did not happen within ${ms} ms`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

async function scene(t: Test, given: Omit<BridgeOptions, 'name' | 'url'>): Promise<Scene> {
  const broker = await Mosquitto.start()
  const fanout = createFanout({ clock, log: silent })
  const url = `mqtt://127.0.0.1:${broker.port}`
  const port = { fanout, clock, log: silent, random: () => 0, connect: mqtt.connect }
  const bridge = new Bridge({ name: 'up', url, ...given }, port)
  const client = await mqtt.connectAsync(url, { protocolVersion: 5, reconnectPeriod: 50 })
  const upstream: IPublishPacket[] = []
  client.on('message', (_topic, _payload, packet) => upstream.push(packet))
  await client.subscribeAsync('#', { qos: 2 })
  t.teardown(async () => {
    await bridge.stop()
    client.end(true)
    await fanout.close()
    await broker.remove()
  })
  bridge.start()
  await until('the bridge connects', () => bridge.status().state === 'connected')
  return { broker, fanout, bridge, client, upstream }
}

const text = ({ topic, payload }: IPublishPacket) => `${topic}=${payload}`

t.test('topics cross both ways, renamed by their prefixes, with their properties', { skip }, async (t) => {
  const { fanout, client, upstream } = await scene(t, {
    rules: [
      { topic: 'state/+', direction: 'out', localPrefix: 'plant/', remotePrefix: 'site7/', qos: 1 },
      { topic: 'order/#', direction: 'in', localPrefix: 'plant/', remotePrefix: 'site7/', qos: 1 },
    ],
  })
  const local = new Recorder('local')
  fanout.subscribe(local, 'plant/#', options({ qos: 2 }), () => {})
  const properties = { contentType: 'text/plain', user: [['k', 'v']] as const }
  fanout.publish(message('plant/state/pump', 'on', { qos: 1, properties, publisher: 'pump' }))
  fanout.publish(message('plant/state/pump/deep', 'not matched'))
  fanout.publish(message('plant/order/x', 'the wrong way'))
  await until('the state arrives upstream', () => upstream.length > 0)
  await client.publishAsync('site7/order/9/start', 'go', { qos: 1 })
  await until('the order arrives here', () => local.got.some(({ topic }) => topic === 'plant/order/9/start'))
  t.same(upstream.map(text), ['site7/state/pump=on', 'site7/order/9/start=go'])
  t.match(upstream[0], { qos: 1, properties: { contentType: 'text/plain', userProperties: { k: 'v' } } })
  t.equal(local.got.at(-1)?.qos, 1)
})

for (const protocolVersion of [5, 4] as const) {
  t.test(`a topic that is mirrored both ways does not echo, MQTT version ${protocolVersion}`, { skip }, async (t) => {
    const { fanout, client, upstream, bridge } = await scene(t, {
      protocolVersion,
      rules: [{ topic: 'room/#', qos: 1 }],
    })
    const local = new Recorder('local')
    fanout.subscribe(local, 'room/#', options({ qos: 1 }), () => {})
    for (let i = 0; i < 20; i++) fanout.publish(message('room/a', `here ${i}`, { qos: 1, publisher: 'device' }))
    await until('all of ours arrive upstream', () => upstream.length === 20)
    for (let i = 0; i < 20; i++) await client.publishAsync('room/a', `there ${i}`, { qos: 1 })
    await until('all of theirs arrive here', () => local.got.length >= 40)
    // One more round trip through the broker: an echo would have come before it.
    await client.publishAsync('room/b', 'last', { qos: 1 })
    await until('the last arrives', () => local.payloads.at(-1) === 'last')
    t.equal(local.got.length, 41, 'each message once here')
    t.equal(upstream.length, 41, 'each message once upstream')
    t.equal(new Set(local.payloads).size, 41)
    t.equal(bridge.status().received, 21)
    t.equal(bridge.status().echoes, protocolVersion === 5 ? 0 : 20)
  })
}

t.test(
  'what was published while the broker was away arrives once it is back, in order; QoS 0 is dropped first',
  {
    skip,
  },
  async (t) => {
    const { fanout, bridge, broker, upstream, client } = await scene(t, {
      rules: [{ topic: '#', direction: 'out', qos: 1 }],
      maxQueued: 30,
    })
    await broker.stop()
    await until('the bridge notices', () => bridge.status().state === 'connecting')
    for (let i = 0; i < 20; i++) {
      fanout.publish(message('loose', `${i}`))
      fanout.publish(message('firm', `${i}`, { qos: 1 }))
    }
    t.match(bridge.status(), { queued: 30, dropped: 10 })
    t.ok(bridge.status().reason)
    const subscribed = new Promise<void>((resolve) =>
      client.on('connect', () => client.subscribe('#', { qos: 1 }, () => resolve())),
    )
    await Promise.all([broker.start(), subscribed])
    await until('what waited arrives', () => bridge.status().queued === 0 && bridge.status().sent === 30)
    // What the bridge sent before the client had subscribed again is not seen by it; it is acknowledged all the same.
    const firm = upstream.filter(({ topic }) => topic === 'firm').map(({ payload }) => Number(payload))
    t.same(
      firm,
      firm.toSorted((a, b) => a - b),
    )
  },
)

t.test('retained messages cross, and once only', { skip }, async (t) => {
  const { fanout, client, upstream } = await scene(t, { rules: [{ topic: 'keep/#', qos: 1 }] })
  fanout.publish(message('keep/mine', 'a', { qos: 1, retain: true }))
  await client.publishAsync('keep/theirs', 'b', { qos: 1, retain: true })
  await until('theirs is retained here', () => [...fanout.retained.all()].length === 2)
  const late = new Recorder('late')
  fanout.subscribe(late, 'keep/+', options({ qos: 1 }), () => {})
  t.same(late.payloads.toSorted(), ['a', 'b'])
  await until('ours is there', () => upstream.some((packet) => text(packet) === 'keep/mine=a'))
  t.equal(upstream.filter(({ topic }) => topic === 'keep/theirs').length, 1)
})

t.test('a bridge that is stopped stands by, and says so', { skip }, async (t) => {
  const { bridge } = await scene(t, { rules: [{ topic: 'fine', direction: 'in' }] })
  const status: BridgeStatus = bridge.status()
  t.match(status, { name: 'up', state: 'connected', queued: 0 })
  t.notOk(status.reason)
  await bridge.stop()
  t.equal(bridge.status().state, 'standby')
})

t.test('credentials of the URL are shown nowhere', async (t) => {
  const fanout = createFanout({ clock, log: silent })
  const said: string[] = []
  const log = { ...silent, warn: (fields: object) => said.push(JSON.stringify(fields)) }
  const port = { fanout, clock, log, random: () => 0, connect: mqtt.connect }
  const url = 'mqtt://user:secret@127.0.0.1:1'
  const bridge = new Bridge({ name: 'x', url, rules: [{ topic: 'a' }] }, port)
  bridge.start()
  await until('it fails', () => bridge.status().reason !== undefined)
  t.notMatch(JSON.stringify(bridge.status()) + said.join(), /secret/)
  t.equal(bridge.status().upstream, 'mqtt://127.0.0.1:1')
  await bridge.stop()
  await fanout.close()
})

const hasOpenssl = spawnSync('openssl', ['version']).status === 0

t.test('TLS: the broker has to prove who it is', { skip: skip || (!hasOpenssl && 'no openssl') }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bridge-tls-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  execFileSync('openssl', ['req', '-x509', ...kind, '-keyout', key, '-out', cert, ...subject], { stdio: 'ignore' })
  const broker = await Mosquitto.start(`certfile ${cert}`, `keyfile ${key}`)
  const fanout = createFanout({ clock, log: silent })
  const port = { fanout, clock, log: silent, random: () => 0, connect: mqtt.connect }
  const url = `mqtts://127.0.0.1:${broker.port}`
  const rules = [{ topic: 'a' }]
  const stranger = new Bridge({ name: 'stranger', url, rules }, port)
  const trusting = new Bridge({ name: 'trusting', url, rules, tls: { caFile: cert } }, port)
  t.teardown(async () => {
    await Promise.all([stranger.stop(), trusting.stop()])
    await fanout.close()
    await broker.remove()
  })
  stranger.start()
  trusting.start()
  await until('the right one connects', () => trusting.status().state === 'connected')
  await until('the other is refused', () => stranger.status().reason !== undefined)
  t.match(stranger.status(), { state: 'connecting', reason: /self.signed certificate/ })
})
