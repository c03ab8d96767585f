import t from 'tap'
import { type HistoryEntry, RouteBook, routesFileOf } from '../../../agents/coordinator/route-book.js'
import { parseRoutes } from '../../../agents/coordinator/routes-file.js'

const spec = (maxLoad: number) =>
  parseRoutes(
    `pools: { a: { maxLoad: ${maxLoad} } }\nroutes: [{ name: all, match: { topic: x/# }, to: [{ pool: a }] }]`,
    'x.yaml',
  )
const ANN = { who: 'ann', message: 'more room' }

/** A book whose table is at `version`; each change takes the next. */
function bench(history: readonly HistoryEntry[] = [], version = 0) {
  const causes: string[] = []
  let at = version
  const put = (_spec: unknown, cause: string) => {
    causes.push(cause)
    return ++at
  }
  return { book: new RouteBook({ wall: () => 1_800_000_000_000, put }, history), causes }
}

t.test('an entry says who, when, why and what, and names the change to whoever makes tables', async (t) => {
  const { book, causes } = bench()
  t.equal(book.current, undefined)
  book.apply(spec(2), 'applied', { who: 'coordinator' })
  const entry = book.apply(spec(3), 'applied', ANN)
  t.match(entry, { version: 2, who: 'ann', message: 'more room', what: 'applied', when: '2027-01-15T08:00:00.000Z' })
  t.match(entry.diff, [/^~ pool a: .*maxLoad 2 -> .*maxLoad 3$/])
  t.same(causes, ['applied by coordinator', 'applied by ann: more room'])
  t.equal(book.current, entry)
})

t.test('routes that are in force already make no entry, no version, and no change', async (t) => {
  const { book, causes } = bench()
  t.notOk(book.holds(spec(2)), 'nothing is in force yet')
  const entry = book.apply(spec(2), 'applied', ANN)
  t.ok(book.holds(spec(2)))
  t.notOk(book.holds(spec(3)))
  t.equal(book.apply(spec(2), 'applied', { who: 'bob' }), entry)
  t.equal(book.history.length, 1)
  t.equal(causes.length, 1)
})

t.test('a rollback is a change of its own, to what was in force at that version', async (t) => {
  const { book } = bench()
  for (const maxLoad of [2, 3, 4]) book.apply(spec(maxLoad), 'applied', ANN)
  const back = book.rollback(1, { who: 'bob' })
  t.match(back, { version: 4, what: 'rolled back to 1', who: 'bob' })
  t.same(back.spec, spec(2))
  t.equal(book.history.length, 4)
  t.throws(() => book.rollback(9, ANN), {
    code: 'not_found',
    path: 'version',
    message: 'no change of the routes has version 9; the last ones: 1, 2, 3, 4',
  })
})

t.test('what a rollout brought is recorded with its version, without putting it in force again', async (t) => {
  const { book, causes } = bench()
  book.apply(spec(2), 'applied', ANN)
  t.match(book.record(spec(3), 'rolled out', ANN, 17), { version: 17, diff: [/maxLoad 2 -> /] })
  t.equal(causes.length, 1)
  t.equal(book.current?.version, 17)
})

t.test('a book goes on from its history, and keeps the newest 200 entries', async (t) => {
  const first = bench()
  for (let i = 0; i < 250; i++) first.book.apply(spec(2 + (i % 2)), 'applied', ANN)
  t.equal(first.book.history.length, 200)
  t.equal(first.book.history[0]?.version, 51)
  const { book } = bench(first.book.history, 250)
  t.equal(book.apply(spec(9), 'applied', ANN).version, 251)
  t.equal(book.history.length, 200)
})

t.test('routes can be shown in the form of the file that they came from', async (t) => {
  const file = routesFileOf(spec(2))
  t.match(file, { pools: { a: { maxLoad: 2 } }, routes: [{ name: 'all', match: { topic: 'x/#' } }] })
  t.same(parseRoutes(JSON.stringify(file), 'shown.json'), spec(2))
})
