import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import t from 'tap'
import { simulateDevices } from '../../../agents/device/simulate.js'
import { GatewayStandIn } from './gateway-stand-in.js'

t.test('half of the devices speak WebSocket, half MQTT, and both count answers', async (t) => {
  const gateway = await GatewayStandIn.start('gw-1')
  const broker = await Aedes.createBroker()
  // What a gateway and an echo worker do together.
  broker.on('publish', ({ topic, payload }) => {
    if (!topic.startsWith('devices/') || topic.endsWith('/reply')) return
    broker.publish(
      { cmd: 'publish', topic: `${topic}/reply`, payload, qos: 0, retain: false, dup: false },
      () => undefined,
    )
  })
  const mqtt = createServer(broker.handle)
  await new Promise<void>((resolve) => mqtt.listen(0, '127.0.0.1', resolve))
  gateway.nearest = () => ({
    gateways: [gateway.entry({ mqtt: `mqtt://127.0.0.1:${(mqtt.address() as AddressInfo).port}` })],
  })
  t.teardown(async () => {
    await gateway.close()
    await new Promise<void>((resolve) => broker.close(() => resolve()))
    mqtt.close()
  })
  const simulation = await simulateDevices({
    bootstrap: [gateway.http],
    count: 5,
    rate: 50,
    prefix: 'sim',
    mqttVersion: 4,
  })
  t.same(simulation.stats().connected, 5)
  t.same(gateway.urls.map((url) => url.searchParams.get('device')).sort(), ['sim-1', 'sim-3', 'sim-5'])
  await gateway.until(() => simulation.stats().answered >= 20)
  const { sent, errors } = simulation.stats()
  t.ok(sent >= 20)
  t.equal(errors, 0)
  t.match(gateway.received[0], { topic: /^devices\/sim-[135]\/reading$/, seq: 0 })
  await simulation.close()
  t.equal(simulation.stats().connected, 0)
})
