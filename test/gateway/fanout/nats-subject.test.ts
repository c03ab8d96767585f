import fc from 'fast-check'
import t from 'tap'
import {
  encodeLevel,
  filterSubjects,
  LONG_SUBJECT,
  topicKey,
  topicSubject,
} from '../../../gateway/fanout/nats-subject.js'
import { isTopicFilter, isTopicName, topicMatches } from '../../../proto/topic.js'

/** What a NATS server does with a subject and a subscription. */
function natsMatches(subscription: string, subject: string): boolean {
  const pattern = subscription.split('.')
  const tokens = subject.split('.')
  for (const [i, token] of pattern.entries()) {
    if (token === '>') return tokens.length > i
    if (tokens[i] === undefined || (token !== '*' && token !== tokens[i])) return false
  }
  return pattern.length === tokens.length
}

t.test('golden vectors', async (t) => {
  t.equal(topicSubject('a/b c//d'), 'm.a.b=20c.=.d')
  t.equal(topicSubject('$SYS/x'), 'd.=24SYS.x')
  t.equal(topicSubject('a.b/*/>/é'), 'm.a=2eb.=2a.=3e.=c3=a9')
  t.equal(topicSubject('/'), 'm.=.=')
  t.same(filterSubjects('#'), ['m.>'])
  t.same(filterSubjects('a/#'), ['m.a', 'm.a.>'])
  t.same(filterSubjects('+/#'), ['m.*', 'm.*.>'])
  t.same(filterSubjects('a/+//c'), ['m.a.*.=.c'])
  t.same(filterSubjects('$SYS/#'), ['d.=24SYS', 'd.=24SYS.>'])
})

t.test('a subscription gets exactly the topics that its filter matches, once', async () => {
  const level = fc.constantFrom('', 'a', 'b.c', '*', '>', '$x', ' ', 'é', '=', '=20', 'a=')
  const topic = fc
    .array(level, { minLength: 1, maxLength: 4 })
    .map((levels) => levels.join('/'))
    .filter(isTopicName)
  const filter = fc
    .array(fc.oneof(level, fc.constant('+')), { maxLength: 4 })
    .chain((levels) => fc.boolean().map((hash) => (hash ? [...levels, '#'] : levels).join('/')))
    .filter(isTopicFilter)
  fc.assert(
    fc.property(topic, filter, (topic, filter) => {
      const copies = filterSubjects(filter).filter((subscription) => natsMatches(subscription, topicSubject(topic)))
      return copies.length === (topicMatches(filter, topic) ? 1 : 0)
    }),
    { numRuns: 20_000 },
  )
})

t.test('different levels are different tokens, valid in a subject and in a key', async () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (a, b) => {
      const token = encodeLevel(a)
      return /^[-=\w]+$/.test(token) && (a === b || token !== encodeLevel(b))
    }),
  )
})

t.test('what is too long for a control line travels apart, and filters know', async (t) => {
  const long = 'x'.repeat(1022)
  t.equal(topicSubject(long).length, 1024)
  t.equal(topicSubject(`${long}xxx`), LONG_SUBJECT)
  t.equal(topicSubject('é'.repeat(400)), LONG_SUBJECT)
  t.equal(topicKey('/'.repeat(1024)), undefined)
  t.same(filterSubjects(`${long}xxx`), [])
  t.same(filterSubjects(`${'é'.repeat(400)}/#`), [])
})
