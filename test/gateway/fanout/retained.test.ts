import fc from 'fast-check'
import t from 'tap'
import { createFanoutCounters } from '../../../gateway/fanout/counters.js'
import { decodeEnvelope, envelopeOf } from '../../../gateway/fanout/envelope.js'
import { type RetainedJournal, type RetainedLimits, RetainedStore } from '../../../gateway/fanout/retained.js'
import { isTopicFilter, isTopicName, topicMatches } from '../../../proto/topic.js'
import { ManualClock } from '../../manual-clock.js'
import { message, silent } from './fixtures.js'

function store(limits: Partial<RetainedLimits> = {}, journal?: RetainedJournal) {
  const clock = new ManualClock()
  const counters = createFanoutCounters()
  const retained = new RetainedStore(clock, counters, silent, { limits, ...(journal && { journal }) })
  return { clock, counters, retained }
}

const keep = { retain: true }

function found(retained: RetainedStore, filter: string): string[] {
  const topics: string[] = []
  retained.match(filter, (message) => topics.push(message.topic))
  return topics.sort()
}

t.test('a filter finds exactly the topics that topicMatches finds', async (t) => {
  const level = fc.constantFrom('', 'a', 'b', '$x')
  const topics = fc.array(
    fc
      .array(level, { minLength: 1, maxLength: 4 })
      .map((levels) => levels.join('/'))
      .filter(isTopicName),
    { maxLength: 15 },
  )
  const filter = fc
    .array(fc.oneof(level, fc.constant('+')), { maxLength: 4 })
    .chain((levels) => fc.boolean().map((hash) => (hash ? [...levels, '#'] : levels).join('/')))
    .filter(isTopicFilter)
  fc.assert(
    fc.property(topics, topics, filter, (added, removed, filter) => {
      const { retained } = store()
      for (const topic of added) retained.keep(message(topic, 'x', keep))
      for (const topic of removed) retained.keep(message(topic, '', keep))
      const left = [...new Set(added)].filter((topic) => !removed.includes(topic))
      t.same(found(retained, filter), left.filter((topic) => topicMatches(filter, topic)).sort())
      t.equal(retained.size, left.length)
    }),
    { numRuns: 500 },
  )
})

t.test('the last message of a topic replaces the one before, an empty one clears it', async (t) => {
  const { retained } = store()
  retained.keep(message('a', 'one', keep))
  retained.keep(message('a', 'two', keep))
  t.equal(Buffer.from(retained.get('a')?.payload ?? []).toString(), 'two')
  const { bytes } = retained
  retained.keep(message('b', 'x', keep))
  retained.keep(message('b', '', keep))
  t.equal(retained.bytes, bytes)
  retained.keep(message('a', '', keep))
  t.equal(retained.get('a'), undefined)
  t.equal(retained.bytes, 0)
})

t.test('expired messages are gone', async (t) => {
  const { retained, clock } = store({ messages: 1 })
  retained.keep(message('a', 'x', { ...keep, at: clock.wall(), properties: { expiry: 10 } }))
  clock.advance(9_999)
  t.same(found(retained, '#'), ['a'])
  clock.advance(1)
  retained.keep(message('b', 'x', keep))
  t.same(found(retained, '#'), ['b'], 'and make room when the store is full')
})

t.test('the store is bounded by count and by bytes, and counts what it refuses', async (t) => {
  const { retained, counters } = store({ messages: 2 })
  for (const topic of ['a', 'b', 'c']) retained.keep(message(topic, 'x', keep))
  t.same(found(retained, '#'), ['a', 'b'])
  t.equal(counters.retainedRefused, 1)
  retained.keep(message('a', 'newer', keep))
  t.equal(Buffer.from(retained.get('a')?.payload ?? []).toString(), 'newer', 'replacing is always possible')
  retained.keep(message('b', '', keep))
  retained.keep(message('c', 'x', keep))
  t.same(found(retained, '#'), ['a', 'c'])

  const small = store({ bytes: 2000 })
  small.retained.keep(message('a', 'x'.repeat(1000), keep))
  small.retained.keep(message('b', 'x'.repeat(1000), keep))
  small.retained.keep(message('/'.repeat(1000), 'x', keep))
  t.same(found(small.retained, '#'), ['a'], 'many levels weigh too')
  small.retained.keep(message('a', 'x'.repeat(3000), keep))
  t.same(found(small.retained, '#'), [], 'an old message does not stay where a newer one found no room')
})

t.test('of two gateways the newer message wins, whatever comes first, and cleared topics stay cleared', async (t) => {
  const versions = [
    message('a', 'one', { ...keep, at: 1 }),
    message('a', 'two', { ...keep, at: 2 }),
    message('a', 'twx', { ...keep, at: 2 }),
    message('a', '', { ...keep, at: 3 }),
  ]
  fc.assert(
    fc.property(fc.shuffledSubarray(versions, { minLength: 1 }), (some) => {
      const one = store().retained
      const two = store().retained
      for (const version of some) one.merge(version)
      for (const version of [...some].reverse()) two.merge(version)
      t.same(one.get('a')?.payload, two.get('a')?.payload)
      if (some.some((version) => version.at === 3)) t.equal(one.get('a'), undefined)
    }),
  )
  const { retained } = store({ tombstones: 2 })
  for (const topic of ['a', 'b', 'c']) retained.keep(message(topic, '', { ...keep, at: 5 }))
  t.same(
    [...retained.all()].map((tombstone) => tombstone.topic),
    ['b', 'c'],
    'only so many cleared topics are remembered',
  )
  t.notOk(retained.merge(message('b', 'old', { ...keep, at: 4 })))
})

t.test('a publish here counts even where the clock of another gateway is ahead', async (t) => {
  const { retained } = store()
  retained.merge(message('a', 'ahead', { ...keep, at: 5000 }))
  const kept = retained.keep(message('a', 'here', { ...keep, at: 4000 }))
  t.equal(kept.at, 5001)
  t.equal(Buffer.from(retained.get('a')?.payload ?? []).toString(), 'here')
})

t.test('a journal brings messages back, without the expired, and drops what it cannot read', async (t) => {
  const disk = new Map<string, Uint8Array>()
  const journal: RetainedJournal = {
    load: () => [...disk],
    put: (topic, envelope) => void disk.set(topic, envelope),
    delete: (topic) => void disk.delete(topic),
  }
  const first = store({}, journal).retained
  first.keep(message('a', 'x', keep))
  first.keep(message('b', 'x', keep))
  first.keep(message('b', '', keep))
  t.same([...disk.keys()], ['a'])
  t.match(decodeEnvelope(disk.get('a') as Uint8Array), { topic: 'a', retain: true })
  disk.set('broken', Uint8Array.of(1, 2))
  disk.set('old', envelopeOf(message('old', 'x', { ...keep, at: 0, properties: { expiry: 1 } })))
  const second = store({}, journal).retained
  t.same(found(second, '#'), ['a'])
  t.same([...disk.keys()], ['a'])
})
