/** An MQTT session that lasts follows its client to another gateway: over the links between gateways, and over NATS. */

import t, { type Test } from 'tap'
import { RawClient } from '../gateway/edge/mqtt/harness.js'
import { connectPacket } from '../gateway/edge/mqtt/interop.js'
import { hasNatsServer, NatsServer } from '../gateway/fanout/nats-server.js'
import { type Product, startProduct } from './product.js'

const lasting = { clean: false, properties: { sessionExpiryInterval: 1000 } }

/** A client of one of the gateways that has read its CONNACK. */
async function client(t: Test, product: Product, gateway: number, options: object): Promise<RawClient> {
  const raw = await RawClient.open(Number(new URL(product.gateways[gateway]?.mqtt ?? '').port), 5)
  t.teardown(() => raw.destroy())
  raw.send(connectPacket(5, options))
  const connack = await raw.next('connack')
  if (connack.cmd === 'connack') raw.connack = connack
  return raw
}

async function publish(from: RawClient, topic: string, payload: string, qos: 1 | 2, messageId: number): Promise<void> {
  from.publish(topic, payload, qos, { messageId })
  if (qos === 1) {
    await from.next('puback')
    return
  }
  await from.next('pubrec')
  from.send({ cmd: 'pubrel', messageId })
  await from.next('pubcomp')
}

async function roam(t: Test, product: Product): Promise<void> {
  const pub = await client(t, product, 0, { clientId: 'pub' })
  const first = await client(t, product, 0, { ...lasting, clientId: 'roamer' })
  // Not `news/#`: the worker's answers on TOPIC/reply would come too.
  await first.subscribe('news/+', 2, {}, { subscriptionIdentifier: 7 })
  await publish(pub, 'news/sent', 'in flight', 1, 1)
  await first.nextPublish()
  await pub.subscribe('own/up', 0)
  first.publish('own/up', 'half', 2, { messageId: 9 })
  await first.next('pubrec')
  await pub.nothing()
  await first.disconnect()
  t.match(await pub.nextPublish(), { payload: Buffer.from('half') }, 'what was held is published, and does not travel')
  // More than fits into one answer of a gateway.
  const large = 'x'.repeat(100_000)
  for (let i = 2; i <= 8; i++) await publish(pub, 'news/queued', `${i} ${large}`, i % 2 === 0 ? 1 : 2, i)

  const second = await client(t, product, 1, { ...lasting, clientId: 'roamer' })
  t.ok(second.connack?.sessionPresent, 'the session is there')
  t.match(await second.nextPublish(), { dup: true, messageId: 1, payload: Buffer.from('in flight') })
  for (let i = 2; i <= 8; i++) {
    const got = await second.nextPublish()
    t.same([got.payload.toString().split(' ')[0], got.qos, got.dup], [`${i}`, i % 2 === 0 ? 1 : 2, false])
    t.same([got.properties?.subscriptionIdentifier].flat(), [7])
  }
  second.publish('own/up', 'half', 2, { messageId: 9, dup: true })
  await second.next('pubrec')
  await pub.nothing()
  await pub.subscribe('own/will', 0)
  await publish(pub, 'news/live', 'once', 1, 9)
  t.match(await second.nextPublish(), { topic: 'news/live', payload: Buffer.from('once') })
  await second.nothing()

  // Connected there, and taken over from here.
  second.publish('own/up', 'held', 2, { messageId: 10 })
  await second.next('pubrec')
  const will = { topic: 'own/will', payload: Buffer.from('gone'), qos: 0, retain: false }
  const third = await client(t, product, 0, { ...lasting, clientId: 'roamer', will })
  t.equal(await second.ended(), 0x8e)
  t.match(await pub.nextPublish(), { payload: Buffer.from('held') })
  // What was not acknowledged comes again here, too.
  for (let i = 1; i <= 9; i++) await third.nextPublish()
  third.publish('own/up', 'held', 2, { messageId: 10, dup: true })
  await third.next('pubrec')
  third.send({ cmd: 'pubrel', messageId: 10 })
  await third.next('pubcomp')
  await pub.nothing()
  t.ok(third.connack?.sessionPresent)
  const fourth = await client(t, product, 1, { ...lasting, clientId: 'roamer' })
  t.ok(fourth.connack?.sessionPresent)
  t.equal(await third.ended(), 0x8e)
  await pub.nothing()
  t.pass('who goes on elsewhere has not gone: its will is not published')
  fourth.destroy()
  const clean = await client(t, product, 1, { clientId: 'roamer' })
  t.notOk(clean.connack?.sessionPresent)
  await clean.disconnect()
  const none = await client(t, product, 0, { ...lasting, clientId: 'roamer' })
  t.notOk(none.connack?.sessionPresent, 'a clean start elsewhere ended it here')
}

t.test('over the links between gateways', async (t) => {
  const product = await startProduct('--workers', '1')
  t.teardown(() => product.stop())
  await roam(t, product)
})

t.test('over NATS', { skip: !hasNatsServer && 'nats-server is not installed' }, async (t) => {
  const nats = await NatsServer.start()
  t.teardown(() => nats.remove())
  const product = await startProduct('--workers', '1', '--nats', nats.url)
  t.teardown(() => product.stop())
  await roam(t, product)
})
