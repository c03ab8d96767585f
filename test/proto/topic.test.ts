import fc from 'fast-check'
import t from 'tap'
import { isTopicFilter, isTopicName, MAX_TOPIC_BYTES, parseShared, topicMatches } from '../../proto/topic.js'

/** The matching rules of MQTT 5.0 section 4.7, level by level, as plainly as they can be written. */
function matchesByLevels(filter: string, topic: string): boolean {
  const wanted = filter.split('/')
  const given = topic.split('/')
  if (topic.startsWith('$') && (wanted[0] === '+' || wanted[0] === '#')) return false
  for (const [i, level] of wanted.entries()) {
    if (level === '#') return true
    if (i >= given.length) return false
    if (level !== '+' && level !== given[i]) return false
  }
  return wanted.length === given.length
}

/** "a/#" matches "a" too [MQTT-4.7.1-2]; `matchesByLevels` sees it because # is found before the topic ends. */
const level = fc.constantFrom('', 'a', 'b', 'ab', '$', '$SYS', 'é')
const topic = fc
  .array(level, { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join('/'))
  .filter((text) => text !== '')
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 5 }), fc.boolean())
  .map(([levels, all]) => [...levels, ...(all ? ['#'] : [])].join('/'))
  .filter((text) => text !== '')

t.test('topicMatches follows the rules, for any filter and topic', async () => {
  fc.assert(
    fc.property(filter, topic, (wanted, given) => {
      const parent = wanted.endsWith('/#') && matchesByLevels(wanted.slice(0, -2), given)
      return topicMatches(wanted, given) === (matchesByLevels(wanted, given) || parent)
    }),
    { numRuns: 20_000 },
  )
})

t.test('topicMatches: the examples of the specification', async (t) => {
  // MQTT 5.0 sections 4.7.1.2, 4.7.1.3 and 4.7.2; non-normative examples.
  const yes: [string, string][] = [
    ['sport/tennis/player1/#', 'sport/tennis/player1'],
    ['sport/tennis/player1/#', 'sport/tennis/player1/ranking'],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon'],
    ['sport/#', 'sport'],
    ['#', 'a/b/c'],
    ['sport/tennis/+', 'sport/tennis/player1'],
    ['sport/+', 'sport/'],
    ['+/+', '/finance'],
    ['/+', '/finance'],
    ['$SYS/#', '$SYS/broker'],
    ['$SYS/monitor/+', '$SYS/monitor/Clients'],
    ['+', 'sport'],
  ]
  const no: [string, string][] = [
    ['sport/tennis/+', 'sport/tennis/player1/ranking'],
    ['sport/+', 'sport'],
    ['+', '/finance'],
    ['#', '$SYS/broker'],
    ['+/monitor/Clients', '$SYS/monitor/Clients'],
    ['ACCOUNTS', 'Accounts'],
    ['sport', 'sports'],
    ['sports', 'sport'],
    ['a/b', 'a'],
    ['a', 'a/b'],
  ]
  for (const [wanted, given] of yes) t.equal(topicMatches(wanted, given), true, `${wanted} takes ${given}`)
  for (const [wanted, given] of no) t.equal(topicMatches(wanted, given), false, `${wanted} does not take ${given}`)
})

t.test('a topic name is a filter that takes itself and no other', async () => {
  const name = topic.filter((text) => !text.startsWith('$'))
  fc.assert(fc.property(name, name, (one, other) => topicMatches(one, other) === (one === other)))
})

t.test('isTopicFilter takes + and # only where they may stand', async (t) => {
  for (const good of ['a', '+', '#', 'a/+/b', '+/a', 'a/#', '/', '//', '/#', '+/+/#', 'a b', '$SYS/#'])
    t.equal(isTopicFilter(good), true, good)
  for (const bad of [
    '',
    'a+',
    '+a',
    'a/b+',
    'a/+b/c',
    '#/a',
    'a#',
    'a/#/b',
    '##',
    '++',
    'a\u0000',
    'x'.repeat(MAX_TOPIC_BYTES + 1),
  ])
    t.equal(isTopicFilter(bad), false, bad.slice(0, 10))
})

t.test('isTopicName refuses wildcards, NUL and nothing', async (t) => {
  for (const good of ['a', '/', 'a/b', '$SYS', ' ']) t.equal(isTopicName(good), true, good)
  for (const bad of ['', '+', 'a/#', 'a\u0000b', 'x'.repeat(MAX_TOPIC_BYTES + 1)])
    t.equal(isTopicName(bad), false, bad.slice(0, 10))
})

t.test('every generated filter is one, and isTopicFilter agrees with a check by levels', async () => {
  fc.assert(fc.property(filter, (text) => isTopicFilter(text)))
  const anything = fc.string({ unit: fc.constantFrom('a', '/', '+', '#'), maxLength: 8 })
  fc.assert(
    fc.property(anything, (text) => {
      const levels = text.split('/')
      const sound = levels.every(
        (one, i) => !/[+#]/.test(one) || one === '+' || (one === '#' && i === levels.length - 1),
      )
      return isTopicFilter(text) === (text !== '' && sound)
    }),
    { numRuns: 5000 },
  )
})

t.test('parseShared takes shared subscriptions apart', async (t) => {
  t.same(parseShared('$share/g/a/+'), { group: 'g', filter: 'a/+' })
  t.same(parseShared('$share/g//a'), { group: 'g', filter: '/a' })
  t.equal(parseShared('a/$share/g/b'), undefined)
  t.equal(parseShared('$shared/g/b'), undefined)
  for (const bad of ['$share/', '$share/g', '$share//a', '$share/g/', '$share/+/a', '$share/g#/a', '$share/g/a+'])
    t.equal(parseShared(bad), 'invalid', bad)
})
