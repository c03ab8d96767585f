import t from 'tap'
import { createFanoutCounters } from '../../../gateway/fanout/counters.js'
import { AWAIT_MS, NatsLane } from '../../../gateway/fanout/nats-lane.js'
import { ManualClock } from '../../manual-clock.js'
import { silent } from './fixtures.js'

function start() {
  const clock = new ManualClock()
  const counters = createFanoutCounters()
  const sent: string[] = []
  const warnings: string[] = []
  const server = { full: false }
  const lane = new NatsLane({
    clock,
    counters,
    log: { ...silent, warn: (_details, message) => void warnings.push(message) },
    publish: (subject) => {
      if (!server.full) sent.push(subject)
      return !server.full
    },
    limits: { messages: 100, historyMs: 10_000 },
  })
  const send = (subject: string) => lane.send(subject, new Uint8Array(1))
  const takeSent = () => sent.splice(0).join(' ')
  return { clock, counters, lane, server, warnings, send, takeSent }
}

t.test('messages go out at once while NATS is there, and wait in order while it is away', async (t) => {
  const { lane, send, takeSent, counters } = start()
  send('early')
  t.equal(takeSent(), '', 'not connected yet')
  lane.connected()
  send('1')
  t.equal(takeSent(), 'early 1')
  lane.taken(lane.mark)
  lane.disconnected()
  send('2')
  send('3')
  t.same([takeSent(), counters.busQueued, lane.waiting], ['', 2, 2])
  lane.connected()
  t.equal(takeSent(), '2 3', 'nobody was there before: nobody is waited for')
  t.same([counters.busQueued, counters.busSentLate], [0, 3])
})

t.test('gateways that were there before are waited for, and new messages queue behind', async (t) => {
  const { lane, send, takeSent } = start()
  lane.connected()
  lane.spoke('b', undefined)
  lane.spoke('c', undefined)
  lane.disconnected()
  send('1')
  lane.connected()
  send('2')
  lane.spoke('b', undefined)
  t.equal(takeSent(), '')
  lane.spoke('c', undefined)
  t.equal(takeSent(), '1 2')
})

t.test('one that does not come back is not waited for long, one that says goodbye not at all', async (t) => {
  const { lane, clock, send, takeSent } = start()
  lane.connected()
  lane.spoke('b', undefined)
  lane.disconnected()
  send('1')
  lane.connected()
  clock.advance(AWAIT_MS - 1)
  t.equal(takeSent(), '')
  clock.advance(1)
  t.equal(takeSent(), '1')
  lane.disconnected()
  lane.connected()
  lane.left('b')
  send('2')
  t.equal(takeSent(), '1 2', 'what was not confirmed goes again')
  clock.advance(60_000)
  lane.spoke('c', undefined)
  clock.advance(60_000)
  lane.taken(lane.mark)
  lane.disconnected()
  lane.connected()
  send('3')
  t.equal(takeSent(), '3', 'c was not heard of for a minute')
})

t.test('a gateway alone that was away gets again what it missed, with others that come back together', async (t) => {
  const { lane, clock, send, takeSent, counters, warnings } = start()
  lane.connected()
  send('0')
  clock.advance(5000)
  send('1')
  clock.advance(1000)
  send('2')
  lane.taken(lane.mark)
  takeSent()
  lane.spoke('b', 1200)
  send('3')
  lane.spoke('c', 300)
  t.equal(takeSent(), '')
  clock.advance(50)
  t.equal(takeSent(), '1 2 3')
  t.equal(counters.busSentLate, 3)
  t.same(warnings, [])
  clock.advance(9000)
  send('4')
  lane.spoke('b', 60_000)
  t.match(warnings, [/longer than messages are kept/])
})

t.test('while too much is under way it waits for the server', async (t) => {
  const { lane, send, server, takeSent, counters } = start()
  lane.connected()
  server.full = true
  send('1')
  send('2')
  t.equal(counters.busQueued, 2)
  server.full = false
  lane.taken(lane.mark)
  t.equal(takeSent(), '1 2')
})

t.test('a full queue drops the oldest, counts them and says so once', async (t) => {
  const { lane, send, takeSent, counters, warnings } = start()
  for (let i = 0; i < 105; i++) send(`${i}`)
  t.same([counters.busDroppedQueue, counters.busQueued, warnings.length], [5, 100, 1])
  lane.connected()
  t.match(takeSent(), /^5 6 7 .* 104$/)
})
