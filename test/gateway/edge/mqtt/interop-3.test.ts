import t from 'tap'
import { completeQos2, connectPacket, publishEach, receiveAll, startBroker } from './interop.js'

/** Each test of Paho's client_test.py by its name there, MQTT 3.1.1. */
const broker = await startBroker(4)
t.teardown(() => broker.stop())
const TOPICS = ['TopicA', 'TopicA/B', 'Topic/C']

t.test('basic: messages at each QoS, and a second CONNECT ends the connection', async (t) => {
  const client = await broker.client({ clientId: 'basic' })
  await client.subscribe('TopicA', 2)
  client.publish('TopicA', 'qos 0', 0)
  client.publish('TopicA', 'qos 1', 1, { messageId: 1 })
  t.match(await client.nextPublish(), { payload: Buffer.from('qos 0'), qos: 0 })
  const own = await client.nextPublish()
  t.match(own, { payload: Buffer.from('qos 1'), qos: 1 })
  client.send({ cmd: 'puback', messageId: own.messageId as number })
  await client.next('puback')
  client.publish('TopicA', 'qos 2', 2, { messageId: 2 })
  await completeQos2(client, 2)
  t.match(await receiveAll(client, 1), [{ payload: Buffer.from('qos 2'), qos: 2 }])
  client.send(connectPacket(4, { clientId: 'basic' }))
  t.equal(await client.ended(), -1)
  const stranger = await broker.open()
  stranger.raw('10 10 0004 68657374 04 02 0000 0004 68657265')
  t.equal(await stranger.ended(), -1, 'as does a protocol of another name')
})

t.test('retained messages come with a subscription, until they are cleared', async (t) => {
  const client = await broker.client({ clientId: 'retained' })
  await publishEach(client, TOPICS, true)
  await client.subscribe('+/+', 2)
  t.match(await receiveAll(client, 2), [{ retain: true }, { retain: true }])
  for (const topic of TOPICS) client.publish(topic, '', 0, { retain: true })
  for (let i = 0; i < 2; i++) t.match(await client.nextPublish(), { payload: Buffer.alloc(0), retain: false })
  await client.disconnect()
  const again = await broker.client({ clientId: 'retained' })
  await again.subscribe('#', 2)
  await again.nothing()
  await again.disconnect()
})

t.test('zero length client id: only with a clean session', async (t) => {
  const refused = await broker.open()
  refused.raw('10 0c 0004 4d515454 04 00 0000 0000')
  t.match(await refused.next('connack'), { returnCode: 2 })
  const taken = await broker.client({ clientId: '', clean: true })
  t.equal(taken.connack?.returnCode, 0)
})

t.test('offline message queueing', async (t) => {
  const away = await broker.client({ clientId: 'away', clean: false })
  await away.subscribe('offline/+', 2)
  await away.disconnect()
  const pub = await broker.client({ clientId: 'pub' })
  await publishEach(pub, ['offline/0', 'offline/1', 'offline/2'])
  const back = await broker.client({ clientId: 'away', clean: false })
  t.ok(back.connack?.sessionPresent)
  t.same(
    (await receiveAll(back, 2)).map(({ topic, qos }) => [topic, qos]),
    [
      ['offline/1', 1],
      ['offline/2', 2],
    ],
    'QoS 0 is not queued, which the specification leaves open',
  )
  await back.disconnect()
})

t.test('will message, when the connection ends without DISCONNECT', async (t) => {
  const watch = await broker.client({ clientId: 'watch' })
  await watch.subscribe('will/c', 2)
  const will = { topic: 'will/c', payload: Buffer.from('will message'), qos: 0 as const, retain: false }
  const dying = await broker.client({ clientId: 'dying', will })
  dying.destroy()
  t.match(await watch.nextPublish(), { topic: 'will/c', payload: Buffer.from('will message') })
  const polite = await broker.client({ clientId: 'polite', will })
  await polite.disconnect()
  await watch.nothing()
})

t.test('overlapping subscriptions: one message at the higher QoS', async (t) => {
  const client = await broker.client({ clientId: 'overlap' })
  client.send({
    cmd: 'subscribe',
    messageId: 1,
    subscriptions: [
      { topic: 'over/#', qos: 2 },
      { topic: 'over/+', qos: 1 },
    ],
  })
  t.match(await client.next('suback'), { granted: [2, 1] })
  const pub = await broker.client({ clientId: 'pub' })
  pub.publish('over/lap', 'x', 2, { messageId: 1 })
  await completeQos2(pub, 1)
  t.match(await receiveAll(client, 1), [{ qos: 2 }])
})

t.test('keepalive: a silent client is cut and its will published', async (t) => {
  const watch = await broker.client({ clientId: 'watch' })
  await watch.subscribe('will/k', 2)
  const began = performance.now()
  const silent = await broker.client({
    clientId: 'silent',
    keepalive: 1,
    will: { topic: 'will/k', payload: Buffer.from('keepalive'), qos: 0, retain: false },
  })
  t.match(await watch.nextPublish(), { payload: Buffer.from('keepalive') })
  const took = performance.now() - began
  t.ok(took > 1400 && took < 4000, `after ${took} ms`)
  t.equal(await silent.ended(), -1)
})

t.test(
  'redelivery on reconnect: what was not acknowledged comes again with DUP, and with its identifier',
  async (t) => {
    const first = await broker.client({ clientId: 'again', clean: false })
    await first.subscribe('re/+', 2)
    const pub = await broker.client({ clientId: 'pub' })
    await publishEach(pub, ['re/0', 're/1', 're/2'])
    for (let i = 0; i < 3; i++) await first.nextPublish()
    first.destroy()
    const back = await broker.client({ clientId: 'again', clean: false })
    t.match(await receiveAll(back, 2), [
      { topic: 're/1', dup: true, messageId: 1 },
      { topic: 're/2', dup: true, messageId: 2 },
    ])
    await back.disconnect()
    await (await broker.client({ clientId: 'again', clean: true })).disconnect()
  },
)

t.test('subscribe failure: a denied filter is answered with 0x80', async (t) => {
  const client = await broker.client({ clientId: 'denied' })
  t.equal(await client.subscribe('test/nosubscribe', 2), 0x80)
})

t.test('$ topics are not matched by a wildcard at the first level', async (t) => {
  const client = await broker.client({ clientId: 'dollar' })
  await client.subscribe('#', 2)
  await client.subscribe('+/x', 2)
  client.publish('$own/x', 'hidden')
  await client.nothing()
  await client.subscribe('$own/+', 2)
  client.publish('$own/x', 'named')
  t.match(await client.nextPublish(), { payload: Buffer.from('named') })
})

t.test('unsubscribe ends deliveries of that filter only', async (t) => {
  const client = await broker.client({ clientId: 'unsub' })
  for (const topic of TOPICS) await client.subscribe(topic, 2)
  client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['TopicA'] })
  t.match(await client.next('unsuback'), { messageId: 2 })
  const pub = await broker.client({ clientId: 'pub' })
  await publishEach(pub, TOPICS)
  t.same(
    (await receiveAll(client, 2)).map(({ topic }) => topic),
    ['TopicA/B', 'Topic/C'],
  )
})
