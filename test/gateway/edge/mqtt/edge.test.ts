import { once } from 'node:events'
import { connect } from 'node:net'
import mqtt from 'mqtt'
import t from 'tap'
import type { AccessRules } from '../../../../gateway/edge/mqtt/access.js'
import { createMqttEdge } from '../../../../gateway/edge/mqtt/edge.js'
import { createFanout } from '../../../../gateway/fanout/fan-out.js'
import { SluiceError } from '../../../../proto/errors.js'
import { Reason } from '../../../../proto/mqtt/packet.js'
import { ManualClock } from '../../../manual-clock.js'
import { FakeHost, quiet, startBench, until } from './harness.js'

t.test('clients of every version and QoS exchange messages', async (t) => {
  const bench = await startBench()
  for (const version of [3, 4, 5] as const) {
    for (const qos of [0, 1, 2] as const) {
      const url = `mqtt://127.0.0.1:${bench.port}`
      const protocolId = version === 3 ? 'MQIsdp' : 'MQTT'
      const options = { protocolVersion: version, protocolId, reconnectPeriod: 0 } as const
      const subscriber = await mqtt.connectAsync(url, options)
      const publisher = await mqtt.connectAsync(url, options)
      await subscriber.subscribeAsync(`room/${version}/+`, { qos })
      const came = new Promise<[string, string, number]>((resolve) => {
        subscriber.once('message', (topic, payload, packet) => resolve([topic, payload.toString(), packet.qos]))
      })
      await publisher.publishAsync(`room/${version}/x`, `hello ${qos}`, { qos })
      t.same(await came, [`room/${version}/x`, `hello ${qos}`, qos])
      await Promise.all([subscriber.endAsync(), publisher.endAsync()])
    }
  }
  await bench.close()
})

t.test('MQTT 5 properties travel unchanged and in order', async (t) => {
  const bench = await startBench()
  const subscriber = await bench.client({ clientId: 'sub' })
  await subscriber.subscribe('p', 2)
  const publisher = await bench.client({ clientId: 'pub' })
  for (const qos of [0, 1] as const) {
    publisher.publish('p', 'x', qos, {
      properties: {
        payloadFormatIndicator: true,
        contentType: 'text/plain',
        responseTopic: 'answers',
        correlationData: Buffer.from('42'),
        userProperties: { b: ['1', '2'], a: '3' },
      },
    })
    const { properties } = await subscriber.nextPublish()
    t.match(properties, { payloadFormatIndicator: true, contentType: 'text/plain', responseTopic: 'answers' })
    t.same(properties?.correlationData, Buffer.from('42'))
    t.same(properties?.userProperties, Object.assign(Object.create(null), { b: ['1', '2'], a: '3' }))
  }
  await bench.close()
})

t.test(
  'the messages of one turn leave in one piece, and a slow worker stops the reading but loses nothing',
  async (t) => {
    const bench = await startBench()
    bench.host.outcome = 'overloaded'
    const client = await bench.client({ clientId: 'busy' })
    const session = bench.host.of('busy')
    client.publish('a', '1', 1, { messageId: 1 })
    client.publish('a', '2', 1, { messageId: 2 })
    await until(() => bench.edge.counters.paused > 0)
    session.outcome = 'routed'
    bench.clock.advance(5)
    await until(() => session.relayed.length === 2)
    t.same(
      session.relayed.map(({ payload, seq }) => [payload, seq]),
      [
        ['1', 1],
        ['2', 2],
      ],
    )
    session.processed(2)
    t.match(await client.next('puback'), { messageId: 1 })
    t.match(await client.next('puback'), { messageId: 2 })
    await bench.close()
  },
)

t.test('PUBACK and PUBREC wait until the worker processed the message when a route took it', async (t) => {
  const bench = await startBench()
  bench.host.outcome = 'routed'
  const client = await bench.client({ clientId: 'dev' })
  const session = bench.host.of('dev')
  client.publish('up', 'one', 1, { messageId: 7, properties: { userProperties: { kind: 'test' } } })
  client.publish('up', 'two', 2, { messageId: 8 })
  client.publish('up', 'three', 0)
  await client.nothing()
  t.same(
    session.relayed.map(({ payload, seq, headers }) => [payload, seq, headers?.kind]),
    [
      ['one', 1, 'test'],
      ['two', 2, undefined],
      ['three', 0, undefined],
    ],
  )
  session.processed(1)
  t.match(await client.next('puback'), { messageId: 7, reasonCode: Reason.NO_MATCHING_SUBSCRIBERS })
  await client.nothing()
  session.processed(2)
  t.match(await client.next('pubrec'), { messageId: 8 })
  client.send({ cmd: 'pubrel', messageId: 8 })
  t.match(await client.next('pubcomp'), { messageId: 8 })
  await bench.close()
})

t.test(
  'a message that no worker can get any more is answered with a reason, or by closing before MQTT 5',
  async (t) => {
    const bench = await startBench()
    bench.host.outcome = 'routed'
    const five = await bench.client({ clientId: 'five' })
    five.publish('up', 'x', 1, { messageId: 3 })
    five.publish('up', 'y', 1, { messageId: 4 })
    await five.nothing()
    bench.host.of('five').port?.failed(1, 'no_worker', 'nobody')
    t.match(await five.next('puback'), { messageId: 3, reasonCode: Reason.QUOTA_EXCEEDED })
    bench.host.of('five').processed(2)
    t.match(await five.next('puback'), { messageId: 4 })
    const four = await bench.client({ clientId: 'four', protocolVersion: 4 })
    four.publish('up', 'x', 1, { messageId: 3 })
    await four.nothing()
    bench.host.of('four').port?.failed(1, 'no_worker', 'nobody')
    t.equal(await four.ended(), -1)
    await bench.close()
  },
)

t.test("a worker's answers go to the response topic, else to TOPIC/reply, and only to who subscribed", async (t) => {
  const bench = await startBench()
  bench.host.outcome = 'routed'
  const client = await bench.client({ clientId: 'dev' })
  const session = bench.host.of('dev')
  client.publish('ask', 'q', 0, { properties: { responseTopic: 'mine', correlationData: Buffer.from('c') } })
  await client.nothing()
  session.answer('ask', 'nobody listens')
  t.equal(bench.edge.counters.droppedUnsubscribed, 1)
  await client.subscribe('mine', 1)
  await client.subscribe('+/reply', 0)
  session.answer('ask', 'a')
  const first = await client.nextPublish()
  t.match(first, { topic: 'mine', qos: 0 })
  t.same(first.properties?.correlationData, Buffer.from('c'))
  session.answer('other', 'b')
  t.match(await client.nextPublish(), { topic: 'other/reply', qos: 0 })
  session.answer('ask', 'c', 1)
  session.answer('other', 'd', 2)
  const acked = await client.nextPublish()
  t.match(acked, { topic: 'mine', qos: 1 })
  t.match(await client.nextPublish(), { topic: 'other/reply', qos: 0 })
  t.same(session.confirmed, [], 'the second is confirmed only after the first')
  client.send({ cmd: 'puback', messageId: acked.messageId as number })
  await client.nothing()
  t.same(session.confirmed, [2])
  await bench.close()
})

t.test(
  'an answer that its asker did not subscribe to goes to those who did, where the asker may publish',
  async (t) => {
    const rules = { publish: { allow: ['ask', 'open', 'ask/reply'] } }
    const bench = await startBench({ rules })
    bench.host.outcome = 'routed'
    const listener = await bench.client({ clientId: 'listener' })
    for (const filter of ['ask/reply', 'open', 'closed']) await listener.subscribe(filter, 1)
    const asker = await bench.client({ clientId: 'asker' })
    const session = bench.host.of('asker')
    asker.publish('ask', 'q')
    await asker.nothing()
    session.answer('ask', 'a')
    t.match(await listener.nextPublish(), { topic: 'ask/reply', qos: 0 })
    session.answer('ask', 'b', 1)
    t.match(await listener.nextPublish(), { topic: 'ask/reply', qos: 1 })
    t.same(session.confirmed, [1])
    asker.publish('ask', 'q', 0, { properties: { responseTopic: 'open' } })
    await asker.nothing()
    session.answer('ask', 'c')
    t.match(await listener.nextPublish(), { topic: 'open' })
    asker.publish('ask', 'q', 0, { properties: { responseTopic: 'closed' } })
    await asker.nothing()
    session.answer('ask', 'd')
    session.answer('ask', 'e', 2)
    await listener.nothing()
    t.same(session.confirmed, [1, 2], 'nobody has to wait for what was dropped')
    t.equal(bench.edge.counters.droppedUnsubscribed, 2)
    await bench.close()
  },
)

t.test('a client that publishes and leaves at once is answered for a moment longer', async (t) => {
  const bench = await startBench()
  bench.host.outcome = 'routed'
  const listener = await bench.client({ clientId: 'listener' })
  await listener.subscribe('ask/reply', 1)
  const leave = async (clientId: string) => {
    const client = await bench.client({ clientId })
    client.publish('ask', 'q')
    client.send({ cmd: 'disconnect' })
    await client.ended()
    return bench.host.of(clientId)
  }
  const gone = await leave('gone')
  t.equal(gone.ended, '')
  gone.answer('ask', 'late')
  t.match(await listener.nextPublish(), { topic: 'ask/reply', payload: Buffer.from('late') })
  bench.clock.advance(1100)
  t.equal(gone.ended, 'closed final')

  const former = await leave('back')
  await bench.client({ clientId: 'back', clean: false })
  t.equal(former.ended, 'closed final', 'its next connection is a new session')
  t.not(bench.host.of('back'), former)

  const last = await leave('last')
  await bench.close()
  t.equal(last.ended, 'closed final', 'nobody is waited for when the edge goes')
})

t.test('a client that left without a question, or with a session that lasts, is not waited for', async (t) => {
  const bench = await startBench()
  bench.host.outcome = 'routed'
  const silent = await bench.client({ clientId: 'silent' })
  silent.send({ cmd: 'disconnect' })
  await silent.ended()
  t.equal(bench.host.of('silent').ended, 'closed final')
  const lasting = await bench.client({ clientId: 'lasting', properties: { sessionExpiryInterval: 60 } })
  lasting.publish('ask', 'q')
  lasting.send({ cmd: 'disconnect' })
  await lasting.ended()
  t.equal(bench.host.of('lasting').ended, 'closed')
  await bench.close()
})

t.test('a client id that connects again takes over', async (t) => {
  const bench = await startBench()
  const old = await bench.client({ clientId: 'same' })
  const next = await bench.client({ clientId: 'same', clean: false })
  t.equal(next.connack?.sessionPresent, false, 'a session without expiry ended with its connection')
  t.equal(await old.ended(), Reason.SESSION_TAKEN_OVER)
  await next.nothing()
  bench.host.of('same').port?.end('taken_over', 'over WebSocket')
  t.equal(await next.ended(), Reason.SESSION_TAKEN_OVER)
  t.equal(bench.edge.counters.sessions, 0)
  await bench.close()
})

t.test('silence for one and a half keep-alives ends a connection and publishes its will', async (t) => {
  const bench = await startBench()
  const watcher = await bench.client({ clientId: 'watcher' })
  await watcher.subscribe('wills/#', 1)
  const will = { topic: 'wills/quiet', payload: Buffer.from('gone'), qos: 1 as const, retain: false }
  const quietOne = await bench.client({ clientId: 'quiet', keepalive: 10, will })
  bench.clock.advance(14_000)
  await quietOne.nothing()
  bench.clock.advance(14_000)
  await quietOne.nothing()
  bench.clock.advance(16_000)
  t.equal(await quietOne.ended(), Reason.KEEP_ALIVE_TIMEOUT)
  t.match(await watcher.nextPublish(), { topic: 'wills/quiet', payload: Buffer.from('gone') })
  await bench.close()
})

t.test('a connection that never says CONNECT is closed', async (t) => {
  const bench = await startBench({ options: { connectTimeoutMs: 2000 } })
  const { RawClient } = await import('./harness.js')
  const idle = await RawClient.open(bench.port, 4)
  await until(() => bench.edge.counters.connections === 1)
  bench.clock.advance(3000)
  t.equal(await idle.ended(), -1)
  t.equal(bench.edge.counters.connections, 0)
  await bench.close()
})

t.test(
  'wills: not after DISCONNECT, after their delay, not when the session goes on, at the end of the session',
  async (t) => {
    const bench = await startBench()
    const watcher = await bench.client({ clientId: 'watcher' })
    await watcher.subscribe('w/#', 1)
    const connect = (id: string, delay: number, expiry: number): Promise<import('./harness.js').RawClient> =>
      bench.client({
        clientId: id,
        clean: false,
        properties: { sessionExpiryInterval: expiry },
        will: {
          topic: `w/${id}`,
          payload: Buffer.from(id),
          qos: 1,
          retain: false,
          properties: { willDelayInterval: delay },
        },
      })
    await (await connect('clean', 0, 0)).disconnect()
    await watcher.nothing()
    await (await connect('asked', 0, 0)).disconnect(4)
    t.match(await watcher.nextPublish(), { topic: 'w/asked' })
    const delayed = await connect('delayed', 5, 60)
    delayed.destroy()
    await until(() => bench.edge.counters.connections === 1)
    bench.clock.advance(4000)
    await watcher.nothing()
    bench.clock.advance(2000)
    t.match(await watcher.nextPublish(), { topic: 'w/delayed' })
    const back = await connect('back', 5, 60)
    back.destroy()
    await until(() => bench.edge.counters.connections === 1)
    const again = await connect('back', 5, 60)
    bench.clock.advance(10_000)
    await watcher.nothing()
    await again.disconnect()
    const short = await connect('short', 100, 3)
    short.destroy()
    await until(() => bench.edge.counters.connections === 1)
    bench.clock.advance(4000)
    t.match(await watcher.nextPublish(), { topic: 'w/short' }, 'the session ends before the delay does')
    await bench.close()
  },
)

const TAKEOVERS = [
  // version, delay, first session lasts, begun anew: session present, will heard; and heard with the option off
  [4, 0, true, false, true, true, false],
  [4, 0, true, true, false, true, true],
  [4, 0, false, false, false, true, true],
  [5, 0, true, false, true, true, false],
  [5, 0, true, true, false, true, true],
  [5, 0, false, false, false, true, true],
  [5, 9, true, false, true, false, false],
  [5, 9, true, true, false, true, true],
  [5, 9, false, false, false, true, true],
] as const

t.test(
  'a client that takes itself over has its will published when its session ends; also when it goes on where told to',
  async (t) => {
    for (const willOnTakeover of [true, false, undefined]) {
      const bench = await startBench({ options: willOnTakeover === undefined ? {} : { willOnTakeover } })
      const watcher = await bench.client({ clientId: 'watcher' })
      await watcher.subscribe('left')
      for (const [protocolVersion, delay, lasts, clean, present, heard, heardOff] of TAKEOVERS) {
        const five = protocolVersion === 5
        const lasting = five && { properties: { sessionExpiryInterval: 60 } }
        const will = {
          topic: 'left',
          payload: Buffer.from('x'),
          qos: 0 as const,
          retain: false,
          ...(five && { properties: { willDelayInterval: delay } }),
        }
        const old = await bench.client({ protocolVersion, will, clean: !five && !lasts, ...(lasts && lasting) })
        const next = await bench.client({ protocolVersion, clean, ...lasting })
        await old.ended()
        const what = `MQTT ${protocolVersion}, delay ${delay}, lasts: ${lasts}, clean: ${clean}, option: ${willOnTakeover}`
        t.equal(next.connack?.sessionPresent, present, what)
        if (willOnTakeover ? heard : heardOff) t.match(await watcher.nextPublish(), { topic: 'left' }, what)
        await watcher.nothing()
        await next.disconnect()
        await (await bench.client({ protocolVersion })).disconnect()
      }
      await bench.close()
    }
  },
)

t.test('a will for a topic of the gateway itself ends the connection without a word', async (t) => {
  const bench = await startBench()
  for (const protocolVersion of [4, 5] as const) {
    for (const topic of ['$SYS/broker/uptime', '$CONTROL/x']) {
      const will = { topic, payload: Buffer.from('x'), qos: 0 as const, retain: false }
      await t.rejects(
        bench.client({ protocolVersion, will }),
        /ended instead of connack/,
        `${protocolVersion}: ${topic}`,
      )
    }
  }
  const will = { topic: '$SYS/broker/connection/b/state', payload: Buffer.from('0'), qos: 0 as const, retain: false }
  t.ok((await bench.client({ will })).connack, 'but for the state of a bridge')
  await bench.close()
})

t.test('a bridge of before MQTT 5 hears nothing of its own, and retained as published', async (t) => {
  const bench = await startBench()
  for (const bridgeMode of [false, true]) {
    // What the typings of mqtt-packet leave out.
    const asBridge = { bridgeMode } as object
    const client = await bench.client({ clientId: `bridge-${bridgeMode}`, protocolVersion: 4, ...asBridge })
    await client.subscribe('loop/#')
    client.publish('loop/x', 'own')
    if (!bridgeMode) await client.nextPublish()
    await client.nothing()
    const other = await bench.client({ clientId: 'other' })
    other.publish('loop/y', 'kept', 0, { retain: true })
    t.match(await client.nextPublish(), { topic: 'loop/y', retain: bridgeMode })
    t.equal(await client.subscribe('$share/g/loop/x'), 0, 'No Local is not for shared ones')
    other.publish('loop/y', '', 0, { retain: true })
    await other.disconnect()
    client.destroy()
  }
  await bench.close()
})

t.test('session expiry: present within, gone after, changed by DISCONNECT, not from 0', async (t) => {
  const bench = await startBench()
  const connect = (expiry: number): Promise<import('./harness.js').RawClient> =>
    bench.client({ clientId: 'e', clean: false, properties: { sessionExpiryInterval: expiry } })
  let client = await connect(5)
  t.equal(client.connack?.sessionPresent, false)
  await client.subscribe('kept')
  await client.disconnect()
  bench.clock.advance(4000)
  client = await connect(5)
  t.equal(client.connack?.sessionPresent, true)
  await client.disconnect(0, { sessionExpiryInterval: 100 })
  bench.clock.advance(50_000)
  t.equal(bench.fanout.subscriptions, 1)
  client = await connect(5)
  t.equal(client.connack?.sessionPresent, true)
  await client.disconnect()
  bench.clock.advance(6000)
  t.equal(bench.fanout.subscriptions, 0)
  client = await connect(0)
  t.equal(client.connack?.sessionPresent, false)
  t.equal(await client.disconnect(0, { sessionExpiryInterval: 5 }), Reason.PROTOCOL_ERROR)
  await bench.close()
})

t.test('SUBACK comes before the retained messages of its subscription, and retain handling is heeded', async (t) => {
  const bench = await startBench()
  const publisher = await bench.client({ clientId: 'pub' })
  publisher.publish('state/a', 'on', 1, { retain: true })
  await publisher.next('puback')
  const client = await bench.client({ clientId: 'sub' })
  t.equal(await client.subscribe('state/#', 1), 1)
  t.match(await client.nextPublish(), { topic: 'state/a', retain: true, qos: 1 })
  await client.subscribe('state/#', 1, { rh: 1 })
  await client.nothing()
  await client.subscribe('state/#', 1, { rh: 2 })
  await client.nothing()
  publisher.publish('state/a', 'off', 0, { retain: true })
  t.match(await client.nextPublish(), { retain: false }, 'not retain as published')
  await client.subscribe('state/+', 0, { rap: true, rh: 2 })
  publisher.publish('state/b', 'x', 0, { retain: true })
  t.ok((await client.nextPublish()).retain)
  await bench.close()
})

t.test('subscription identifiers, No Local and UNSUBACK codes', async (t) => {
  const bench = await startBench()
  const client = await bench.client()
  await client.subscribe('a/#', 0, {}, { subscriptionIdentifier: 11 })
  await client.subscribe('a/b', 1, {}, { subscriptionIdentifier: 12 })
  client.publish('a/b', 'x', 0)
  const { properties } = await client.nextPublish()
  t.same([properties?.subscriptionIdentifier].flat().sort(), [11, 12])
  await client.subscribe('own', 0, { nl: true })
  client.publish('own', 'x')
  await client.nothing()
  client.send({ cmd: 'unsubscribe', messageId: 5, unsubscriptions: ['a/b', 'never'] })
  t.same(((await client.next('unsuback')) as { granted?: number[] }).granted, [0, 0x11])
  await bench.close()
})

t.test('topic aliases both ways', async (t) => {
  const bench = await startBench({ options: { outboundAliases: 1 } })
  const client = await bench.client({ properties: { topicAliasMaximum: 3 } })
  t.equal(client.connack?.properties?.topicAliasMaximum, 10)
  await client.subscribe('long/#', 1)
  client.publish('long/topic', '1', 0, { properties: { topicAlias: 2 } })
  client.publish('', '2', 0, { properties: { topicAlias: 2 } })
  client.publish('long/other', '3', 1)
  t.match(await client.nextPublish(), { topic: 'long/topic', properties: { topicAlias: 1 } })
  t.match(await client.nextPublish(), { topic: '', properties: { topicAlias: 1 }, payload: Buffer.from('2') })
  const third = await client.nextPublish()
  t.equal(third.topic, 'long/other')
  t.equal(third.properties?.topicAlias, undefined, 'no alias is left')
  await client.next('puback')
  client.publish('', 'x', 0, { properties: { topicAlias: 7 } })
  t.equal(await client.ended(), Reason.PROTOCOL_ERROR)
  await bench.close()
})

t.test('without a word of the operator ten topics get an alias, for a client that allows them', async (t) => {
  const bench = await startBench()
  const client = await bench.client({ properties: { topicAliasMaximum: 65_535 } })
  await client.subscribe('n/#')
  for (const again of [false, true]) {
    for (let i = 1; i <= 11; i++) client.publish(`n/${i}`, 'x')
    for (let i = 1; i <= 11; i++) {
      const { topic, properties } = await client.nextPublish()
      t.equal(topic, again && i <= 10 ? '' : `n/${i}`)
      t.equal(properties?.topicAlias, i <= 10 ? i : undefined)
    }
  }
  const plain = await bench.client({ clientId: 'plain' })
  await plain.subscribe('n/#')
  client.publish('n/1', 'x')
  t.match(await plain.nextPublish(), { topic: 'n/1', properties: undefined }, 'who allows none gets none')
  await bench.close()
})

t.test('a message that is too large only with a topic alias goes without one', async (t) => {
  const bench = await startBench()
  // PUBLISH of 1 byte of topic and 10 of payload: 16 bytes, and 3 more with an alias.
  const client = await bench.client({ properties: { topicAliasMaximum: 2, maximumPacketSize: 18 } })
  await client.subscribe('+')
  const other = await bench.client({ clientId: 'other' })
  for (const [topic, payload] of [
    ['a', '0123456789'],
    ['b', 'small'],
    ['a', 'small'],
  ] as const)
    other.publish(topic, payload)
  const came = [await client.nextPublish(), await client.nextPublish(), await client.nextPublish()]
  t.same(
    came.map(({ topic, properties }) => [topic, properties?.topicAlias]),
    [
      ['a', undefined],
      ['b', 1],
      ['a', 2],
    ],
  )
  await bench.close()
})

t.test('packet sizes are kept both ways', async (t) => {
  const bench = await startBench({ options: { maxPacket: 200 } })
  const client = await bench.client({ properties: { maximumPacketSize: 40 } })
  t.equal(client.connack?.properties?.maximumPacketSize, 200)
  await client.subscribe('s', 1)
  client.publish('s', 'x'.repeat(50), 1)
  client.publish('s', 'small', 1, { messageId: 2 })
  const came = [await client.next('puback'), await client.next('publish'), await client.next('puback')]
  t.same(came.map(({ cmd }) => cmd).sort(), ['puback', 'puback', 'publish'])
  t.equal(bench.edge.counters.droppedTooLarge, 1)
  client.publish('s', 'x'.repeat(300))
  t.equal(await client.ended(), Reason.PACKET_TOO_LARGE)
  await bench.close()
})

t.test('what the gateway tells in CONNACK: assigned id, keep-alive, response information, expiry', async (t) => {
  const bench = await startBench({
    options: { maxKeepAlive: 60, responseInformation: 'replies/%c', maxSessionExpiry: 100 },
  })
  const client = await bench.client({
    clientId: '',
    keepalive: 120,
    properties: { requestResponseInformation: true, sessionExpiryInterval: 1000 },
  })
  const properties = client.connack?.properties
  t.match(properties?.assignedClientIdentifier, /^auto-[0-9a-f-]{36}$/)
  t.equal(properties?.serverKeepAlive, 60)
  t.equal(properties?.sessionExpiryInterval, 100)
  t.equal(properties?.responseInformation, `replies/${properties?.assignedClientIdentifier}`)
  const plain = await bench.client({ clientId: 'x', keepalive: 30 })
  t.same(Object.keys(plain.connack?.properties ?? {}).sort(), [
    'maximumPacketSize',
    'receiveMaximum',
    'topicAliasMaximum',
  ])
  await bench.close()
  const endless = await startBench({ options: { maxPacket: 268_435_460 } })
  const any = await endless.client()
  t.equal(any.connack?.properties?.maximumPacketSize, undefined, 'as large as packets get is no limit to tell')
  await endless.close()
})

t.test('rules deny subscriptions and publishes, and a wide filter does not get around them', async (t) => {
  const rules = { subscribe: { deny: ['secret/#'] }, publish: { allow: ['open/#', 'own/%c'] } }
  const bench = await startBench({ rules })
  const client = await bench.client({ clientId: 'me' })
  t.equal(await client.subscribe('secret/x'), Reason.NOT_AUTHORIZED)
  t.equal(await client.subscribe('#', 0), 0)
  const old = await bench.client({ clientId: 'old', protocolVersion: 4 })
  t.equal(await old.subscribe('secret/#'), 0x80)
  client.publish('closed', 'x', 1)
  t.match(await client.next('puback'), { reasonCode: Reason.NOT_AUTHORIZED })
  client.publish('closed', 'x', 2, { messageId: 2 })
  t.match(await client.next('pubrec'), { reasonCode: Reason.NOT_AUTHORIZED })
  client.publish('own/me', 'x')
  t.match(await client.nextPublish(), { topic: 'own/me' })
  const message = {
    topic: 'secret/x',
    payload: Buffer.from('s'),
    qos: 0,
    retain: false,
    publisher: '',
    properties: undefined,
    at: 0,
    encoded: new Map(),
  } as const
  bench.fanout.publish(message)
  await client.nothing()
  await bench.close()
})

t.test('a gateway that goes says so, and a moved device hears where to', async (t) => {
  const bench = await startBench()
  const moved = await bench.client({ clientId: 'moved' })
  const stays = await bench.client({ clientId: 'stays' })
  bench.host.of('moved').port?.end('draining', 'drain', { url: 'mqtt://other:1883' })
  t.match(await moved.next('disconnect'), {
    reasonCode: Reason.SERVER_MOVED,
    properties: { serverReference: 'mqtt://other:1883' },
  })
  const ended = stays.ended()
  await bench.edge.close()
  t.equal(await ended, Reason.SERVER_SHUTTING_DOWN)
  await bench.close()
})

t.test('a gateway that is full says Server Busy, before anything else is done', async (t) => {
  let asked = 0
  const authenticate = () => {
    asked++
    return { accepted: true } as const
  }
  const options = { connectsPerSecond: 3, maxConnections: 2 }
  const bench = await startBench({ options, authenticate, random: () => 0.5 })
  const [one, two] = [await bench.client({ clientId: '1' }), await bench.client({ clientId: '2' })]
  const third = await bench.client({ clientId: '3' })
  t.match(third.connack, { reasonCode: Reason.SERVER_BUSY })
  t.match(third.connack?.properties?.reasonString ?? '', /2 connections already; come again in \d+ ms/)
  const old = await bench.client({ clientId: '3', protocolVersion: 4 })
  t.equal(old.connack?.returnCode, 3)
  await one.disconnect()
  await two.disconnect()
  await bench.client({ clientId: '1' })
  const fast = await bench.client({ clientId: '2', properties: { maximumPacketSize: 20 } })
  t.match(fast.connack, { reasonCode: Reason.SERVER_BUSY })
  t.notOk(fast.connack?.properties?.reasonString, 'a reason that the client cannot take is left out')
  t.equal(asked, 3)
  bench.clock.advance(1000)
  t.equal((await bench.client({ clientId: '2' })).connack?.reasonCode, 0)
  await bench.close()
})

t.test('a gateway that drains refers to another server', async (t) => {
  const bench = await startBench({
    admit: () => {
      throw new SluiceError('draining', undefined, { retryAfterMs: 10, url: 'next.example:1883' })
    },
  })
  const five = await bench.client()
  t.match(five.connack, {
    reasonCode: Reason.USE_ANOTHER_SERVER,
    properties: { serverReference: 'next.example:1883' },
  })
  t.equal(await five.ended(), -1)
  const four = await bench.client({ protocolVersion: 4 })
  t.equal(four.connack?.returnCode, 3)
  await bench.close()
})

t.test('rules that cannot mean what they say are refused at the start', async (t) => {
  const wrong = (rules: AccessRules) =>
    startBench({ rules }).then(
      () => 'taken',
      (error: SluiceError) => error.path,
    )
  t.equal(await wrong({ subscribe: { deny: ['a', 'b/#/c'] } }), 'mqttRules.subscribe.deny.1')
  t.equal(await wrong({ publish: { allow: [''] } }), 'mqttRules.publish.allow.0')
  t.equal(await wrong({ publish: { reason: 1 } }), 'mqttRules.publish.reason')
})

t.test('an edge that is closed before it listens leaves no listener behind', async (t) => {
  const clock = new ManualClock()
  const edge = createMqttEdge({
    host: new FakeHost(),
    fanout: createFanout({ clock, log: quiet }),
    clock,
    log: quiet,
    newId: () => 'id',
  })
  const listening = edge.listen('127.0.0.1', 0)
  const closed = edge.close()
  const port = await listening.catch(() => 0)
  await closed
  if (port === 0) return
  const client = connect(port, '127.0.0.1')
  const [error] = await once(client, 'error')
  t.equal((error as NodeJS.ErrnoException).code, 'ECONNREFUSED')
})

t.test('each socket that a listener takes is told of', async (t) => {
  let accepted = 0
  const bench = await startBench({ accepted: () => accepted++ })
  t.teardown(() => bench.close())
  await bench.client()
  await bench.client()
  t.equal(accepted, 2)
})
