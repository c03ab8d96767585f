import type mqttPacket from 'mqtt-packet'
import t from 'tap'
import type { RawClient } from './harness.js'
import { completeQos2, connectPacket, publishEach, receive, receiveAll, startBroker } from './interop.js'

/** Each test of Paho's client_test5.py by its name there, MQTT 5. */
const broker = await startBroker(5)
t.teardown(() => broker.stop())
const TOPICS = ['TopicA', 'TopicA/B', 'Topic/C']
const lasting = { clean: false, properties: { sessionExpiryInterval: 99999 } }

const payloads = (messages: readonly mqttPacket.IPublishPacket[]): string[] =>
  messages.map(({ payload }) => payload.toString())

async function unsubscribe(client: RawClient, unsubscriptions: string[]): Promise<unknown> {
  client.send({ cmd: 'unsubscribe', messageId: 77, unsubscriptions })
  return ((await client.next('unsuback')) as mqttPacket.IUnsubackPacket).granted
}

t.test('basic: messages at each QoS, and a second CONNECT ends the connection', async (t) => {
  const client = await broker.client({ clientId: 'basic' })
  t.equal(await client.subscribe('TopicA', 2), 2)
  client.publish('TopicA', 'qos 0', 0)
  client.publish('TopicA', 'qos 2', 2, { messageId: 2 })
  t.match(await client.nextPublish(), { payload: Buffer.from('qos 0') })
  await completeQos2(client, 2)
  t.same(payloads(await receiveAll(client, 1)), ['qos 2'])
  client.send(connectPacket(5, { clientId: 'basic' }))
  t.equal(await client.ended(), 0x82)
})

t.test('retained messages keep their properties', async (t) => {
  const client = await broker.client({ clientId: 'retained' })
  const properties = { userProperties: { a: '2' }, contentType: 'text' }
  client.publish('kept/1', 'one', 1, { messageId: 1, retain: true, properties })
  await client.next('puback')
  await client.subscribe('kept/#', 2)
  const [got] = await receiveAll(client, 1)
  t.match(got, { retain: true, qos: 1, properties: { contentType: 'text' } })
  t.equal(got?.properties?.userProperties?.a, '2')
  client.publish('kept/1', '', 0, { retain: true })
  t.match(await client.nextPublish(), { retain: false })
  await client.disconnect()
})

t.test('zero length client id: assigned, clean start or not', async (t) => {
  const client = await broker.client({ clientId: '' })
  const assigned = client.connack?.properties?.assignedClientIdentifier ?? ''
  t.ok(assigned.length > 0)
  await client.disconnect()
  const again = await broker.client({ clientId: assigned, ...lasting })
  t.notOk(again.connack?.sessionPresent)
  await again.disconnect()
  const unclean = await broker.open()
  unclean.raw('10 0d 0004 4d515454 05 00 0000 00 0000')
  t.match(await unclean.next('connack'), { reasonCode: 0, sessionPresent: false })
})

t.test('offline message queueing', async (t) => {
  const away = await broker.client({ clientId: 'away', ...lasting })
  await away.subscribe('offline/+', 2)
  await away.disconnect()
  await publishEach(await broker.client({ clientId: 'pub' }), ['offline/0', 'offline/1', 'offline/2'])
  const back = await broker.client({ clientId: 'away', ...lasting })
  t.same(payloads(await receiveAll(back, 2)), ['qos 1', 'qos 2'])
  await back.disconnect(0, { sessionExpiryInterval: 0 })
})

t.test('will message with its properties', async (t) => {
  const watch = await broker.client({ clientId: 'watch' })
  await watch.subscribe('will/c', 2)
  const properties = { contentType: 'will', userProperties: { a: '2' } }
  const will = { topic: 'will/c', payload: Buffer.from('will message'), qos: 1 as const, retain: false, properties }
  const dying = await broker.client({ clientId: 'dying', will })
  dying.destroy()
  t.match(await receive(watch), { payload: Buffer.from('will message'), properties: { contentType: 'will' } })
  const told = await broker.client({ clientId: 'told', will })
  await told.disconnect(4)
  t.match(await receive(watch), { payload: Buffer.from('will message') }, 'Disconnect with Will Message')
})

t.test('will delay: after the delay, or when the session ends', async (t) => {
  const watch = await broker.client({ clientId: 'watch' })
  await watch.subscribe('will/d', 2)
  const will = (willDelayInterval: number) => ({
    topic: 'will/d',
    payload: Buffer.from(`${willDelayInterval}`),
    qos: 0 as const,
    retain: false,
    properties: { willDelayInterval },
  })
  const began = performance.now()
  const one = await broker.client({ clientId: 'one', properties: { sessionExpiryInterval: 5 }, will: will(1) })
  const two = await broker.client({ clientId: 'two', properties: { sessionExpiryInterval: 1 }, will: will(60) })
  const three = await broker.client({ clientId: 'three', ...lasting, will: will(2) })
  one.destroy()
  two.destroy()
  three.destroy()
  const back = await broker.client({ clientId: 'three', ...lasting })
  await watch.nothing()
  t.same(payloads([await watch.nextPublish(), await watch.nextPublish()]).sort(), ['1', '60'])
  const took = performance.now() - began
  t.ok(took > 900 && took < 4000, `after ${took} ms`)
  await back.disconnect(0, { sessionExpiryInterval: 0 })
  await watch.nothing()
})

t.test('overlapping subscriptions: one message with both identifiers', async (t) => {
  const client = await broker.client({ clientId: 'overlap' })
  await client.subscribe('over/#', 2, {}, { subscriptionIdentifier: 42 })
  await client.subscribe('over/+', 1, {}, { subscriptionIdentifier: 43 })
  client.publish('over/lap', 'x', 2, { messageId: 1 })
  await completeQos2(client, 1)
  const [got] = await receiveAll(client, 1)
  t.equal(got?.qos, 2)
  t.same([...((got?.properties?.subscriptionIdentifier as number[]) ?? [])].sort(), [42, 43])
})

t.test('subscribe identifiers: each client gets its own', async (t) => {
  const one = await broker.client({ clientId: 'one' })
  const two = await broker.client({ clientId: 'two' })
  await one.subscribe('ids', 2, {}, { subscriptionIdentifier: 456789 })
  await two.subscribe('ids', 2, {}, { subscriptionIdentifier: 2 })
  one.publish('ids', 'x', 1, { messageId: 1 })
  const own = await one.nextPublish()
  t.same([own.properties?.subscriptionIdentifier].flat(), [456789])
  t.same([(await receive(two)).properties?.subscriptionIdentifier].flat(), [2])
})

t.test('keepalive: a silent client is told, cut, and its will published', async (t) => {
  const watch = await broker.client({ clientId: 'watch' })
  await watch.subscribe('will/k', 2)
  const will = { topic: 'will/k', payload: Buffer.from('keepalive'), qos: 0 as const, retain: false }
  const silent = await broker.client({ clientId: 'silent', keepalive: 1, will })
  t.match(await watch.nextPublish(), { payload: Buffer.from('keepalive') })
  t.equal(await silent.ended(), 0x8d)
})

t.test('server keep alive: 60 for who asks for more, or for none', async (t) => {
  for (const [keepalive, told] of [
    [120, 60],
    [0, 60],
    [30, undefined],
  ] as const) {
    const client = await broker.client({ clientId: 'keep', keepalive })
    t.equal(client.connack?.properties?.serverKeepAlive, told, `${keepalive}`)
    await client.disconnect()
  }
})

t.test('redelivery on reconnect', async (t) => {
  const first = await broker.client({ clientId: 'again', ...lasting })
  await first.subscribe('re/+', 2)
  await publishEach(await broker.client({ clientId: 'pub' }), ['re/0', 're/1', 're/2'])
  for (let i = 0; i < 3; i++) await first.nextPublish()
  first.destroy()
  const back = await broker.client({ clientId: 'again', ...lasting })
  t.match(await receiveAll(back, 2), [
    { topic: 're/1', dup: true, messageId: 1 },
    { topic: 're/2', dup: true, messageId: 2 },
  ])
  await back.disconnect(0, { sessionExpiryInterval: 0 })
})

t.test('subscribe failure: a denied filter is answered with the configured code', async (t) => {
  const client = await broker.client({ clientId: 'denied' })
  t.equal(await client.subscribe('test/nosubscribe', 2), 0x80)
})

t.test('$ topics are not matched by a wildcard at the first level', async (t) => {
  const client = await broker.client({ clientId: 'dollar' })
  await client.subscribe('#', 2)
  await client.subscribe('+/x', 2)
  client.publish('$own/x', 'hidden')
  await client.nothing()
  await client.subscribe('$own/+', 0)
  client.publish('$own/x', 'named')
  t.same(payloads([await client.nextPublish()]), ['named'])
  await client.disconnect()
})

t.test('unsubscribe codes', async (t) => {
  const client = await broker.client({ clientId: 'unsub' })
  for (const topic of TOPICS) await client.subscribe(topic, 2)
  t.same(await unsubscribe(client, ['TopicA', 'unknown', 'Topic/C']), [0, 0x11, 0])
  await publishEach(await broker.client({ clientId: 'pub' }), TOPICS)
  t.same(payloads(await receiveAll(client, 1)), ['qos 1'])
})

t.test('session expiry: as asked in CONNECT, or in DISCONNECT', async (t) => {
  const present = async (properties: object, clean = false): Promise<boolean> => {
    const client = await broker.client({ clientId: 'expiry', clean, properties })
    const { sessionPresent } = client.connack as mqttPacket.IConnackPacket
    await client.disconnect()
    return sessionPresent
  }
  t.notOk(await present({ sessionExpiryInterval: 0 }, true))
  t.notOk(await present({ sessionExpiryInterval: 5 }), 'one of 0 s is gone')
  t.ok(await present({ sessionExpiryInterval: 1 }), 'one of 5 s is there')
  await new Promise((resolve) => setTimeout(resolve, 2000))
  t.notOk(await present({ sessionExpiryInterval: 5 }), 'one of 1 s is gone after 2')
  const client = await broker.client({ clientId: 'expiry', clean: false, properties: { sessionExpiryInterval: 5 } })
  t.ok(client.connack?.sessionPresent)
  await client.disconnect(0, { sessionExpiryInterval: 0 })
  t.notOk(await present({}), 'DISCONNECT changed it')
})

t.test('shared subscriptions: each message to one of the group, besides plain subscriptions', async (t) => {
  const [one, two] = [await broker.client({ clientId: 's1' }), await broker.client({ clientId: 's2' })]
  for (const member of [one, two]) {
    await member.subscribe('$share/sharename/shared', 2)
    await member.subscribe('shared/#', 2)
  }
  const pub = await broker.client({ clientId: 'pub' })
  for (let i = 1; i <= 4; i++) {
    pub.publish('shared', `${i}`, 1, { messageId: i })
    await pub.next('puback')
  }
  const got = new Map<string, number>()
  for (const member of [one, two]) {
    member.send({ cmd: 'disconnect', reasonCode: 0 })
    await member.ended()
    for (const packet of member.rest()) {
      if (packet.cmd === 'publish') got.set(`${packet.payload}`, (got.get(`${packet.payload}`) ?? 0) + 1)
    }
  }
  t.same(Object.fromEntries(got), { 1: 3, 2: 3, 3: 3, 4: 3 }, 'both plain ones, and one of the group')
})

t.test('subscribe options: no local, retain as published, retain handling', async (t) => {
  const client = await broker.client({ clientId: 'options' })
  const other = await broker.client({ clientId: 'other' })
  await client.subscribe('opt/local', 1, { nl: true })
  client.publish('opt/local', 'own')
  await client.nothing()
  other.publish('opt/local', 'foreign')
  t.match(await client.nextPublish(), { payload: Buffer.from('foreign') })
  await client.subscribe('opt/rap', 1, { rap: true })
  await client.subscribe('opt/plain', 1)
  for (const topic of ['opt/rap', 'opt/plain']) other.publish(topic, 'x', 0, { retain: true })
  t.match(await receiveAll(client, 2), [{ retain: true }, { retain: false }])
  await client.subscribe('opt/rap', 1, { rh: 1 })
  await client.nothing()
  await client.subscribe('opt/plain', 1, { rh: 2 })
  await client.nothing()
  await client.subscribe('opt/plain', 1, { rh: 0 })
  t.match(await receiveAll(client, 1), [{ retain: true }])
  await unsubscribe(client, ['opt/plain'])
  await client.subscribe('opt/plain', 1, { rh: 1 })
  t.match(await receiveAll(client, 1), [{ retain: true }], 'a new subscription with retain handling 1')
  for (const topic of ['opt/rap', 'opt/plain']) other.publish(topic, '', 0, { retain: true })
  await other.nothing()
})

t.test('request and response', async (t) => {
  const asks = await broker.client({ clientId: 'asks' })
  const answers = await broker.client({ clientId: 'answers' })
  await asks.subscribe('answer', 2)
  await answers.subscribe('question', 2)
  const correlationData = Buffer.from('334')
  asks.publish('question', '?', 1, { messageId: 1, properties: { responseTopic: 'answer', correlationData } })
  await asks.next('puback')
  const { properties } = await receive(answers)
  t.same([properties?.responseTopic, properties?.correlationData?.toString()], ['answer', '334'])
  answers.publish('answer', '!', 1, { messageId: 1, properties: { correlationData } })
  t.equal((await receive(asks)).properties?.correlationData?.toString(), '334')
})

t.test('client topic alias: within the maximum, and for one connection', async (t) => {
  const watch = await broker.client({ clientId: 'watch' })
  await watch.subscribe('alias/#', 0)
  const client = await broker.client({ clientId: 'alias', ...lasting })
  const maximum = client.connack?.properties?.topicAliasMaximum ?? 0
  t.equal(maximum, 10)
  client.publish('alias/a', 'set', 0, { properties: { topicAlias: maximum } })
  client.publish('', 'used', 0, { properties: { topicAlias: maximum } })
  t.same(payloads([await watch.nextPublish(), await watch.nextPublish()]), ['set', 'used'])
  client.destroy()
  const again = await broker.client({ clientId: 'alias', ...lasting })
  again.publish('', 'lost', 0, { properties: { topicAlias: maximum } })
  t.equal(await again.ended(), 0x82)
  const above = await broker.client({ clientId: 'alias', clean: true })
  above.publish('alias/a', 'above', 0, { properties: { topicAlias: maximum + 1 } })
  t.equal(await above.ended(), 0x94)
  const zero = await broker.client({ clientId: 'alias' })
  zero.raw('30 0e 0007 616c6961732f61 03 230000 78')
  t.ok([0x82, 0x94].includes(await zero.ended()))
  await watch.nothing()
})

t.test('server topic alias: assigned within what the client allows, none when it allows none', async (t) => {
  const client = await broker.client({ clientId: 'client', properties: { topicAliasMaximum: 1 } })
  await client.subscribe('short/#', 2)
  const plain = await broker.client({ clientId: 'plain' })
  await plain.subscribe('short/#', 0)
  const pub = await broker.client({ clientId: 'pub' })
  await publishEach(pub, ['short/a', 'short/a', 'short/a'])
  const got = await receiveAll(client, 3)
  pub.publish('short/b', 'other')
  got.push(...(await receiveAll(client, 1)))
  t.same(
    got.map(({ topic, properties }) => [topic, properties?.topicAlias]),
    [
      ['short/a', 1],
      ['', 1],
      ['', 1],
      ['short/b', undefined],
    ],
  )
  t.ok((await receiveAll(plain, 4)).every(({ properties }) => properties?.topicAlias === undefined))
})

t.test('maximum packet size: ours is told and kept, theirs is kept', async (t) => {
  const client = await broker.client({ clientId: 'large' })
  const maximum = client.connack?.properties?.maximumPacketSize as number
  t.ok(maximum > 0)
  client.publish('big', 'x'.repeat(maximum), 0)
  t.equal(await client.ended(), 0x95)
  const small = await broker.client({ clientId: 'small', properties: { maximumPacketSize: 64 } })
  await small.subscribe('size', 2)
  const pub = await broker.client({ clientId: 'pub' })
  pub.publish('size', 'x'.repeat(64), 1, { messageId: 1 })
  await pub.next('puback')
  pub.publish('size', 'fits', 1, { messageId: 2 })
  await pub.next('puback')
  t.same(payloads(await receiveAll(small, 1)), ['fits'])
})

t.test('payload format and content type travel', async (t) => {
  const client = await broker.client({ clientId: 'format' })
  await client.subscribe('format', 2)
  for (const qos of [0, 1, 2] as const) {
    const properties = { payloadFormatIndicator: true, contentType: 'My name' }
    client.publish('format', 'x', qos, { messageId: 1, properties })
  }
  t.match(await client.nextPublish(), { properties: { payloadFormatIndicator: true, contentType: 'My name' } })
})

t.test('publication expiry: what is late is not sent, what is left is told', async (t) => {
  const away = await broker.client({ clientId: 'away', ...lasting })
  await away.subscribe('expiry/+', 2)
  await away.disconnect()
  const pub = await broker.client({ clientId: 'pub' })
  const expiring = (topic: string, qos: 1 | 2, messageExpiryInterval: number) =>
    pub.publish(topic, topic, qos, { messageId: qos, properties: { messageExpiryInterval } })
  expiring('expiry/1', 1, 1)
  await pub.next('puback')
  expiring('expiry/2', 2, 60)
  await completeQos2(pub, 2)
  await new Promise((resolve) => setTimeout(resolve, 1500))
  const back = await broker.client({ clientId: 'away', ...lasting })
  const [got] = await receiveAll(back, 1)
  t.equal(got?.topic, 'expiry/2')
  const left = got?.properties?.messageExpiryInterval ?? 60
  t.ok(left < 60 && left > 50, `${left} s`)
  await back.disconnect(0, { sessionExpiryInterval: 0 })
})

t.test('user properties keep their order and repetitions, in publications and in subscriptions', async (t) => {
  const client = await broker.client({ clientId: 'user' })
  const userProperties = { c: '3', a: ['2', '1'] }
  await client.subscribe('user', 0, {}, { userProperties })
  client.publish('user', 'x', 0, { properties: { userProperties } })
  const got = (await client.nextPublish()).properties?.userProperties
  t.same({ ...got }, userProperties)
})

t.test('flow control 1: more in flight than the receive maximum ends the connection', async (t) => {
  const client = await broker.client({ clientId: 'flow' })
  const most = client.connack?.properties?.receiveMaximum as number
  t.equal(most, 20)
  for (let i = 1; i <= most + 1; i++) client.publish('flow', 'x', 2, { messageId: i })
  t.equal(await client.ended(), 0x93)
})

t.test('flow control 2: no more in flight than the client allows', async (t) => {
  const client = await broker.client({ clientId: 'slow', properties: { receiveMaximum: 2 } })
  await client.subscribe('flow/2', 2)
  const pub = await broker.client({ clientId: 'pub' })
  for (let i = 1; i <= 5; i++) {
    pub.publish('flow/2', `${i}`, 1, { messageId: i })
    await pub.next('puback')
  }
  const first = [await client.nextPublish(), await client.nextPublish()]
  await client.nothing()
  for (const { messageId } of first) client.send({ cmd: 'puback', messageId: messageId as number })
  t.same(payloads(await receiveAll(client, 3)), ['3', '4', '5'])
})
