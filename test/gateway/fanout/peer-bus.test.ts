import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { type WebSocket, WebSocketServer } from 'ws'
import { createFanoutCounters, type FanoutCounters } from '../../../gateway/fanout/counters.js'
import { createFanout, type LocalFanout } from '../../../gateway/fanout/fan-out.js'
import { OctetWriter } from '../../../gateway/fanout/octets.js'
import { createPeerBus, type PeerBus, peerAuthorized } from '../../../gateway/fanout/peer-bus.js'
import { HARD_LIMIT, type PeerSocket, SOFT_LIMIT } from '../../../gateway/fanout/peer-guest.js'
import { readRecords, writeHello, writeInterest, writeMark } from '../../../gateway/fanout/peer-wire.js'
import { message, options, Recorder, silent, systemClock, until } from './fixtures.js'

interface Gateway {
  id: string
  url: string
  bus: PeerBus
  fanout: LocalFanout
  counters: FanoutCounters
  /** Ends every connection that others dialed here. */
  cut(): void
  stop(): Promise<void>
}

async function startGateway(id: string, token?: string): Promise<Gateway> {
  const counters = createFanoutCounters()
  const shared = { clock: systemClock, log: silent, counters }
  const bus = createPeerBus({ id, random: Math.random, ...shared, ...(token !== undefined && { token }) })
  const fanout = createFanout({ bus, ...shared })
  const server = createServer()
  const sockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', (request, socket, head) => {
    if (request.url !== '/v1/peer' || !peerAuthorized(request.headers.authorization, token)) {
      socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n')
      return
    }
    sockets.handleUpgrade(request, socket, head, (ws) => serve(bus, ws))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const cut = () => {
    for (const client of sockets.clients) client.terminate()
  }
  return { id, url, bus, fanout, counters, cut, stop: () => stop(fanout, cut, server) }
}

function serve(bus: PeerBus, ws: WebSocket): void {
  const connection = bus.acceptPeer({
    send: (bytes) => ws.send(bytes),
    close: (code, reason) => ws.close(code, reason),
    get buffered() {
      return ws.bufferedAmount
    },
  })
  ws.on('message', (data: Buffer) => connection.message(data))
  ws.on('close', () => connection.closed())
}

async function stop(fanout: LocalFanout, cut: () => void, server: Server): Promise<void> {
  await fanout.close()
  cut()
  server.close()
}

async function startFleet(t: Test, ids: string[], token?: string): Promise<Gateway[]> {
  const fleet = await Promise.all(ids.map((id) => startGateway(id, token)))
  t.teardown(() => Promise.all(fleet.map((gateway) => gateway.stop())))
  for (const gateway of fleet) gateway.bus.setPeers(fleet)
  await until(() => fleet.every((gateway) => gateway.bus.ready), 'the fleet to connect')
  return fleet
}

const subscribe = (gateway: Gateway, who: Recorder, filter: string, qos: 0 | 1 | 2 = 0) =>
  new Promise<void>((resolve) => gateway.fanout.subscribe(who, filter, options({ qos }), resolve))

t.test('a message reaches subscribers on every gateway once, and gateways without one get none', async (t) => {
  const [a, b, c] = (await startFleet(t, ['a', 'b', 'c'])) as [Gateway, Gateway, Gateway]
  const [atA, atB, alsoAtB] = [new Recorder('a1'), new Recorder('b1'), new Recorder('b2')]
  await Promise.all([subscribe(a, atA, 'x/#'), subscribe(b, atB, 'x/+', 1), subscribe(b, alsoAtB, 'x/y')])
  // Settled: everybody knows, so no waiting is needed here.
  const user = [
    ['k', '1'],
    ['k', '2'],
  ] as const
  a.fanout.publish(message('x/y', 'one', { qos: 1, properties: { user } }))
  await Promise.all([atB.reach(1), alsoAtB.reach(1)])
  c.fanout.publish(message('x', 'two'))
  await atA.reach(2)
  t.same(atA.payloads, ['one', 'two'])
  t.match(atB.got, [{ payload: 'one', qos: 1, retain: false }])
  t.same([a.counters.busOut, b.counters.busOut, c.counters.busOut], [1, 0, 1])
  t.same([a.counters.busIn, b.counters.busIn, c.counters.busIn], [1, 1, 0])
  t.match(a.bus.status(), { kind: 'peers', state: 'connected', peers: [{ id: 'b' }, { id: 'c' }] })
})

t.test('after the last subscriber left, nothing is sent any more', async (t) => {
  const [a, b] = (await startFleet(t, ['a', 'b'])) as [Gateway, Gateway]
  const [one, two] = [new Recorder('one'), new Recorder('two')]
  await Promise.all([subscribe(b, one, 'x'), subscribe(b, two, 'x'), subscribe(b, two, 'y')])
  b.fanout.unsubscribe(one, 'x')
  await subscribe(b, two, 'z')
  a.fanout.publish(message('x', '1'))
  await two.reach(1)
  b.fanout.unsubscribe(two, 'x')
  await subscribe(b, two, 'zz')
  a.fanout.publish(message('x', '2'))
  a.fanout.publish(message('y', '3'))
  await two.reach(2)
  t.same(two.payloads, ['1', '3'])
  t.equal(a.counters.busOut, 2)
})

t.test('order per publisher and topic is kept under a burst', async (t) => {
  const [a, b] = (await startFleet(t, ['a', 'b'])) as [Gateway, Gateway]
  const one = new Recorder('one')
  await subscribe(b, one, '#')
  const burst = Array.from({ length: 5000 }, (_, i) => `${i}`)
  for (const payload of burst) a.fanout.publish(message('x', payload))
  await one.reach(5000)
  t.same(one.payloads, burst)
})

t.test('a shared group gets each message once in the whole fleet, by its members', async (t) => {
  const fleet = (await startFleet(t, ['a', 'b', 'c'])) as [Gateway, Gateway, Gateway]
  const [a, b, c] = fleet
  const members = ['a1', 'b1', 'b2', 'b3'].map((name) => new Recorder(name)) as [Recorder, Recorder, Recorder, Recorder]
  const plain = new Recorder('plain')
  await Promise.all([
    subscribe(a, members[0], '$share/g/x/+', 1),
    ...members.slice(1).map((member) => subscribe(b, member, '$share/g/x/+', 1)),
    subscribe(b, plain, 'x/y'),
  ])
  for (const publisher of fleet)
    for (let i = 0; i < 40; i++) publisher.fanout.publish(message('x/y', `${i}`, { qos: 1 }))
  const total = () => members.reduce((sum, member) => sum + member.got.length, 0)
  await until(() => total() === 120 && plain.got.length === 120, 'all 120')
  t.ok(members.every((member) => member.got.length === 30))
  b.fanout.unsubscribeAll(members[1])
  b.fanout.unsubscribeAll(members[2])
  b.fanout.unsubscribeAll(members[3])
  await subscribe(b, plain, 'other')
  for (let i = 0; i < 10; i++) c.fanout.publish(message('x/z', `${i}`))
  await members[0].reach(40)
  t.equal(total(), 130)
})

t.test(
  'retained messages are on all gateways, also on those that were away, and cleared ones do not come back',
  async (t) => {
    const [a, b] = (await startFleet(t, ['a', 'b'])) as [Gateway, Gateway]
    const retain = { retain: true, at: Date.now() }
    a.fanout.publish(message('r/1', 'one', retain))
    a.fanout.publish(message('r/2', 'two', retain))
    await until(() => b.fanout.retained.size === 2, 'both at b')
    t.equal(b.counters.busIn, 0, 'nobody subscribed: kept, not delivered')
    const one = new Recorder('one')
    b.fanout.subscribe(one, 'r/+', options(), () => {})
    t.same(
      one.got.map(({ payload, retain }) => [payload, retain]),
      [
        ['one', true],
        ['two', true],
      ],
    )
    b.bus.setPeers([])
    a.bus.setPeers([])
    await until(() => b.bus.status().peers.length === 0, 'parted')
    b.fanout.publish(message('r/1', '', { retain: true, at: retain.at + 1 }))
    b.fanout.publish(message('r/3', 'three', { retain: true, at: retain.at + 1 }))
    a.fanout.publish(message('r/3', 'older', retain))
    for (const gateway of [a, b]) gateway.bus.setPeers([a, b])
    await until(() => a.bus.ready && b.bus.ready, 'together again')
    for (const { fanout } of [a, b]) {
      t.equal(fanout.retained.get('r/1'), undefined)
      t.equal(Buffer.from(fanout.retained.get('r/3')?.payload ?? []).toString(), 'three')
    }
  },
)

t.test('a lost connection comes back with all filters; while it is away, local delivery goes on', async (t) => {
  const [a, b] = (await startFleet(t, ['a', 'b'])) as [Gateway, Gateway]
  const [atA, atB] = [new Recorder('a1'), new Recorder('b1')]
  await Promise.all([subscribe(a, atA, 'x'), subscribe(b, atB, 'x')])
  a.cut()
  await until(() => b.bus.status().state === 'cut', 'b to see it')
  t.match(b.bus.status(), { reason: 'not connected to a', peers: [{ id: 'a', state: 'connecting' }] })
  a.fanout.publish(message('x', 'alone'))
  t.same(atA.payloads, ['alone'])
  await until(() => b.bus.ready, 'b to be back')
  a.fanout.publish(message('x', 'again'))
  await atB.reach(1)
  t.same(atB.payloads, ['again'])
})

t.test('a gateway that left the table is not dialed any more, one with a new address is', async (t) => {
  const [a, b] = (await startFleet(t, ['a', 'b'])) as [Gateway, Gateway]
  const one = new Recorder('one')
  await subscribe(a, one, 'x')
  await b.stop()
  const moved = await startGateway('b')
  t.teardown(() => moved.stop())
  a.bus.setPeers([a, moved])
  await until(() => a.bus.ready, 'the new b')
  moved.fanout.publish(message('x', 'hi'))
  await one.reach(1)
  a.bus.setPeers([a])
  t.same(a.bus.status().peers, [])
})

t.test('without the token of the fleet nobody gets in', async (t) => {
  const [a] = (await startFleet(t, ['a', 'b'], 'secret')) as [Gateway]
  const stranger = await startGateway('s', 'guess')
  t.teardown(() => stranger.stop())
  stranger.bus.setPeers([a])
  await until(() => stranger.bus.status().peers[0]?.reason !== undefined, 'the refusal')
  t.match(stranger.bus.status(), { state: 'cut', peers: [{ reason: /401/ }] })
  t.ok(peerAuthorized(undefined, undefined))
  t.notOk(peerAuthorized(undefined, 'secret'))
  t.notOk(peerAuthorized('Bearer secrets', 'secret'))
})

/** A server's socket that the test holds. */
class FakeSocket implements PeerSocket {
  buffered = 0
  readonly sent: Uint8Array[] = []
  closedWith: [number, string] | undefined

  send(bytes: Uint8Array): void {
    this.sent.push(bytes)
  }

  close(code: number, reason: string): void {
    this.closedWith = [code, reason]
  }
}

function records(write: (out: OctetWriter) => void): Uint8Array {
  const out = new OctetWriter()
  write(out)
  return out.take()
}

async function lone(t: Test) {
  const gateway = await startGateway('a')
  t.teardown(() => gateway.stop())
  const socket = new FakeSocket()
  const connection = gateway.bus.acceptPeer(socket)
  return { ...gateway, socket, connection }
}

t.test('what a slow gateway does not drain is bounded: fire and forget goes first, then the connection', async (t) => {
  const { socket, connection, fanout, counters } = await lone(t)
  connection.message(
    records((out) => {
      writeHello(out, 'b')
      writeInterest(out, '#', 1)
      writeMark(out, 1)
    }),
  )
  await until(() => socket.sent.length > 0, 'the answer')
  socket.buffered = SOFT_LIMIT
  fanout.publish(message('x', 'q0'))
  fanout.publish(message('x', 'q1', { qos: 1 }))
  t.match(counters, { busDroppedSlow: 1, busOut: 1 })
  socket.buffered = HARD_LIMIT
  fanout.publish(message('x', 'q1', { qos: 1 }))
  t.equal(counters.busDroppedCut, 1)
  t.match(socket.closedWith, [1008, /too slow/])
  fanout.publish(message('x', 'q1', { qos: 1 }))
  t.equal(counters.busOut, 1, 'it is gone')
})

t.test('several messages of one turn are one WebSocket message', async (t) => {
  const { socket, connection, fanout } = await lone(t)
  connection.message(
    records((out) => {
      writeHello(out, 'b')
      writeInterest(out, '#', 1)
    }),
  )
  await until(() => socket.sent.length > 0, 'the answer')
  const before = socket.sent.length
  for (let i = 0; i < 10; i++) fanout.publish(message('x', `${i}`))
  await until(() => socket.sent.length > before, 'the batch')
  const got: string[] = []
  const nothing = () => {}
  readRecords(socket.sent[before] as Uint8Array, {
    hello: nothing,
    interest: nothing,
    mark: nothing,
    ask: nothing,
    answer: nothing,
    ack: nothing,
    retained: nothing,
    synced: nothing,
    message: ({ payload }) => got.push(Buffer.from(payload).toString()),
  })
  t.equal(got.join(''), '0123456789')
})

t.test('a gateway that breaks the protocol is cut off and its interest forgotten', async (t) => {
  const cases: [string, (out: OctetWriter) => void][] = [
    ['garbage', (out) => out.raw(Uint8Array.of(1, 200, 1))],
    ['interest before hello', (out) => writeInterest(out, 'x', 1)],
    ['its own id', (out) => writeHello(out, 'a')],
    ['no id', (out) => writeHello(out, '')],
    [
      'a filter that is none',
      (out) => {
        writeHello(out, 'b')
        writeInterest(out, 'x', 1)
        writeInterest(out, 'a#', 1)
        writeInterest(out, 'y', 1)
      },
    ],
    [
      'too many levels',
      (out) => {
        writeHello(out, 'b')
        writeInterest(out, 'x/'.repeat(300), 1)
      },
    ],
  ]
  for (const [name, write] of cases) {
    const { socket, connection, fanout, counters } = await lone(t)
    connection.message(records(write))
    t.ok(socket.closedWith, name)
    fanout.publish(message('x', '1'))
    fanout.publish(message('y', '1'))
    t.equal(counters.busOut, 0, name)
    connection.closed()
  }
})

t.test('a gateway that comes back replaces its old connection', async (t) => {
  const { bus, socket, connection, fanout, counters } = await lone(t)
  const hello = records((out) => {
    writeHello(out, 'b')
    writeInterest(out, 'x', 1)
    writeInterest(out, '$share/g/x', 3)
  })
  connection.message(hello)
  const second = new FakeSocket()
  const newer = bus.acceptPeer(second)
  newer.message(hello)
  t.match(socket.closedWith, [1000, /replaced/])
  connection.closed()
  fanout.publish(message('x', '1'))
  t.equal(counters.busOut, 1)
  newer.closed()
  const here = new Recorder('here')
  fanout.subscribe(here, '$share/g/x', options(), () => {})
  for (let i = 0; i < 3; i++) fanout.publish(message('x', '1'))
  t.equal(here.got.length, 3, 'its members are gone with it')
})
