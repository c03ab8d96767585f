import t from 'tap'
import { createFanout, type FanoutOptions } from '../../../gateway/fanout/fan-out.js'
import type { NativeTopics } from '../../../gateway/fanout/native-rooms.js'
import { encodePublishFrame } from '../../../gateway/fanout/publish-frame.js'
import type { Message, Subscriber } from '../../../gateway/ports.js'
import { FrameView } from '../../../proto/frame.js'
import { ManualClock } from '../../manual-clock.js'
import { ManualTurns, message, options, Recorder, silent } from './fixtures.js'

function start(extra: Partial<FanoutOptions> = {}) {
  const turns = new ManualTurns()
  const fanout = createFanout({ clock: new ManualClock(), log: silent, turn: turns.turn, ...extra })
  return { fanout, turns }
}

const nothing = () => {}

t.test('a message reaches each subscriber once, at the lower QoS, without the RETAIN flag', async (t) => {
  const { fanout } = start()
  const [one, two] = [new Recorder('one'), new Recorder('two')]
  fanout.subscribe(one, 'a/+', options({ qos: 1, id: 4 }), nothing)
  fanout.subscribe(one, 'a/b', options({ qos: 0, id: 5 }), nothing)
  fanout.subscribe(two, '#', options({ qos: 2, retainAsPublished: true }), nothing)
  t.equal(fanout.publish(message('a/b', 'x', { qos: 2, retain: true })), 2)
  t.match(one.got, [{ payload: 'x', qos: 1, retain: false }])
  t.same([...(one.got[0]?.ids ?? [])].sort(), [4, 5])
  t.match(two.got, [{ payload: 'x', qos: 2, retain: true, ids: undefined }])
  t.equal(fanout.publish(message('b', 'y')), 1)
  t.equal(fanout.publish(message('$SYS/b', 'y')), 0)
  t.match(fanout.counters, { published: 3, deliveries: 3, retained: 1 })
})

t.test('settled is called at once without other gateways', async (t) => {
  const { fanout } = start()
  let settled = 0
  t.equal(
    fanout.subscribe(new Recorder('one'), 'a', options(), () => settled++),
    false,
  )
  t.equal(settled, 1)
})

t.test('no-local keeps a message from its publisher only', async (t) => {
  const { fanout } = start()
  const [one, two] = [new Recorder('one'), new Recorder('two')]
  for (const who of [one, two]) fanout.subscribe(who, 'a', options({ noLocal: true }), nothing)
  fanout.publish(message('a', 'x', { publisher: 'one' }))
  t.same([one.payloads, two.payloads], [[], ['x']])
})

t.test('retained messages come with the subscription as retain handling says', async (t) => {
  const { fanout } = start()
  fanout.publish(message('a/b', 'kept', { retain: true, qos: 1 }))
  const got = (who: Recorder) => who.got.splice(0)
  const one = new Recorder('one')
  fanout.subscribe(one, 'a/+', options({ qos: 2, id: 3 }), nothing)
  t.same(got(one), [{ topic: 'a/b', payload: 'kept', qos: 1, retain: true, ids: [3] }])
  fanout.subscribe(one, 'a/+', options(), nothing)
  t.equal(got(one).length, 1, '0: every time')
  fanout.subscribe(one, 'a/+', options({ retainHandling: 1 }), nothing)
  t.equal(got(one).length, 0, '1: only when it is new')
  fanout.subscribe(one, '#', options({ retainHandling: 1 }), nothing)
  t.equal(got(one).length, 1)
  fanout.subscribe(one, 'a/b', options({ retainHandling: 2 }), nothing)
  t.equal(got(one).length, 0, '2: never')
  fanout.subscribe(one, '$share/g/a/b', options(), nothing)
  t.equal(got(one).length, 0, 'shared: never')
})

t.test('a shared group gets each message once, besides plain subscribers', async (t) => {
  const { fanout } = start()
  const members = [new Recorder('m1'), new Recorder('m2'), new Recorder('m3')]
  const plain = new Recorder('plain')
  for (const member of members) fanout.subscribe(member, '$share/g/a/#', options({ qos: 1 }), nothing)
  fanout.subscribe(plain, 'a/b', options(), nothing)
  for (let i = 0; i < 9; i++) t.equal(fanout.publish(message('a/b', `${i}`, { qos: 1 })), 2)
  t.same(
    members.map((member) => member.got.length),
    [3, 3, 3],
  )
  t.equal(plain.got.length, 9)
  fanout.unsubscribeAll(members[0] as Recorder)
  for (let i = 0; i < 4; i++) fanout.publish(message('a/b', `${i}`))
  t.same(
    members.map((member) => member.got.length),
    [3, 5, 5],
  )
})

t.test('a large fan-out is sliced, in order per topic, while other topics go on', async (t) => {
  const { fanout, turns } = start({ slices: { deliveries: 300 } })
  const crowd = Array.from({ length: 1000 }, (_, i) => new Recorder(`d${i}`))
  for (const one of crowd) fanout.subscribe(one, 'hot', options(), nothing)
  const calm = new Recorder('calm')
  fanout.subscribe(calm, 'cool', options(), nothing)
  t.equal(fanout.publish(message('hot', '1')), 1000)
  t.equal(fanout.publish(message('hot', '2')), 1000)
  const delivered = () => crowd.reduce((sum, one) => sum + one.got.length, 0)
  t.equal(delivered(), 0)
  turns.run()
  t.ok(delivered() > 0 && delivered() <= 600, `${delivered()} in one turn: both messages to 300`)
  fanout.publish(message('cool', 'now'))
  t.same(calm.payloads, ['now'], 'a small one does not wait behind it')
  fanout.unsubscribeAll(crowd[999] as Recorder)
  const turnsTaken = turns.runAll()
  t.ok(turnsTaken >= 3, `${turnsTaken} turns`)
  t.ok(crowd.slice(0, 999).every((one) => one.payloads.join() === '1,2'))
  t.same(crowd[999]?.got, [], 'who left meanwhile gets nothing more')
  t.match(fanout.counters, { queued: 0, sliced: 2 })
})

t.test('the publisher hears when the last delivery is made, at once or in a later turn', async (t) => {
  const { fanout, turns } = start({ slices: { deliveries: 100, waitingBytes: 600 } })
  const crowd = Array.from({ length: 250 }, (_, i) => new Recorder(`d${i}`))
  for (const one of crowd) fanout.subscribe(one, 'hot', options(), nothing)
  fanout.subscribe(new Recorder('calm'), 'cool', options(), nothing)
  const heard: string[] = []
  const said = (name: string) => (published: Message) => {
    heard.push(`${name} ${published.topic} ${crowd.filter(({ got }) => got.length > 0).length}`)
  }
  fanout.publish(message('nobody', 'x'), said('none'))
  fanout.publish(message('cool', 'x'), said('few'))
  t.same(heard.splice(0), ['none nobody 0', 'few cool 0'])
  fanout.publish(message('hot', '1', { qos: 1 }), said('many'))
  turns.run()
  t.same(heard, [], 'not before the last slice')
  turns.runAll()
  t.same(heard.splice(0), ['many hot 250'])
  fanout.publish(message('hot', '2'), said('first'))
  fanout.publish(message('hot', '3'), said('second'))
  fanout.publish(message('hot', '4'), said('dropped'))
  t.same(heard, ['dropped hot 250'], 'what is dropped is not waited for')
  turns.runAll()
  t.same(heard.slice(1), ['first hot 250', 'second hot 250'])
  const kept = message('hot', 'kept', { retain: true })
  fanout.publish(kept)
  const published: Message[] = []
  const again = { ...kept, encoded: new Map() }
  fanout.publish(again, (one) => published.push(one))
  await fanout.close()
  t.equal(published[0], again, 'the message that was published, though a later stamp is retained')
})

t.test(
  'messages of a hot topic that wait go to each subscriber together, in order, whoever comes and goes',
  async (t) => {
    const { fanout, turns } = start({ slices: { deliveries: 100 } })
    const crowd = Array.from({ length: 300 }, (_, i) => new Recorder(`d${i}`))
    for (const one of crowd) fanout.subscribe(one, 'hot', options(), nothing)
    const done: string[] = []
    const send = (name: string) => fanout.publish(message('hot', name), () => done.push(name))
    for (const name of ['1', '2', '3', '4']) send(name)
    turns.run()
    t.same(crowd[0]?.payloads, ['1', '2', '3', '4'], 'all that waits')
    t.same(crowd[299]?.payloads, [])
    send('5')
    fanout.unsubscribeAll(crowd[298] as Recorder)
    const late = new Recorder('late')
    fanout.subscribe(late, 'hot', options(), nothing)
    send('6')
    turns.runAll()
    t.ok([...crowd.slice(0, 298), crowd[299]].every((one) => one?.payloads.join('') === '123456'))
    t.same(crowd[298]?.payloads, [])
    t.same(late.payloads, ['6'])
    t.same(done, ['1', '2', '3', '4', '5', '6'])
    t.match(fanout.counters, { queued: 0 })
  },
)

t.test('many messages in one turn are spread too, unless they are small', async (t) => {
  const { fanout, turns } = start({ slices: { deliveries: 100 } })
  const crowd = Array.from({ length: 50 }, (_, i) => new Recorder(`d${i}`))
  for (const one of crowd) fanout.subscribe(one, 'a', options(), nothing)
  for (let i = 0; i < 20; i++) fanout.publish(message('a', `${i}`))
  t.equal(crowd[0]?.got.length, 2)
  turns.runAll()
  t.same(
    crowd[49]?.payloads,
    Array.from({ length: 20 }, (_, i) => `${i}`),
  )
  const one = new Recorder('one')
  fanout.subscribe(one, 'small', options(), nothing)
  for (let i = 0; i < 500; i++) fanout.publish(message('small', `${i}`))
  t.equal(one.got.length, 500)
})

t.test('a backlog is bounded: fire and forget is dropped, the rest is delivered by its publisher', async (t) => {
  const { fanout, turns } = start({ slices: { deliveries: 10, waitingPerTopic: 120 } })
  const crowd = Array.from({ length: 40 }, (_, i) => new Recorder(`d${i}`))
  for (const one of crowd) fanout.subscribe(one, 'a', options({ qos: 1 }), nothing)
  for (let i = 0; i < 5; i++) fanout.publish(message('a', `q0-${i}`))
  t.equal(fanout.counters.droppedBacklog, 2)
  for (let i = 0; i < 5; i++) t.equal(fanout.publish(message('a', `q1-${i}`, { qos: 1 })), 40)
  turns.runAll()
  t.same(crowd[7]?.payloads, ['q0-0', 'q0-1', 'q0-2', 'q1-0', 'q1-1', 'q1-2', 'q1-3', 'q1-4'])
  t.equal(fanout.counters.queued, 0)
})

t.test('a subscriber that throws does not keep the message from the others', async (t) => {
  const { fanout } = start()
  const bad: Subscriber = {
    device: 'bad',
    available: true,
    deliver: () => {
      throw new Error('defect')
    },
  }
  const good = new Recorder('good')
  fanout.subscribe(bad, 'a', options(), nothing)
  fanout.subscribe(good, 'a', options(), nothing)
  fanout.publish(message('a', 'x'))
  t.same(good.payloads, ['x'])
  t.equal(fanout.counters.droppedFailed, 1)
})

t.test('the WebSocket frame is made once and carries user properties as headers', async (t) => {
  const user = [
    ['k', '1'],
    ['k', '2'],
    ['__proto__', 'p'],
  ] as const
  const one = message('a/b', 'x', { properties: { user } })
  t.equal(encodePublishFrame(one), encodePublishFrame(one))
  const view = new FrameView()
  t.ok(view.read(encodePublishFrame(one)))
  t.match(view, { type: 1, seq: 0 })
  t.equal(view.topic(), 'a/b')
  t.same(Object.entries(view.headers()), [
    ['k', '2'],
    ['__proto__', 'p'],
  ])
})

/** A server with topics of its own, as uWebSockets.js has. */
class FakeNative implements NativeTopics {
  readonly rooms = new Map<string, Set<Subscriber>>()
  publishes = 0
  readonly got = new Map<Subscriber, string[]>()

  subscribe(subscriber: Subscriber, room: string): boolean {
    if (subscriber.device.startsWith('mqtt')) return false
    const members = this.rooms.get(room) ?? new Set()
    this.rooms.set(room, members.add(subscriber))
    return true
  }

  unsubscribe(subscriber: Subscriber, room: string): void {
    this.rooms.get(room)?.delete(subscriber)
  }

  publish(room: string, frame: Uint8Array): void {
    this.publishes++
    const view = new FrameView()
    view.read(frame)
    for (const member of this.rooms.get(room) ?? []) {
      this.got.set(member, [...(this.got.get(member) ?? []), Buffer.from(view.payload()).toString()])
    }
  }
}

t.test('WebSocket subscribers are served by native publishes, rooms of them, and everybody exactly once', async (t) => {
  const native = new FakeNative()
  const { fanout, turns } = start({ native })
  const crowd = Array.from({ length: 600 }, (_, i) => new Recorder(`ws${i}`))
  const mqtt = new Recorder('mqtt')
  for (const one of [...crowd, mqtt]) fanout.subscribe(one, 'hot', options(), nothing)
  const overlapping = crowd[0] as Recorder
  fanout.subscribe(overlapping, 'h/#', options(), nothing)
  fanout.subscribe(crowd[1] as Recorder, '+', options(), nothing)
  fanout.subscribe(crowd[2] as Recorder, 'hot', options({ noLocal: true }), nothing)
  t.equal(fanout.publish(message('hot', 'x', { publisher: 'ws2' })), 601)
  turns.runAll()
  t.same([mqtt.payloads, native.publishes], [['x'], 3])
  const counts = crowd.map((one) => one.got.length + (native.got.get(one)?.length ?? 0))
  t.same(counts.slice(0, 5), [1, 1, 0, 1, 1])
  t.ok(counts.slice(3).every((count) => count === 1))
  t.equal(crowd[1]?.got.length, 1, 'the one with overlapping filters is served by the loop')
  t.equal(native.got.get(overlapping)?.length, 1, 'filters that cannot overlap stay native')
})

t.test('who lost its socket, or left, is not served natively any more', async (t) => {
  const native = new FakeNative()
  const { fanout } = start({ native })
  const [one, two] = [new Recorder('one'), new Recorder('two')]
  for (const who of [one, two]) fanout.subscribe(who, 'a', options(), nothing)
  fanout.disconnected(one)
  fanout.unsubscribe(two, 'a')
  t.equal(fanout.publish(message('a', 'x')), 1)
  t.same([one.payloads, native.publishes], [['x'], 0])
  fanout.subscribe(one, 'b', options({ qos: 1 }), nothing)
  fanout.connected(one)
  for (const topic of ['a', 'b']) fanout.publish(message(topic, topic))
  t.same(
    [one.payloads, native.got.get(one)],
    [['x', 'b'], ['a']],
    'back with its socket, except for what is acknowledged',
  )
  fanout.unsubscribeAll(one)
  t.ok([...native.rooms.values()].every((members) => members.size === 0))
})
