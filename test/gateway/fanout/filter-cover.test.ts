import fc from 'fast-check'
import t from 'tap'
import { FilterCover } from '../../../gateway/fanout/filter-cover.js'
import { isTopicFilter, isTopicName, topicMatches } from '../../../proto/topic.js'

const level = fc.constantFrom('', 'a', 'b', '$x')
const filter = fc
  .array(fc.oneof(level, fc.constant('+')), { maxLength: 3 })
  .chain((levels) => fc.boolean().map((hash) => (hash ? [...levels, '#'] : levels).join('/')))
  .filter(isTopicFilter)

/**
 * Every topic of up to four of these levels: enough to tell any two of the filters above apart. The empty one is no
 * topic, but counts here: `/#` and `+/+/#` differ by it only, and neither need give way to the other.
 */
const topics = (() => {
  let rows: string[][] = [[]]
  const all = ['']
  for (let depth = 0; depth < 4; depth++) {
    const levels = depth === 0 ? ['', 'a', 'b', 'z', '$x', '$z'] : ['', 'a', 'b', 'z', '$x']
    rows = rows.flatMap((row) => levels.map((level) => [...row, level]))
    all.push(...rows.map((row) => row.join('/')).filter(isTopicName))
  }
  return all
})()

/** `#` and `+/#` match the same topics: only one of them may give way to the other. */
const within = (narrow: string, wide: string) =>
  !(narrow === '#' && wide === '+/#') &&
  topics.every((topic) => !topicMatches(narrow, topic) || topicMatches(wide, topic))

t.test('a filter is covered exactly when another one matches all that it does', async () => {
  fc.assert(
    fc.property(fc.uniqueArray(filter, { minLength: 1, maxLength: 6 }), (filters) => {
      const cover = new FilterCover()
      for (const one of filters) cover.add(one)
      return filters.every((one) => {
        const others = filters.filter((other) => other !== one)
        const narrower = others.filter((other) => within(other, one)).sort()
        return (
          cover.covers(one) === others.some((other) => within(one, other)) &&
          JSON.stringify(cover.narrower(one).sort()) === JSON.stringify(narrower)
        )
      })
    }),
    { numRuns: 200 },
  )
})

t.test('what was deleted covers nothing and is covered by nothing', async (t) => {
  const cover = new FilterCover()
  for (const one of ['a/#', 'a/b', 'a/+', '#', '$x/y']) cover.add(one)
  t.ok(cover.covers('a/b'))
  t.notOk(cover.covers('$x/y'))
  for (const one of ['#', 'a/#']) cover.delete(one)
  t.ok(cover.covers('a/b'))
  cover.delete('a/+')
  cover.delete('never/there')
  t.notOk(cover.covers('a/b'))
  t.same(cover.narrower('#'), ['a/b'])
})
