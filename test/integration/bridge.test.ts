/** A bridge of a whole fleet: one gateway runs it, and another takes it over when that one is killed. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import mqtt from 'mqtt'
import t from 'tap'
import { hasMosquitto, Mosquitto } from '../gateway/bridge/mosquitto.js'
import { eventually, startProduct } from './product.js'

interface GatewayStatus {
  bridges: { name: string; state: string; received: number }[]
}

async function bridgeState(http: string): Promise<string | undefined> {
  const answer = await fetch(new URL('/v1/status', http)).catch(() => undefined)
  return ((await answer?.json()) as GatewayStatus | undefined)?.bridges[0]?.state
}

t.test(
  'one gateway of the fleet runs a bridge; killed, another takes over; nothing comes twice',
  {
    skip: hasMosquitto ? false : 'mosquitto is not installed',
  },
  async (t) => {
    const broker = await Mosquitto.start()
    const url = `mqtt://127.0.0.1:${broker.port}`
    const config = join(t.testdir(), 'fleet.yaml')
    writeFileSync(
      config,
      `gateway: { bridges: [{ name: up, url: '${url}', rules: [{ topic: 'shared/#', qos: 1 }] }] }\n`,
    )
    const product = await startProduct('--config', config, '--workers', '1')
    const [a, b] = product.gateways as [UpGateway, UpGateway]
    const outside = await mqtt.connectAsync(url)
    const outsideGot: string[] = []
    outside.on('message', (_topic, payload) => outsideGot.push(payload.toString()))
    await outside.subscribeAsync('shared/+', { qos: 1 })
    const inside = await mqtt.connectAsync(b.mqtt, { clientId: 'inside', protocolVersion: 5 })
    const insideGot: string[] = []
    inside.on('message', (_topic, payload) => insideGot.push(payload.toString()))
    t.teardown(async () => {
      inside.end(true)
      outside.end(true)
      await product.stop()
      await broker.remove()
    })
    // Not `shared/#`: the worker's answers on TOPIC/reply are for this device too.
    await inside.subscribeAsync('shared/+', { qos: 1 })
    await eventually(
      'the first gateway runs it',
      5000,
      async () => (await bridgeState(a.http)) === 'connected' || undefined,
    )
    t.equal(await bridgeState(b.http), 'standby')

    await inside.publishAsync('shared/x', 'from inside', { qos: 1 })
    await outside.publishAsync('shared/x', 'from outside', { qos: 1 })
    await eventually(
      'both sides have both',
      5000,
      async () => (insideGot.length >= 2 && outsideGot.length >= 2) || undefined,
    )

    process.kill(a.pid, 'SIGKILL')
    await outside.publishAsync('shared/x', 'while it was gone', { qos: 1 })
    await eventually('the message that waited at the broker arrives', 10_000, async () => {
      return insideGot.includes('while it was gone') || undefined
    })
    await outside.publishAsync('shared/x', 'afterwards', { qos: 1 })
    await eventually('a message after it arrives', 5000, async () => {
      return (insideGot.includes('afterwards') && outsideGot.includes('afterwards')) || undefined
    })
    t.same(insideGot.toSorted(), ['afterwards', 'from inside', 'from outside', 'while it was gone'])
    t.same(outsideGot.toSorted(), ['afterwards', 'from inside', 'from outside', 'while it was gone'])
  },
)

type UpGateway = Awaited<ReturnType<typeof startProduct>>['gateways'][number]
