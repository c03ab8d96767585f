import fc from 'fast-check'
import t from 'tap'
import { type OutMessage, OutQueue } from '../../../gateway/bridge/out-queue.js'

const make = (topic: string, qos: 0 | 1 = 0, bytes = 0): OutMessage => ({
  topic,
  payload: new Uint8Array(bytes),
  qos,
  retain: false,
})
const drain = (queue: OutQueue<OutMessage>): string[] => {
  const topics: string[] = []
  for (let one = queue.take(); one !== undefined; one = queue.take()) topics.push(one.topic)
  return topics
}

t.test('messages come out in the order they went in, whatever their QoS', async (t) => {
  const queue = new OutQueue<OutMessage>(10, 1e6)
  for (const [at, qos] of [0, 1, 1, 0, 1, 0].entries()) queue.add(make(String(at), qos as 0 | 1))
  t.same(drain(queue), ['0', '1', '2', '3', '4', '5'])
  t.equal(queue.bytes, 0)
})

t.test('a full queue gives up its oldest QoS 0 first, and refuses only when there is none', async (t) => {
  const queue = new OutQueue<OutMessage>(3, 1e6)
  queue.add(make('a'))
  queue.add(make('b', 1))
  queue.add(make('c'))
  queue.add(make('d', 1))
  queue.add(make('e', 1))
  queue.add(make('f', 1))
  t.same(drain(queue), ['b', 'd', 'e'])
  t.equal(queue.dropped, 3)
})

t.test('bytes count too, and one message that never fits is dropped', async (t) => {
  const queue = new OutQueue<OutMessage>(100, 1000)
  queue.add(make('big', 1, 2000))
  t.equal(queue.length, 0)
  for (let i = 0; i < 10; i++) queue.add(make(String(i), 0, 100))
  t.ok(queue.bytes <= 1000)
  t.equal(drain(queue).at(-1), '9')
})

t.test('whatever is added, taken and put back, order and count hold', async () => {
  const step = fc.oneof(fc.constant('take' as const), fc.constant('back' as const), fc.constantFrom(0 as const, 1))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const queue = new OutQueue<OutMessage>(1000, 1e9)
      const expected: string[] = []
      const taken: OutMessage[] = []
      let next = 0
      for (const one of steps) {
        if (one === 'take') {
          const got = queue.take()
          if (got?.topic !== expected.shift()) return false
          if (got !== undefined) taken.push(got)
        } else if (one === 'back') {
          expected.unshift(...taken.map(({ topic }) => topic))
          queue.putBack(taken.splice(0))
        } else {
          expected.push(String(next))
          queue.add(make(String(next++), one as 0 | 1))
        }
        if (queue.length !== expected.length) return false
      }
      return drain(queue).join() === expected.join() && queue.bytes === 0
    }),
  )
})
