import t, { type Test } from 'tap'
import { createFanoutCounters, type FanoutCounters } from '../../../gateway/fanout/counters.js'
import { createFanout, type LocalFanout } from '../../../gateway/fanout/fan-out.js'
import { createNatsBus } from '../../../gateway/fanout/nats-bus.js'
import { message, options, Recorder, silent, systemClock, until } from './fixtures.js'
import { hasNatsServer, NatsServer } from './nats-server.js'

interface Gateway {
  fanout: LocalFanout
  counters: FanoutCounters
}

function startGateway(t: Test, id: string, servers: string, prefix?: string): Gateway {
  const counters = createFanoutCounters()
  const shared = { clock: systemClock, log: silent, counters }
  const bus = createNatsBus({ id, servers, random: Math.random, ...shared, ...(prefix !== undefined && { prefix }) })
  const fanout = createFanout({ bus, ...shared })
  t.teardown(() => fanout.close())
  return { fanout, counters }
}

/** Gateways under a prefix of their own, so that tests share one server. */
async function startFleet(t: Test, server: NatsServer, ids: string[], prefix: string): Promise<Gateway[]> {
  const fleet = ids.map((id) => startGateway(t, id, server.url, prefix))
  await until(() => fleet.every(isUp(ids.length - 1)), 'the fleet to connect')
  return fleet
}

const isUp = (others: number) => (gateway: Gateway) => {
  const { state, peers } = gateway.fanout.status()
  return state === 'connected' && peers.length === others
}

const subscribe = (gateway: Gateway, who: Recorder, filter: string, qos: 0 | 1 | 2 = 0) =>
  new Promise<void>((resolve) => gateway.fanout.subscribe(who, filter, options({ qos }), resolve))

t.test('the bus over NATS', { skip: !hasNatsServer && 'nats-server is not installed' }, async (t) => {
  const server = await NatsServer.start()
  t.teardown(() => server.remove())

  t.test('a message reaches every gateway with a subscriber once, others get none, nothing echoes', async (t) => {
    const fleet = await startFleet(t, server, ['a', 'b', 'c'], 'once')
    const [a, b, c] = fleet as [Gateway, Gateway, Gateway]
    const [one, two, three] = [new Recorder('one'), new Recorder('two'), new Recorder('three')]
    await Promise.all([
      subscribe(a, one, 'x/#'),
      subscribe(b, two, 'x/+', 1),
      subscribe(b, two, '+/y'),
      subscribe(b, three, 'x/#'),
      subscribe(b, three, 'odd. level/>/*/#'),
    ])
    a.fanout.publish(message('x/y', 'one', { qos: 1 }))
    c.fanout.publish(message('x', 'two'))
    c.fanout.publish(message('odd. level/>/*', 'three'))
    c.fanout.publish(message(`x/${'long/'.repeat(300)}`, 'four'))
    await three.reach(4)
    await one.reach(3)
    // Of several publishers each one's order holds.
    t.same(one.payloads.sort(), ['four', 'one', 'two'])
    t.match(two.got, [{ payload: 'one', qos: 1 }])
    t.same(
      three.payloads.filter((payload) => payload !== 'one'),
      ['two', 'three', 'four'],
    )
    t.same(
      fleet.map(({ counters }) => [counters.busOut, counters.busIn]),
      [
        [1, 2],
        [0, 4],
        [3, 0],
      ],
    )
  })

  t.test('topics that start with $ are not reached by wildcards in the first level', async (t) => {
    const [a, b] = (await startFleet(t, server, ['a', 'b'], 'dollar')) as [Gateway, Gateway]
    const [wild, named] = [new Recorder('wild'), new Recorder('named')]
    await Promise.all([subscribe(b, wild, '#'), subscribe(b, wild, '+/x'), subscribe(b, named, '$own/+')])
    a.fanout.publish(message('$own/x', 'hidden'))
    a.fanout.publish(message('open/x', 'open'))
    await named.reach(1)
    await wild.reach(1)
    t.same([wild.payloads, named.payloads], [['open'], ['hidden']])
  })

  t.test('order holds under a burst, and after the last subscriber left nothing comes', async (t) => {
    const [a, b] = (await startFleet(t, server, ['a', 'b'], 'order')) as [Gateway, Gateway]
    const one = new Recorder('one')
    await Promise.all([subscribe(b, one, 'x/+'), subscribe(b, one, '+/y'), subscribe(b, one, 'end')])
    const burst = Array.from({ length: 5000 }, (_, i) => `${i}`)
    for (const payload of burst) a.fanout.publish(message('x/y', payload))
    await one.reach(5000)
    t.same(one.payloads, burst)
    b.fanout.unsubscribe(one, 'x/+')
    b.fanout.unsubscribe(one, '+/y')
    await subscribe(b, one, 'fresh')
    const before = b.counters.busIn
    a.fanout.publish(message('x/y', 'late'))
    a.fanout.publish(message('end', 'end'))
    await one.reach(5001)
    t.equal(b.counters.busIn - before, 1)
  })

  t.test('a filter that a wider one covers costs NATS nothing, and goes on when the wider one leaves', async (t) => {
    const [a, b] = (await startFleet(t, server, ['a', 'b'], 'cover')) as [Gateway, Gateway]
    const [narrow, wide] = [new Recorder('narrow'), new Recorder('wide')]
    await subscribe(b, narrow, 'x/y')
    await subscribe(b, wide, 'x/#')
    await subscribe(b, narrow, 'x/+')
    // Unsubscribing happens once the server has confirmed the wider one, which settled says.
    const bytes = b.counters.busInBytes
    a.fanout.publish(message('x/y', '1'))
    await wide.reach(1)
    await subscribe(b, wide, 'other')
    t.equal(b.counters.busInBytes - bytes, a.counters.busOutBytes, 'one copy came')
    for (let i = 2; i < 200; i++) {
      if (i === 100) b.fanout.unsubscribe(wide, 'x/#')
      a.fanout.publish(message('x/y', `${i}`))
      if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    await narrow.reach(199)
    t.same(
      narrow.payloads,
      Array.from({ length: 199 }, (_, i) => `${i + 1}`),
      'nothing is lost or doubled on the way',
    )
  })

  t.test('a shared group gets each message once in the whole fleet, by its members', async (t) => {
    const fleet = (await startFleet(t, server, ['a', 'b'], 'shared')) as [Gateway, Gateway]
    const [a, b] = fleet
    const members = ['a1', 'b1', 'b2'].map((name) => new Recorder(name)) as [Recorder, Recorder, Recorder]
    await Promise.all([
      subscribe(a, members[0], '$share/g/x/+', 1),
      subscribe(b, members[1], '$share/g/x/+', 1),
      subscribe(b, members[2], '$share/g/x/+', 1),
    ])
    const total = () => members.reduce((sum, member) => sum + member.got.length, 0)
    // Members travel as news, not as an acknowledged interest: probe until everybody is chosen, then until all arrived.
    await until(() => {
      for (const { fanout } of fleet) for (let i = 0; i < 3; i++) fanout.publish(message('x/p', ''))
      return members.every((member) => member.got.length > 0)
    }, 'everybody to be chosen')
    const probes = a.counters.published + b.counters.published
    await until(() => total() === probes, 'all probes')
    for (const member of members) member.got.splice(0)
    for (const { fanout } of fleet) for (let i = 0; i < 30; i++) fanout.publish(message('x/y', `${i}`, { qos: 1 }))
    await until(() => total() >= 60, 'all 60')
    t.same(
      members.map((member) => member.got.length),
      [20, 20, 20],
    )
  })

  t.test('retained messages reach gateways that come later; cleared ones do not', async (t) => {
    const [a, b] = (await startFleet(t, server, ['a', 'b'], 'kept')) as [Gateway, Gateway]
    const at = Date.now()
    a.fanout.publish(message('r/1', 'one', { retain: true, at }))
    a.fanout.publish(message('r/2', 'two', { retain: true, at }))
    await until(() => b.fanout.retained.size === 2, 'both at b')
    b.fanout.publish(message('r/1', '', { retain: true, at: at + 1 }))
    await until(() => a.fanout.retained.size === 1, 'one cleared')
    const c = startGateway(t, 'c', server.url, 'kept')
    await until(() => c.fanout.retained.size === 1, 'the rest at c')
    t.equal(Buffer.from(c.fanout.retained.get('r/2')?.payload ?? []).toString(), 'two')
  })

  t.test('a question reaches every gateway, and those with something to say are heard', async (t) => {
    const buses = ['a', 'b', 'c'].map((id) => {
      const counters = createFanoutCounters()
      const shared = { clock: systemClock, log: silent, counters, random: Math.random, prefix: 'ask' }
      const answer = (question: Uint8Array) => (id === 'c' ? question.slice(0, 2) : new Uint8Array(0))
      const bus = createNatsBus({ id, servers: server.url, answer, ...shared })
      const fanout = createFanout({ bus, ...shared })
      t.teardown(() => fanout.close())
      return bus
    })
    const [a] = buses as [(typeof buses)[number]]
    t.equal(a.ask(Uint8Array.of(1), 100), undefined, 'nobody is there yet')
    await until(() => buses.every((bus) => bus.status().peers.length === 2), 'all three')
    const from = Date.now()
    t.same(await a.ask(Uint8Array.of(1, 2, 3), 3000), [Uint8Array.of(1, 2)])
    t.ok(Date.now() - from < 1000, 'the last answer ends it')
    await buses[1]?.close()
    await until(() => a.status().peers.length === 1, 'b to have said goodbye')
    t.same(await a.ask(Uint8Array.of(7), 3000), [Uint8Array.of(7)])
  })

  t.test(
    'a message that is larger than NATS takes crosses in pieces; one that is far too large is counted',
    async (t) => {
      const [a, b] = (await startFleet(t, server, ['a', 'b'], 'large')) as [Gateway, Gateway]
      const one = new Recorder('one')
      await Promise.all([subscribe(b, one, '#'), subscribe(b, one, 'x', 1)])
      const large = 'abcdefghij'.repeat(300_000)
      a.fanout.publish(message('x', large))
      a.fanout.publish(message('x', large, { qos: 1 }))
      a.fanout.publish(message('x', 'x'.repeat(33 * 1024 * 1024)))
      a.fanout.publish(message('x', 'small'))
      await one.reach(3)
      t.strictSame(
        one.payloads.map((payload) => (payload === large ? 'large' : payload.slice(0, 10))),
        ['large', 'large', 'small'],
      )
      t.match(a.counters, { busDroppedLarge: 1, busPieced: 2, busOut: 3 })
      t.equal(b.counters.busIn, 3)
    },
  )

  t.test('while NATS is away local delivery goes on, and it heals by itself', async (t) => {
    const own = await NatsServer.start()
    t.teardown(() => own.remove())
    const [a, b] = (await startFleet(t, own, ['a', 'b'], 'heal')) as [Gateway, Gateway]
    const [atA, atB, member] = [new Recorder('a1'), new Recorder('b1'), new Recorder('m')]
    await Promise.all([subscribe(a, atA, 'x'), subscribe(b, atB, 'x'), subscribe(a, member, '$share/g/x')])
    a.fanout.publish(message('r', 'before', { retain: true, at: 1 }))
    await until(() => b.fanout.retained.size === 1, 'r at b')
    await own.stop()
    await until(() => a.fanout.status().state === 'cut' && b.fanout.status().state === 'cut', 'both to see it')
    t.match(a.fanout.status(), { reason: /NATS is away/, peers: [] })
    for (let i = 0; i < 4; i++) a.fanout.publish(message('x', `${i}`))
    t.same([atA.payloads, member.payloads, atB.payloads], [['0', '1', '2', '3'], ['0', '1', '2', '3'], []])
    t.equal(a.counters.busDroppedAway, 4)
    for (const i of [1, 2, 3]) a.fanout.publish(message('x', `kept ${i}`, { qos: 1 }))
    t.match(a.fanout.status(), { queued: 3 })
    t.match(a.counters, { busQueued: 3, busUp: 0, busDroppedAway: 4 })
    a.fanout.publish(message('r', 'during', { retain: true, at: 2 }))
    const late = new Recorder('late')
    await subscribe(b, late, 'y')
    await own.start()
    const from = Date.now()
    await until(() => [a, b].every(isUp(1)), 'both to be back', 10_000)
    t.ok(Date.now() - from < 3000, `back after ${Date.now() - from} ms`)
    await atB.reach(3)
    a.fanout.publish(message('x', 'again'))
    a.fanout.publish(message('y', 'new'))
    await Promise.all([atB.reach(4), late.reach(1)])
    t.same([atB.payloads, late.payloads], [['kept 1', 'kept 2', 'kept 3', 'again'], ['new']])
    // b says that it was away, and what it missed may go once more.
    await until(() => a.counters.busQueued === 0, 'the queue to be empty')
    t.equal(a.counters.busUp, 1)
    const kept = () => Buffer.from(b.fanout.retained.get('r')?.payload ?? []).toString()
    await until(() => kept() === 'during', 'what was retained meanwhile')
  })

  t.test(
    'a server that stands still is noticed, its full socket is let go of, and nothing acknowledged is lost',
    async (t) => {
      const own = await NatsServer.start()
      t.teardown(() => own.remove())
      const [a, b] = (await startFleet(t, own, ['a', 'b'], 'still')) as [Gateway, Gateway]
      const atB = new Recorder('b1')
      await subscribe(b, atB, 'x', 1)
      own.freeze()
      const from = Date.now()
      // More than the kernel buffers: the client cannot write it to the end.
      const bulk = 'y'.repeat(1_000_000)
      for (let i = 0; i < 20; i++) a.fanout.publish(message('x', `${i} ${bulk}`, { qos: 1 }))
      await until(() => a.fanout.status().state === 'cut', 'a to see it', 10_000)
      t.ok(Date.now() - from < 5000, `seen after ${Date.now() - from} ms`)
      a.fanout.publish(message('x', '20 last', { qos: 1 }))
      await new Promise((resolve) => setTimeout(resolve, 1200))
      own.thaw()
      await atB.reach(21)
      t.same(
        atB.payloads.map((payload) => Number.parseInt(payload, 10)),
        Array.from({ length: 21 }, (_, i) => i),
      )
      t.equal(a.counters.busDroppedAway, 0)
    },
  )

  t.test('subscriptions that end while NATS is away stay ended', async (t) => {
    const own = await NatsServer.start()
    t.teardown(() => own.remove())
    const [a, b] = (await startFleet(t, own, ['a', 'b'], 'ended')) as [Gateway, Gateway]
    const [atA, atB] = [new Recorder('a1'), new Recorder('b1')]
    await Promise.all([subscribe(b, atB, 'gone'), subscribe(b, atB, '$share/g/x'), subscribe(a, atA, '$share/g/x')])
    await own.stop()
    await until(() => [a, b].every(({ fanout }) => fanout.status().state === 'cut'), 'both to see it')
    b.fanout.unsubscribe(atB, 'gone')
    b.fanout.unsubscribe(atB, '$share/g/x')
    await own.start()
    await until(() => [a, b].every(isUp(1)), 'both to be back', 10_000)
    await subscribe(b, atB, 'stays')
    a.fanout.publish(message('gone', 'no'))
    for (let i = 0; i < 10; i++) a.fanout.publish(message('x', `${i}`))
    a.fanout.publish(message('stays', 'yes'))
    await atB.reach(1)
    t.same([atB.payloads, atA.got.length, b.counters.busIn], [['yes'], 10, 1])
  })

  t.test('it starts without NATS, and says that retained messages need JetStream', async (t) => {
    const plain = await NatsServer.start([])
    t.teardown(() => plain.remove())
    await plain.stop()
    const a = startGateway(t, 'a', plain.url)
    const one = new Recorder('one')
    await subscribe(a, one, 'x')
    a.fanout.publish(message('x', 'alone'))
    t.same(one.payloads, ['alone'])
    t.equal(a.fanout.status().state, 'cut')
    await plain.start()
    const b = startGateway(t, 'b', plain.url)
    await until(() => [a, b].every(({ fanout }) => fanout.status().peers.length === 1), 'both')
    await until(() => /bucket/.test(a.fanout.status().reason ?? ''), 'the reason')
    t.equal(a.fanout.status().state, 'partial')
    b.fanout.publish(message('x', 'both'))
    await one.reach(2)
  })
})
