import fc from 'fast-check'
import t from 'tap'
import { filtersOverlap } from '../../../gateway/fanout/filter-overlap.js'
import { TopicTree } from '../../../gateway/fanout/topic-tree.js'
import { isTopicFilter, isTopicName, topicMatches } from '../../../proto/topic.js'
import { options, Recorder } from './fixtures.js'

const level = fc.constantFrom('', 'a', 'b', '$x', 'é')
const topic = fc
  .array(level, { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join('/'))
  .filter(isTopicName)
const filter = fc
  .array(fc.oneof(level, fc.constant('+')), { minLength: 0, maxLength: 5 })
  .chain((levels) => fc.boolean().map((hash) => (hash ? [...levels, '#'] : levels).join('/')))
  .filter(isTopicFilter)

function devices(tree: TopicTree<Recorder>, on: string): string[] {
  return tree
    .match(on)
    .direct.map((target) => target.subscriber.device)
    .sort()
}

t.test('the tree matches what topicMatches does, through any history of subscribing and unsubscribing', async (t) => {
  const step = fc.record({ add: fc.boolean(), who: fc.integer({ min: 0, max: 4 }), filter, topic })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const people = Array.from({ length: 5 }, (_, i) => new Recorder(`d${i}`))
      // Small, so that eviction takes part.
      const tree = new TopicTree<Recorder>({ cachedTopics: 3 })
      const model = new Map(people.map((person) => [person, new Set<string>()]))
      for (const { add, who, filter, topic } of steps) {
        const person = people[who] as Recorder
        const held = model.get(person) as Set<string>
        if (add) {
          t.equal(tree.subscribe(person, filter, options()), held.has(filter))
          held.add(filter)
        } else t.equal(tree.unsubscribe(person, filter), held.delete(filter))
        const expected = people.filter((p) => [...(model.get(p) ?? [])].some((f) => topicMatches(f, topic)))
        t.same(devices(tree, topic), expected.map((p) => p.device).sort())
      }
      t.equal(
        tree.size,
        [...model.values()].reduce((sum, held) => sum + held.size, 0),
      )
      for (const person of people) for (const held of tree.filtersOf(person)) tree.unsubscribe(person, held)
      t.equal(tree.size, 0)
    }),
    { numRuns: 150 },
  )
})

t.test('overlapping subscriptions are one delivery with the highest QoS and every identifier', async (t) => {
  const tree = new TopicTree<Recorder>()
  const one = new Recorder('one')
  tree.subscribe(one, 'a/#', options({ qos: 0, id: 7 }))
  tree.subscribe(one, 'a/+', options({ qos: 2, id: 8, retainAsPublished: true }))
  tree.subscribe(one, 'a/b', options({ qos: 1 }))
  const { direct } = tree.match('a/b')
  t.equal(direct.length, 1)
  t.match(direct[0], { qos: 2, retainAsPublished: true })
  t.same([...(direct[0]?.ids ?? [])].sort(), [7, 8])
  tree.unsubscribe(one, 'a/+')
  t.match(tree.match('a/b').direct[0], { qos: 1, retainAsPublished: false, ids: [7] })
})

t.test('a match remembers nothing after a member left, replaced its options, or a wildcard came', async (t) => {
  const tree = new TopicTree<Recorder>()
  const one = new Recorder('one')
  const two = new Recorder('two')
  tree.subscribe(one, 'a', options())
  t.same(devices(tree, 'a'), ['one'])
  tree.subscribe(two, 'a', options())
  t.same(devices(tree, 'a'), ['one', 'two'])
  tree.subscribe(two, 'a', options({ qos: 1 }))
  t.same(
    tree
      .match('a')
      .direct.map((target) => target.qos)
      .sort(),
    [0, 1],
  )
  tree.unsubscribe(one, 'a')
  tree.unsubscribe(two, 'a')
  t.same(devices(tree, 'a'), [])
  tree.subscribe(one, '#', options())
  t.same(devices(tree, 'a'), ['one'])
})

t.test('no-local counts per subscription: an overlapping one without it still delivers', async (t) => {
  const tree = new TopicTree<Recorder>()
  const one = new Recorder('one')
  tree.subscribe(one, 'a/b', options({ noLocal: true, id: 1, qos: 2 }))
  t.equal(tree.match('a/b').direct[0]?.own, undefined)
  tree.subscribe(one, 'a/+', options({ id: 2, qos: 1 }))
  t.match(tree.match('a/b').direct[0], { qos: 2, own: { qos: 1, ids: [2] } })
  tree.subscribe(one, '#', options({ noLocal: true, id: 3 }))
  t.match(tree.match('a/b').direct[0]?.own, { qos: 1, ids: [2] })
})

t.test('bounds are kept and named', async (t) => {
  const tree = new TopicTree<Recorder>({ levels: 3, subscriptions: 4, perSubscriber: 2, filterUnits: 20 })
  const one = new Recorder('one')
  t.throws(() => tree.subscribe(one, 'a/b/c/d', options()), { code: 'bad_topic' })
  tree.subscribe(one, 'a', options())
  tree.subscribe(one, 'b', options())
  t.throws(() => tree.subscribe(one, 'c', options()), { code: 'overloaded', message: /2 subscriptions/ })
  t.ok(tree.subscribe(one, 'b', options({ qos: 1 })), 'changing what one has is always possible')
  t.throws(() => tree.subscribe(new Recorder('two'), 'long-long-long-long', options()), { code: 'overloaded' })
  tree.subscribe(new Recorder('two'), 'c', options())
  tree.subscribe(new Recorder('three'), 'c', options())
  t.throws(() => tree.subscribe(new Recorder('four'), 'c', options()), { code: 'overloaded', message: /All 4/ })
  t.throws(() => tree.subscribe(one, '$share/x', options()), { code: 'bad_topic' })
})

t.test('filters that are said not to overlap have no topic in common', async (t) => {
  fc.assert(
    fc.property(filter, filter, topic, (a, b, topic) => {
      if (topicMatches(a, topic) && topicMatches(b, topic)) t.ok(filtersOverlap(a, b), `${a} ${b} ${topic}`)
      t.equal(filtersOverlap(a, b), filtersOverlap(b, a))
    }),
    { numRuns: 3000 },
  )
  t.notOk(filtersOverlap('a/b', 'a/c'))
  t.notOk(filtersOverlap('a/+', 'a/b/c'))
  t.ok(filtersOverlap('a/#', 'a'))
  t.notOk(filtersOverlap('a/b/#', 'a'))
})
