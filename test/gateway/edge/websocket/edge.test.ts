import t, { type Test } from 'tap'
import { createHttpServer } from '../../../../gateway/edge/server/create-server.js'
import {
  CONNECT_PATH,
  createEdgeRooms,
  createWebSocketEdge,
  type WebSocketEdgeParts,
} from '../../../../gateway/edge/websocket/edge.js'
import { type Clock, Relay } from '../../../../gateway/ports.js'
import { SluiceError } from '../../../../proto/errors.js'
import { encodeFrame, FrameType } from '../../../../proto/frame.js'
import { until } from '../server/server.contract.js'
import { DeviceClient, refusal } from './device-client.js'
import { FakeFanout, FakeHost } from './fakes.js'

const quiet = { debug: () => undefined, warn: () => undefined, error: () => undefined }

/** Real time, and the timers that were asked for. */
class TestClock implements Clock {
  readonly timers: { ms: number; fn: () => void }[] = []
  skew = 0
  now = () => performance.now() + this.skew
  wall = () => 1_700_000_000_000
  after = (ms: number, fn: () => void) => {
    this.timers.push({ ms, fn })
    return () => undefined
  }
}

type Kind = 'uws' | 'node'

async function start(t: Test, kind: Kind, more: Partial<WebSocketEdgeParts> = {}) {
  const [host, fanout, clock] = [new FakeHost(), new FakeFanout(), new TestClock()]
  const server = await createHttpServer({ prefer: kind, log: quiet, clock })
  const edge = createWebSocketEdge({ host, fanout, clock, gatewayId: 'g1', log: quiet, random: () => 0.5, ...more })
  server.websocket(CONNECT_PATH, edge)
  const port = await server.listen('127.0.0.1', 0)
  t.teardown(() => server.close())
  const url = `ws://127.0.0.1:${port}${CONNECT_PATH}`
  return { host, fanout, clock, server, edge, url, http: `http://127.0.0.1:${port}${CONNECT_PATH}` }
}

const kinds: Kind[] = ['node']
try {
  await (await createHttpServer({ prefer: 'uws', log: quiet, clock: new TestClock() })).close()
  kinds.unshift('uws')
} catch (error) {
  t.comment(`uWebSockets.js does not load here, its half is not run: ${error}`)
}

for (const kind of kinds) {
  t.test(`on ${kind}`, async (t) => {
    connecting(t, kind)
    uplink(t, kind)
    downlink(t, kind)
    topics(t, kind)
    pressure(t, kind)
    ending(t, kind)
  })
}

function connecting(t: Test, kind: Kind): void {
  t.test('the first frame is WELCOME with session, gateway, resumed and ack', async (t) => {
    const { host, url, edge } = await start(t, kind)
    host.prepare = (session) => {
      session.uplinkAcked = 7
    }
    const headers = { 'User-Agent': 'pump', 'End-User': 'testuser', Authorization: 'Bearer secret', Cookie: 'c=1' }
    const { welcome } = await DeviceClient.connect(`${url}?device=pump%2F1`, { headers })
    t.same(welcome, { type: FrameType.WELCOME, ack: 7, headers: { session: 's1', gateway: 'g1', resumed: 'false' } })
    t.equal(host.last.device, 'pump/1')
    t.equal(host.last.request.protocol, 'websocket')
    t.same({ ...host.last.request.attributes }, { 'user-agent': 'pump', 'end-user': 'testuser' }, 'no secrets')
    t.equal(edge.counters.connections, 1)
    await DeviceClient.connect(`${url}?device=2`, { headers })
    t.equal(host.sessions[0]?.request.attributes, host.sessions[1]?.request.attributes, 'equal headers are one object')
  })

  t.test('a bad connect URL is refused before the upgrade, as JSON', async (t) => {
    const { host, url, http } = await start(t, kind)
    const cases: [string, string, string][] = [
      ['', 'no_device_id', 'device'],
      ['?token=x', 'no_device_id', 'device'],
      ['?device=', 'bad_device_id', 'device'],
      [`?device=${'x'.repeat(257)}`, 'bad_device_id', 'device'],
      ['?device=a%00b', 'bad_device_id', 'device'],
      [`?device=a~sha256:${'0'.repeat(64)}`, 'bad_device_id', 'device'],
      ['?device=a&resume=s&ack=-1', 'bad_request', 'ack'],
      ['?device=a&resume=s&ack=1e9', 'bad_request', 'ack'],
    ]
    for (const [query, code, path] of cases) {
      const { status, body } = await refusal(url + query)
      t.equal(status, 400, query)
      t.match(body, { error: { code, path } })
    }
    const plain = await fetch(http)
    t.equal(plain.status, 400, 'without an upgrade, too')
    t.match(await plain.json(), { error: { code: 'no_device_id' } })
    t.equal((await fetch(`${http}?device=x`)).status, 426)
    t.equal(host.sessions.length, 0)
  })

  t.test('admit sees the token of the URL or the header, and refuses with its own status', async (t) => {
    const seen: (string | undefined)[] = []
    const { url, host } = await start(t, kind, {
      admit: async ({ token, device }) => {
        seen.push(token)
        if (device === 'draining') throw new SluiceError('draining', 'leaving', { retryAfterMs: 2500 })
        if (token !== 'good') throw new SluiceError('unauthorized')
      },
    })
    await DeviceClient.connect(`${url}?device=a&token=good`)
    await DeviceClient.connect(`${url}?device=b`, { headers: { authorization: 'bearer good' } })
    t.equal((await refusal(`${url}?device=c`)).status, 401)
    const draining = await refusal(`${url}?device=draining`)
    t.equal(draining.status, 503)
    t.equal(draining.retryAfter, '3')
    t.same(seen, ['good', 'good', undefined, undefined])
    t.equal(host.sessions.length, 2)
  })

  t.test('more connections than allowed, and more a second, are told when to come back', async (t) => {
    const { url, edge, clock } = await start(t, kind, { options: { maxConnections: 2, connectsPerSecond: 3 } })
    const first = await DeviceClient.connect(`${url}?device=1`)
    await DeviceClient.connect(`${url}?device=2`)
    const full = await refusal(`${url}?device=3`)
    t.equal(full.status, 503)
    t.equal(full.retryAfter, '5')
    t.match(full.body, { error: { code: 'overloaded', message: /2 connections/ } })
    first.client.ws.close()
    await until(() => edge.counters.connections === 1, 'the place is free')
    const third = await DeviceClient.connect(`${url}?device=3`)
    third.client.ws.close()
    await until(() => edge.counters.connections === 1, 'the place is free')
    const fast = await refusal(`${url}?device=4`)
    t.match(fast.body, { error: { code: 'overloaded', message: /3 connects a second/ } })
    t.ok(Number(fast.retryAfter) >= 1)
    clock.skew += 1000
    await DeviceClient.connect(`${url}?device=4`)
    t.equal(edge.counters.refusedBusy, 2)
  })

  t.test('a session that cannot be opened says why and closes', async (t) => {
    const { url, host, edge } = await start(t, kind)
    host.refuse = new SluiceError('overloaded', 'no room', { retryAfterMs: 100 })
    const { client, welcome } = await DeviceClient.connect(`${url}?device=1`)
    t.same(welcome, { type: FrameType.ERROR, headers: { code: 'overloaded', message: 'no room', retryAfterMs: '100' } })
    t.same(await client.untilClosed(), { code: 4022, reason: 'no room' })
    t.equal(edge.counters.connections, 0)
  })

  t.test('resume goes on with the session, replays behind WELCOME, and an unknown one begins anew', async (t) => {
    const { url, host, fanout } = await start(t, kind)
    const first = await DeviceClient.connect(`${url}?device=1`)
    first.client.send({ type: FrameType.SUBSCRIBE, topic: 'a/+' })
    await until(() => fanout.subscriptions.length === 1, 'the subscription')
    first.client.ws.terminate()
    await until(() => host.last.detached.length === 1, 'detach')
    t.same(host.last.detached, [{ final: false, code: 'closed' }])
    t.equal(fanout.subscriptions[0]?.subscriber.available, false)
    fanout.publish(message('a/b', 'lost'))
    host.last.uplinkAcked = 4
    const again = await DeviceClient.connect(`${url}?device=1&resume=s1&ack=5`)
    t.same(again.welcome, {
      type: FrameType.WELCOME,
      ack: 4,
      headers: { session: 's1', gateway: 'g1', resumed: 'true' },
    })
    t.same(await again.client.next(), { seq: 6, payload: Buffer.from('again'), redelivered: true })
    t.same(host.last.replays, [5])
    t.equal(fanout.subscriptions[0]?.subscriber.available, true, 'subscriptions belong to the session')
    fanout.publish(message('a/b', 'heard'))
    t.match(await again.client.next(), { type: FrameType.PUBLISH, topic: 'a/b', payload: Buffer.from('heard') })
    host.last.edge?.ended()
    t.equal(fanout.subscriptions.length, 0, 'and end with it')
    const lost = await DeviceClient.connect(`${url}?device=1&resume=gone&ack=5`)
    t.same(lost.welcome.headers, { session: 's2', gateway: 'g1', resumed: 'false' })
  })
}

function uplink(t: Test, kind: Kind): void {
  t.test('DATA is relayed byte for byte, and an ack on any frame reaches the session', async (t) => {
    const { url, host } = await start(t, kind)
    const { client } = await DeviceClient.connect(`${url}?device=1`)
    // An unknown field 15 has to survive: a newer device may use it.
    const bytes = Buffer.concat([
      encodeFrame({ topic: 'ü/1', payload: Buffer.alloc(300, 7), headers: { k: 'v' } }),
      Buffer.from([0x7a, 1, 9]),
    ])
    client.ws.send(bytes)
    client.send({ seq: 1, ack: 3 })
    client.send({ type: FrameType.ACK, ack: 4 })
    await until(() => host.last.deviceAcks.length === 2, 'both acks')
    t.ok(host.last.raw[0]?.equals(bytes))
    t.equal(host.last.relayed.length, 2)
    t.same(host.last.deviceAcks, [3, 4])
  })

  t.test('text closes with 1003, what is no frame with 1007, what is too large with 1009', async (t) => {
    const { url, host, edge } = await start(t, kind, { options: { maxFrame: 1000 } })
    const cases: [string, number, Uint8Array | string][] = [
      ['text', 1003, 'hello'],
      ['a cut-off field', 1007, Buffer.from([0x2a, 5, 1])],
      ['random bytes', 1007, Buffer.from([0xff, 0xff, 0xff, 0xff])],
      ['a topic that is not UTF-8', 1007, Buffer.from([0x22, 2, 0xc3, 0x28])],
      ['a header that is not UTF-8', 1007, Buffer.from([0x32, 6, 0x0a, 1, 0xff, 0x12, 1, 0x61])],
      ['too large', 1009, encodeFrame({ payload: Buffer.alloc(1000) })],
    ]
    for (const [what, code, bytes] of cases) {
      const { client } = await DeviceClient.connect(`${url}?device=1`)
      client.ws.send(bytes)
      t.equal((await client.untilClosed()).code, code, what)
      await until(() => host.last.detached.length === 1, 'detach')
      t.equal(host.last.relayed.length, 0)
    }
    t.equal(edge.counters.badMessages, cases.length)
  })

  t.test('outcomes of the relay come back as ERROR with code, message and seq', async (t) => {
    const { url, host } = await start(t, kind)
    const { client } = await DeviceClient.connect(`${url}?device=1`)
    host.last.outcome = Relay.UNROUTED
    client.send({ payload: Buffer.from('x') })
    t.match(await client.next(), { type: FrameType.ERROR, headers: { code: 'no_route' } })
    client.send({ seq: 1 })
    t.match(await client.next(), { type: FrameType.ERROR, ack: undefined, headers: { code: 'no_route', seq: '1' } })
    t.same(await client.next(), { type: FrameType.ACK, ack: 1 })
    host.last.outcome = Relay.OVERLOADED
    client.send({ seq: 2 })
    client.send({ seq: 3 })
    client.send({ seq: 4 })
    t.match(await client.next(), { headers: { code: 'overloaded', seq: '2', retryAfterMs: '200' } })
    host.last.outcome = undefined
    client.send({ seq: 2 })
    client.send({ seq: 4 })
    t.match(await client.next(), { headers: { code: 'bad_seq', seq: '4', message: /gap/ } }, 'the gap is told once')
    client.send({ seq: 3 })
    await until(() => host.last.taken === 3, 'seq 3')
    t.same(client.frames, [])
  })

  t.test(
    'a type that devices may not send, or do not know, is an ERROR and does not hold up what follows',
    async (t) => {
      const { url, host } = await start(t, kind)
      const { client } = await DeviceClient.connect(`${url}?device=1`)
      client.send({ type: FrameType.WELCOME, seq: 1 })
      t.match(await client.next(), { type: FrameType.ERROR, headers: { code: 'bad_frame', seq: '1' } })
      t.same(await client.next(), { type: FrameType.ACK, ack: 1 })
      client.ws.send(Buffer.from([0x08, 0x63]))
      t.match(await client.next(), { headers: { code: 'bad_frame', message: /99/ } })
      client.send({ seq: 2 })
      await until(() => host.last.taken === 2, 'seq 2')
    },
  )
}

function downlink(t: Test, kind: Kind): void {
  t.test('a frame of a worker comes with its seq, and keeps everything else', async (t) => {
    const { url, host } = await start(t, kind)
    const { client } = await DeviceClient.connect(`${url}?device=1`)
    const { last } = host
    const body = { topic: 'a/b', payload: Buffer.from('body'), headers: { h: '1' } }
    last.send(encodeFrame(body))
    last.send(encodeFrame({ ...body, seq: 77 }), 5)
    last.send(encodeFrame({ ...body, seq: 6, ack: 99 }), 6, true)
    last.send(encodeFrame({ payload: Buffer.alloc(700_000, 3) }), 300)
    t.same(await client.next(), body)
    t.same(await client.next(), { ...body, seq: 5 })
    const third = await client.next()
    t.same({ ...third, ack: 0 }, { ...body, seq: 6, redelivered: true, ack: 0 })
    const large = await client.next()
    t.equal(large.seq, 300)
    t.ok(large.payload && Buffer.alloc(700_000, 3).equals(large.payload))
  })

  t.test('an acknowledgement rides on the last frame of the turn, or travels alone', async (t) => {
    const { url, host } = await start(t, kind)
    const { client } = await DeviceClient.connect(`${url}?device=1`)
    const { last } = host
    last.acknowledge(1)
    last.acknowledge(2)
    t.same(await client.next(), { type: FrameType.ACK, ack: 2 })
    last.acknowledge(3)
    last.send(encodeFrame({ payload: Buffer.from('a') }))
    last.send(encodeFrame({ payload: Buffer.from('b') }), 1)
    t.same(await client.next(), { payload: Buffer.from('a') })
    t.same(await client.next(), { payload: Buffer.from('b'), seq: 1, ack: 3 })
    last.send(encodeFrame({ payload: Buffer.from('c') }))
    t.same(await client.next(), { payload: Buffer.from('c') }, 'only once')
  })

  t.test('2,000 echoes in bursts come back in order', async (t) => {
    const { url, host } = await start(t, kind)
    host.prepare = (session) => {
      session.echo = true
    }
    const { client } = await DeviceClient.connect(`${url}?device=1`)
    for (let seq = 1; seq <= 2000; seq++) client.send({ seq, payload: Buffer.alloc(seq % 500, seq) })
    await client.until(() => client.frames.length === 2000)
    t.same(
      client.frames.map(({ seq, payload }) => [seq, payload?.length ?? 0]),
      Array.from({ length: 2000 }, (_, i) => [i + 1, (i + 1) % 500]),
    )
    t.equal(client.frames.at(-1)?.ack, 2000)
  })

  t.test('a frame that was taken and failed later is an ERROR', async (t) => {
    const { url, host } = await start(t, kind)
    const { client } = await DeviceClient.connect(`${url}?device=1`)
    host.last.port?.failed(0, 'no_worker', 'nobody there', 1000)
    t.same(await client.next(), {
      type: FrameType.ERROR,
      headers: { code: 'no_worker', message: 'nobody there', retryAfterMs: '1000' },
    })
  })
}

function topics(t: Test, kind: Kind): void {
  t.test('PUBLISH reaches the fan-out with an own copy, and a pool when a route takes it', async (t) => {
    const { url, host, fanout } = await start(t, kind)
    const { client } = await DeviceClient.connect(`${url}?device=dev`)
    client.send({ type: FrameType.PUBLISH, topic: 'a/b', payload: Buffer.from('one'), headers: { unit: 'C' } })
    client.send({ type: FrameType.PUBLISH, topic: 'a/c', payload: Buffer.from('two'), seq: 1, ack: 9 })
    await until(() => fanout.published.length === 2, 'both')
    const [one, two] = fanout.published
    t.match(one, { topic: 'a/b', qos: 0, retain: false, publisher: 'dev', at: 1_700_000_000_000 })
    t.same(one?.properties, { user: [['unit', 'C']] })
    t.equal(Buffer.from(one?.payload ?? []).toString(), 'one')
    t.match(two, { topic: 'a/c', qos: 1, properties: undefined })
    t.equal(Buffer.from(two?.payload ?? []).toString(), 'two')
    t.equal(host.last.relayed.length, 2)
    host.last.outcome = Relay.UNROUTED
    client.send({ type: FrameType.PUBLISH, topic: 'a/d', seq: 2 })
    t.same(await client.next(), { type: FrameType.ACK, ack: 2 }, 'acknowledged once the fan-out has it')
    t.equal(fanout.published.length, 3)
    host.last.outcome = Relay.OVERLOADED
    client.send({ type: FrameType.PUBLISH, topic: 'a/e', seq: 3 })
    t.match(await client.next(), { headers: { code: 'overloaded' } })
    t.equal(fanout.published.length, 3, 'what was refused is not published')
  })

  t.test('a PUBLISH is acknowledged when the fan-out is through with it and what it promises is safe', async (t) => {
    let safe = 0
    const { url, host, fanout } = await start(t, kind, { beforeAcks: () => safe++ })
    fanout.handsOverAtOnce = false
    const { client } = await DeviceClient.connect(`${url}?device=dev`)
    host.last.outcome = Relay.UNROUTED
    client.send({ type: FrameType.PUBLISH, topic: 'a', seq: 1 })
    client.send({ type: FrameType.PUBLISH, topic: 'a' })
    await until(() => fanout.published.length === 2, 'both')
    t.same([host.last.finished, fanout.handingOver.length], [[], 1])
    const before = safe
    fanout.handingOver[0]?.()
    t.same(await client.next(), { type: FrameType.ACK, ack: 1 })
    t.ok(safe > before, 'the journal is asked before the acknowledgement is written')
  })

  t.test("a subscriber gets PUBLISH frames with topic and payload, and none of the sender's seq", async (t) => {
    const { url, fanout } = await start(t, kind)
    const { client: subscriber } = await DeviceClient.connect(`${url}?device=s`)
    const { client: publisher } = await DeviceClient.connect(`${url}?device=p`)
    subscriber.send({ type: FrameType.SUBSCRIBE, topic: 'a/#', seq: 1 })
    t.same(await subscriber.next(), { type: FrameType.ACK, ack: 1 })
    publisher.send({ type: FrameType.PUBLISH, topic: 'a/b', payload: Buffer.from('x'), headers: { h: 'v' } })
    publisher.send({
      type: FrameType.PUBLISH,
      topic: 'a/b',
      payload: Buffer.from('y'),
      headers: { h: 'v' },
      seq: 1,
      ack: 4,
    })
    const expected = { type: FrameType.PUBLISH, topic: 'a/b', headers: { h: 'v' } }
    t.same(await subscriber.next(), { ...expected, payload: Buffer.from('x') })
    t.same(await subscriber.next(), { ...expected, payload: Buffer.from('y') })
    subscriber.send({ type: FrameType.UNSUBSCRIBE, topic: 'a/#', seq: 2 })
    t.same(await subscriber.next(), { type: FrameType.ACK, ack: 2 })
    t.equal(fanout.subscriptions.length, 0)
  })

  t.test('a SUBSCRIBE is acknowledged when it is settled, also when the device left meanwhile', async (t) => {
    const { url, host, fanout } = await start(t, kind)
    fanout.settleAtOnce = false
    const { client } = await DeviceClient.connect(`${url}?device=s`)
    client.send({ type: FrameType.SUBSCRIBE, topic: 'a', seq: 1 })
    client.send({ type: FrameType.SUBSCRIBE, topic: 'b', seq: 2 })
    client.send({ type: FrameType.SUBSCRIBE, topic: 'c' })
    await until(() => fanout.settling.length === 3, 'all three')
    t.same(host.last.finished, [])
    fanout.settling[0]?.()
    t.same(await client.next(), { type: FrameType.ACK, ack: 1 })
    client.ws.terminate()
    await until(() => host.last.detached.length === 1, 'detach')
    for (const settled of fanout.settling.slice(1)) settled()
    t.same(host.last.finished, [1, 2])
  })

  t.test('bad topics and filters, and a fan-out that is full, are ERRORs and the stream goes on', async (t) => {
    const { url, fanout, host } = await start(t, kind)
    const { client } = await DeviceClient.connect(`${url}?device=s`)
    const bad: [FrameType, string][] = [
      [FrameType.PUBLISH, ''],
      [FrameType.PUBLISH, 'a/+'],
      [FrameType.SUBSCRIBE, ''],
      [FrameType.SUBSCRIBE, 'a/#/b'],
      [FrameType.SUBSCRIBE, '$share//a'],
      [FrameType.UNSUBSCRIBE, 'a+'],
    ]
    for (const [type, topic] of bad) {
      client.send({ type, topic })
      t.match(await client.next(), { type: FrameType.ERROR, headers: { code: 'bad_topic' } }, `${type} ${topic}`)
    }
    client.send({ type: FrameType.SUBSCRIBE, topic: '$share/g/a' })
    await until(() => fanout.subscriptions.length === 1, 'shared filters are fine')
    fanout.refuse = new SluiceError('overloaded', 'too many filters')
    client.send({ type: FrameType.SUBSCRIBE, topic: 'x', seq: 1 })
    t.match(await client.next(), { headers: { code: 'overloaded', message: 'too many filters', seq: '1' } })
    t.same(await client.next(), { type: FrameType.ACK, ack: 1 })
    client.send({ seq: 2 })
    await until(() => host.last.taken === 2, 'seq 2')
  })

  t.test("the server's own publish reaches a subscriber's socket until it leaves", async (t) => {
    const gone: unknown[] = []
    const back: unknown[] = []
    const { url, fanout, server, host } = await start(t, kind, {
      disconnected: (subscriber) => gone.push(subscriber),
      connected: (subscriber) => back.push(subscriber),
    })
    const rooms = createEdgeRooms(server)
    const { client } = await DeviceClient.connect(`${url}?device=s`)
    client.send({ type: FrameType.SUBSCRIBE, topic: 'a' })
    await until(() => fanout.subscriptions.length === 1, 'the subscription')
    const subscriber = fanout.subscriptions[0]?.subscriber
    if (!subscriber) throw new Error('no subscriber')
    host.last.send(encodeFrame({ payload: Buffer.from('before') }))
    t.equal(rooms.subscribe(subscriber, 'r1'), true)
    rooms.publish('r1', encodeFrame({ type: FrameType.PUBLISH, topic: 'a' }))
    t.same(await client.next(), { payload: Buffer.from('before') }, 'what was queued before stays before')
    t.same(await client.next(), { type: FrameType.PUBLISH, topic: 'a' })
    rooms.unsubscribe(subscriber, 'r1')
    t.equal(server.subscribers('r1'), 0)
    const stranger = { device: 'm', available: true, deliver: () => undefined }
    t.equal(rooms.subscribe(stranger, 'r1'), false, 'an MQTT subscriber has no socket here')
    client.ws.terminate()
    await until(() => gone.length === 1, 'the fan-out hears that the socket is gone')
    t.equal(gone[0], subscriber)
    t.equal(rooms.subscribe(subscriber, 'r1'), false)
    t.same(back, [], 'a new session has no subscriptions to bring back')
    const { client: again } = await DeviceClient.connect(`${url}?device=s&resume=s1&ack=0`)
    await until(() => back.length === 1, 'the fan-out hears that there is a socket again')
    t.equal(back[0], subscriber)
    t.equal(rooms.subscribe(subscriber, 'r1'), true)
    again.ws.terminate()
  })
}

function pressure(t: Test, kind: Kind): void {
  t.test('a slow device loses fire-and-forget frames first, counted', async (t) => {
    const { url, host, edge } = await start(t, kind, { options: { dropAbove: 100_000 } })
    const { client } = await DeviceClient.connect(`${url}?device=1`)
    client.ws.pause()
    const frame = encodeFrame({ payload: Buffer.alloc(50_000) })
    let sent = 0
    while (edge.counters.droppedSlow === 0 && sent < 2000) {
      host.last.send(frame)
      sent++
      await new Promise((resolve) => setImmediate(resolve))
    }
    t.equal(edge.counters.droppedSlow, 1)
    t.ok((host.last.port?.buffered ?? 0) > 100_000)
    host.last.send(encodeFrame({ payload: Buffer.from('kept') }), 1)
    client.ws.resume()
    await client.until(() => client.frames.at(-1)?.seq === 1)
    t.equal(client.frames.length, sent, 'all but the dropped one, and the acknowledged one')
    await until(() => host.last.port?.buffered === 0, 'drained')
    host.last.send(frame)
    await client.until(() => client.frames.length === sent + 1)
    t.equal(edge.counters.slowConsumers, 0)
  })

  t.test('a slow device is disconnected, resumable, before an acknowledged frame is lost', async (t) => {
    const { url, host, edge } = await start(t, kind, { options: { disconnectAbove: 500_000 } })
    const { client } = await DeviceClient.connect(`${url}?device=1`)
    client.ws.pause()
    const frame = encodeFrame({ payload: Buffer.alloc(50_000) })
    for (let seq = 1; seq < 2000 && edge.counters.slowConsumers === 0; seq++) {
      host.last.send(frame, seq)
      await new Promise((resolve) => setImmediate(resolve))
    }
    t.equal(edge.counters.slowConsumers, 1)
    t.same(host.last.detached, [{ final: false, code: 'closed' }])
    client.ws.resume()
    t.equal((await client.untilClosed()).code, 4029)
    const seqs = client.frames.map(({ seq }) => seq)
    t.same(
      seqs,
      seqs.map((_, i) => i + 1),
      'what arrived has no gap',
    )
  })
}

function ending(t: Test, kind: Kind): void {
  t.test('a session that ends tells why and closes with the code of its error', async (t) => {
    const { url, host } = await start(t, kind)
    const { client } = await DeviceClient.connect(`${url}?device=1`)
    host.last.send(encodeFrame({ payload: Buffer.from('last words') }))
    const { port } = host.last
    port?.end('taken_over', 'another connection')
    port?.end('internal', 'only the first counts')
    t.same(await client.next(), { payload: Buffer.from('last words') })
    t.match(await client.next(), {
      type: FrameType.GOAWAY,
      headers: { code: 'taken_over', message: 'another connection' },
    })
    t.same(await client.untilClosed(), { code: 4028, reason: 'another connection' })
    const other = await DeviceClient.connect(`${url}?device=2`)
    host.last.port?.end('closed', `${'ü'.repeat(61)}!ü`)
    t.same(await other.client.untilClosed(), { code: 1000, reason: `${'ü'.repeat(61)}!` })
  })

  t.test('a drained device gets GOAWAY, may go on for a while, and is closed then', async (t) => {
    const { url, host, clock } = await start(t, kind, { options: { leaveMs: 4321 } })
    const { client } = await DeviceClient.connect(`${url}?device=1`)
    host.last.port?.end('draining', 'leaving', { retryAfterMs: 250, url: 'ws://other/v1/connect' })
    t.same(await client.next(), {
      type: FrameType.GOAWAY,
      headers: { message: 'leaving', retryAfterMs: '250', url: 'ws://other/v1/connect' },
    })
    client.send({ payload: Buffer.from('still here') })
    await until(() => host.last.relayed.length === 1, 'frames still go through')
    clock.timers.find(({ ms }) => ms === 4321)?.fn()
    t.equal((await client.untilClosed()).code, 1012)
    await until(() => host.last.detached.length === 1, 'detach')
  })
}

function message(topic: string, payload: string) {
  return {
    topic,
    payload: Buffer.from(payload),
    qos: 0,
    retain: false,
    publisher: '',
    properties: undefined,
    at: 0,
    encoded: new Map<string, Uint8Array>(),
  } as const
}
