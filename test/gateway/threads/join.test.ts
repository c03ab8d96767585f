import t from 'tap'
import { joinAnswers, joinExpositions, joinStatus, joinUnready } from '../../../gateway/threads/join.js'

t.test('Prometheus texts are joined with each family in one place', async (t) => {
  const text = (thread: number) =>
    `# HELP a An a.\n# TYPE a gauge\na{thread="${thread}"} 1\n\n# HELP b A b.\n# TYPE b counter\nb{thread="${thread}"} 2\n`
  t.equal(
    joinExpositions([text(0), text(1)]),
    '# HELP a An a.\n# TYPE a gauge\na{thread="0"} 1\na{thread="1"} 1\n' +
      '# HELP b A b.\n# TYPE b counter\nb{thread="0"} 2\nb{thread="1"} 2\n',
  )
})

t.test('a gateway is ready when all its threads are', async (t) => {
  t.equal(joinUnready([null, null]), undefined)
  t.match(joinUnready([null, 'no routing table yet']), /thread 1: no routing table yet/)
  t.match(joinUnready([undefined, null]), /thread 0 is not up/)
})

t.test('the status sums sessions and names the oldest table', async (t) => {
  const joined = joinStatus([
    { id: 'g', sessions: 2, version: 5, moves: 0 },
    undefined,
    { id: 'g', sessions: 3, version: 4 },
  ])
  t.match(joined, { id: 'g', sessions: 5, version: 4, threads: [{ sessions: 2 }, { state: 'down' }, { sessions: 3 }] })
})

t.test('plans are added up, and no answer stays none', async (t) => {
  const plan = (moved: number) => ({ p: { moved, before: { a: moved }, after: { b: moved } } })
  t.same(joinAnswers('plan', [plan(1), undefined, plan(2)]), { p: { moved: 3, before: { a: 3 }, after: { b: 3 } } })
  t.equal(joinAnswers('session', [undefined, null]), undefined)
})
