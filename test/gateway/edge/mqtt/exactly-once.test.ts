import mqtt from 'mqtt'
import t from 'tap'
import type { Message } from '../../../../gateway/ports.js'
import { Reason } from '../../../../proto/mqtt/packet.js'
import { type Bench, type RawClient, startBench, until } from './harness.js'
import { completeQos2 } from './interop.js'

const lasting = { clean: false, properties: { sessionExpiryInterval: 1000 } }
const old = { protocolVersion: 4 as const, clientId: 'old' }

/** Hears everything at QoS 0. */
async function watch(bench: Bench): Promise<RawClient> {
  const watcher = await bench.client({ clientId: 'watcher' })
  await watcher.subscribe('#', 0)
  return watcher
}

async function hears(watcher: RawClient, ...payloads: string[]): Promise<void> {
  for (const payload of payloads) {
    const got = (await watcher.nextPublish()).payload.toString()
    if (got !== payload) throw new Error(`${payload} was expected, ${got} came`)
  }
  await watcher.nothing()
}

async function sends(pub: RawClient, messageId: number, payload: string): Promise<void> {
  pub.publish('q', payload, 2, { messageId })
  await pub.next('pubrec')
}

for (const protocolVersion of [4, 5] as const) {
  t.test(`MQTT ${protocolVersion}: nobody hears a message before its PUBREL, nor one that was replaced`, async (t) => {
    const bench = await startBench()
    const watcher = await watch(bench)
    const pub = await bench.client({ clientId: 'pub', protocolVersion })
    await sends(pub, 1, 'first')
    await sends(pub, 1, 'second')
    await sends(pub, 2, 'other')
    await sends(pub, 2, 'other')
    await watcher.nothing()
    pub.send({ cmd: 'pubrel', messageId: 2 })
    await pub.next('pubcomp')
    await hears(watcher, 'other')
    pub.send({ cmd: 'pubrel', messageId: 1 })
    await pub.next('pubcomp')
    await hears(watcher, 'second')
    await sends(pub, 1, 'second')
    pub.send({ cmd: 'pubrel', messageId: 1 })
    await pub.next('pubcomp')
    await hears(watcher, 'second')
    t.equal(bench.fanout.counters.published, 3, 'after PUBCOMP the same bytes are a new message')
    await bench.close()
  })
}

t.test(
  'however a connection ends, what is held goes out then, and a session knows it when it comes again',
  async (t) => {
    const endings: Record<string, (pub: RawClient, bench: Bench) => unknown> = {
      'the socket is gone': (pub) => pub.destroy(),
      DISCONNECT: (pub) => pub.disconnect(),
      'a broken packet': (pub) => pub.raw('00 00'),
      'another connection': (_, bench) => bench.client({ ...lasting, clientId: 'pub' }),
      'its worker ends it': (_, bench) => bench.host.of('pub').port?.end('closed', 'enough'),
      'the gateway drains': (_, bench) => bench.host.of('pub').port?.end('draining', 'drained'),
    }
    for (const [name, end] of Object.entries(endings)) {
      const bench = await startBench()
      const watcher = await watch(bench)
      const pub = await bench.client({ ...lasting, clientId: 'pub' })
      await sends(pub, 7, 'one')
      await sends(pub, 3, 'replaced')
      await sends(pub, 5, 'two')
      await sends(pub, 3, 'three')
      await end(pub, bench)
      await t.resolves(hears(watcher, 'one', 'two', 'three'), name)
      const back = await bench.client({ ...lasting, clientId: 'pub' })
      await sends(back, 7, 'one')
      for (const messageId of [7, 5, 3]) {
        back.send({ cmd: 'pubrel', messageId })
        t.match(await back.next('pubcomp'), { messageId })
      }
      await watcher.nothing()
      await sends(back, 7, 'one')
      back.send({ cmd: 'pubrel', messageId: 7 })
      await back.next('pubcomp')
      await hears(watcher, 'one')
      await bench.close()
    }
  },
)

t.test('what is held goes out when the session ends with its connection, and when the gateway goes', async (t) => {
  const bench = await startBench()
  const watcher = await watch(bench)
  const will = { will: { topic: 'q', payload: Buffer.from('will'), qos: 1 as const, retain: false } }
  const pub = await bench.client({ clientId: 'pub', ...will })
  await sends(pub, 1, 'clean')
  pub.destroy()
  await hears(watcher, 'clean', 'will')
  const last = await bench.client({ clientId: 'last' })
  await sends(last, 1, 'last')
  const published: Message[] = []
  const { publish } = bench.fanout
  bench.fanout.publish = (message, handedOver) => {
    published.push(message)
    return publish.call(bench.fanout, message, handedOver)
  }
  await bench.close()
  t.match(published, [{ topic: 'q', payload: Buffer.from('last') }])
})

t.test('messages and bytes that are held are bounded; what is beyond goes out at once', async () => {
  for (const options of [{ maxQueued: 2 }, { maxQueuedBytes: 1024 }]) {
    const bench = await startBench({ options })
    const watcher = await watch(bench)
    const pub = await bench.client({ clientId: 'pub' })
    const large = (name: string): string => name.padEnd(512, '.')
    for (const [i, name] of ['a', 'b', 'c'].entries()) await sends(pub, i + 1, large(name))
    await hears(watcher, large('c'))
    await sends(pub, 3, large('c'))
    await watcher.nothing()
    for (const messageId of [3, 1]) {
      pub.send({ cmd: 'pubrel', messageId })
      await pub.next('pubcomp')
    }
    await hears(watcher, large('a'))
    await sends(pub, 4, large('d'))
    await watcher.nothing()
    pub.destroy()
    await hears(watcher, large('b'), large('d'))
    await bench.close()
  }
})

t.test('what a worker refuses reaches nobody; before MQTT 5 it is taken anew when it comes again', async (t) => {
  const bench = await startBench()
  bench.host.outcome = 'routed'
  const watcher = await watch(bench)
  const pub = await bench.client({ ...lasting, clientId: 'pub' })
  pub.publish('q', 'x', 2)
  await pub.nothing()
  bench.host.of('pub').port?.failed(1, 'no_worker', 'none')
  t.match(await pub.next('pubrec'), { reasonCode: Reason.QUOTA_EXCEEDED })
  pub.destroy()
  await until(() => bench.edge.counters.connections === 1)
  await watcher.nothing()
  let legacy = await bench.client({ ...old, clean: false })
  legacy.publish('q', 'y', 2)
  await legacy.nothing()
  const worker = bench.host.of('old')
  worker.port?.failed(1, 'no_worker', 'none')
  t.equal(await legacy.ended(), -1)
  await watcher.nothing()
  worker.uplinkAcked = 1
  legacy = await bench.client({ ...old, clean: false })
  legacy.publish('q', 'y', 2, { dup: true })
  await legacy.nothing()
  t.match(worker.relayed, [{ seq: 1 }, { seq: 2 }])
  worker.processed(2)
  await completeQos2(legacy, 1)
  await hears(watcher, 'y')
  await bench.close()
})

t.test('a refusal by rule takes the place of what was held', async (t) => {
  const bench = await startBench({ rules: { publish: { deny: ['secret'] } } })
  const watcher = await watch(bench)
  const pub = await bench.client({ clientId: 'pub' })
  await sends(pub, 1, 'x')
  pub.publish('secret', 'y', 2)
  t.match(await pub.next('pubrec'), { reasonCode: Reason.NOT_AUTHORIZED })
  pub.destroy()
  await until(() => bench.edge.counters.connections === 1)
  await watcher.nothing()
  const legacy = await bench.client(old)
  await sends(legacy, 1, 'x')
  legacy.publish('secret', 'y', 2)
  await completeQos2(legacy, 1)
  await watcher.nothing()
  await bench.close()
})

t.test('a worker hears a message at once, and PUBREC waits for it, also over a reconnect', async (t) => {
  const bench = await startBench()
  bench.host.outcome = 'routed'
  const watcher = await watch(bench)
  let pub = await bench.client({ ...lasting, clientId: 'pub' })
  const worker = bench.host.of('pub')
  for (const messageId of [1, 2]) pub.publish('q', `${messageId}`, 2, { messageId })
  await pub.nothing()
  t.match(worker.relayed, [{ payload: '1' }, { payload: '2' }])
  await watcher.nothing()
  pub.destroy()
  await until(() => bench.edge.counters.connections === 1)
  await watcher.nothing()
  pub = await bench.client({ ...lasting, clientId: 'pub' })
  pub.publish('q', '1', 2, { messageId: 1, dup: true })
  pub.publish('q', '3', 2, { messageId: 3 })
  await pub.nothing()
  worker.processed(3)
  t.same([(await pub.next('pubrec')).messageId, (await pub.next('pubrec')).messageId].sort(), [1, 3])
  for (const messageId of [1, 2, 3]) {
    pub.send({ cmd: 'pubrel', messageId })
    await pub.next('pubcomp')
  }
  await hears(watcher, '1', '2', '3')
  await bench.close()
})

t.test('what its worker has not processed is published once, however often the client goes and comes', async () => {
  const bench = await startBench()
  bench.host.outcome = 'routed'
  const watcher = await watch(bench)
  for (const options of [{ ...lasting, clientId: 'pub' }, { clientId: 'clean' }]) {
    for (let i = 0; i < 3; i++) {
      const pub = await bench.client(options)
      pub.publish('q', options.clientId, 2, { messageId: 1, dup: i > 0 })
      await pub.nothing()
      pub.destroy()
      await until(() => bench.edge.counters.connections === 1)
    }
    await watcher.nothing()
    const pub = await bench.client(options)
    pub.publish('q', options.clientId, 2, { messageId: 1, dup: true })
    await pub.nothing()
    bench.host.of(options.clientId).processed(bench.host.of(options.clientId).relayed.length)
    await pub.next('pubrec')
    pub.send({ cmd: 'pubrel', messageId: 1 })
    await pub.next('pubcomp')
    await hears(watcher, options.clientId)
    pub.destroy()
    await until(() => bench.edge.counters.connections === 1)
    await watcher.nothing()
  }
  await bench.close()
})

t.test('the receive maximum of MQTT 5 counts the messages of this connection, each once', async (t) => {
  const bench = await startBench({ options: { receiveMaximum: 2 } })
  for (let i = 1; i <= 3; i++) {
    const pub = await bench.client({ ...lasting, clientId: 'pub' })
    for (const messageId of [i * 2, i * 2 + 1]) await sends(pub, messageId, 'x')
    pub.destroy()
    await until(() => bench.edge.counters.connections === 0)
  }
  const pub = await bench.client({ ...lasting, clientId: 'pub' })
  for (const messageId of [2, 8, 8]) await sends(pub, messageId, 'x')
  pub.publish('q', 'x', 2, { messageId: 9 })
  t.equal(await pub.ended(), Reason.RECEIVE_MAXIMUM_EXCEEDED)
  await bench.close()
})

t.test('before MQTT 5 a PUBREC beyond the maximum is withheld until an earlier message is complete', async (t) => {
  const bench = await startBench({ options: { receiveMaximum: 2 } })
  const watcher = await watch(bench)
  const pub = await bench.client(old)
  for (let messageId = 1; messageId <= 5; messageId++) pub.publish('q', `${messageId}`, 2, { messageId })
  for (const messageId of [1, 2]) t.match(await pub.next('pubrec'), { messageId })
  await pub.nothing()
  bench.clock.advance(4500)
  pub.send({ cmd: 'pubrel', messageId: 2 })
  t.match(await pub.next('pubcomp'), { messageId: 2 })
  t.match(await pub.next('pubrec'), { messageId: 3 })
  bench.clock.advance(4500)
  pub.send({ cmd: 'pubrel', messageId: 1 })
  t.match(await pub.next('pubcomp'), { messageId: 1 })
  t.match(await pub.next('pubrec'), { messageId: 4 })
  await hears(watcher, '2', '1')
  bench.clock.advance(4500)
  await pub.nothing()
  bench.clock.advance(1000)
  t.equal(await pub.ended(), -1, 'one that releases none for five seconds is cut off')
  t.equal(bench.edge.counters.protocolErrors, 1)
  await hears(watcher, '3', '4', '5')
  const patient = await bench.client(old)
  for (const messageId of [1, 2]) await sends(patient, messageId, 'x')
  bench.clock.advance(60_000)
  await patient.nothing()
  await bench.close()
})

t.test('who cannot release anything is not taken for silent', async (t) => {
  const bench = await startBench({ options: { receiveMaximum: 2 } })
  bench.host.outcome = 'routed'
  const pub = await bench.client(old)
  const worker = bench.host.of('old')
  for (let messageId = 1; messageId <= 3; messageId++) pub.publish('q', 'x', 2, { messageId })
  await pub.nothing()
  bench.clock.advance(60_000)
  await pub.nothing()
  worker.processed(3)
  for (const messageId of [1, 2]) t.match(await pub.next('pubrec'), { messageId })
  bench.clock.advance(4500)
  await pub.nothing()
  worker.outcome = 'overloaded'
  pub.publish('q', 'stuck', 2, { messageId: 4 })
  pub.send({ cmd: 'pubrel', messageId: 1 })
  await until(() => bench.edge.counters.paused > 0)
  // Offered again every few milliseconds, and each time refused: what stands behind it is not read.
  bench.clock.advance(20_000)
  worker.outcome = 'routed'
  bench.clock.advance(10)
  t.match(await pub.next('pubcomp'), { messageId: 1 })
  t.match(await pub.next('pubrec'), { messageId: 3 })
  await bench.close()
})

t.test('a burst of an MQTT 3.1.1 client goes through, each message once and in order', async (t) => {
  const bench = await startBench()
  const heard: string[] = []
  const url = `mqtt://127.0.0.1:${bench.port}`
  const listener = await mqtt.connectAsync(url, { protocolVersion: 5 })
  listener.on('message', (_topic, payload) => heard.push(payload.toString()))
  await listener.subscribeAsync('burst', { qos: 2 })
  const publisher = await mqtt.connectAsync(url, { protocolVersion: 4 })
  let closed = 0
  publisher.on('close', () => closed++)
  const all = Array.from({ length: 500 }, (_, i) => `${i}`)
  await Promise.all(all.map((payload) => publisher.publishAsync('burst', payload, { qos: 2 })))
  while (heard.length < all.length) await new Promise((resolve) => listener.once('message', resolve))
  t.same(heard, all)
  t.equal(closed, 0)
  await publisher.endAsync()
  await listener.endAsync()
  t.equal(heard.length, all.length)
  await bench.close()
})

t.test('PUBCOMP waits for a fan-out that takes several turns, on whichever connection asks for it', async (t) => {
  const bench = await startBench()
  const waiting: (() => void)[] = []
  bench.fanout.publish = (message, handedOver) => {
    waiting.push(() => handedOver?.(message))
    return 1
  }
  let pub = await bench.client({ ...lasting, clientId: 'pub' })
  await sends(pub, 1, 'x')
  await sends(pub, 2, 'y')
  pub.send({ cmd: 'pubrel', messageId: 1 })
  await pub.nothing()
  pub.destroy()
  await until(() => bench.edge.counters.connections === 0)
  t.equal(waiting.length, 2)
  pub = await bench.client({ ...lasting, clientId: 'pub' })
  pub.send({ cmd: 'pubrel', messageId: 1 })
  pub.publish('q', 'y', 2, { messageId: 2, dup: true })
  await pub.nothing()
  for (const done of waiting.splice(0)) done()
  t.match(await pub.next('pubcomp'), { messageId: 1 })
  t.match(await pub.next('pubrec'), { messageId: 2 })
  await sends(pub, 3, 'z')
  pub.send({ cmd: 'pubrel', messageId: 3 })
  await pub.nothing()
  await pub.disconnect(0, { sessionExpiryInterval: 0 })
  for (const done of waiting.splice(0)) done()
  t.equal(bench.edge.counters.sessions, 0)
  await bench.close()
})
