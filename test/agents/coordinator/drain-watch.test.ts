import t from 'tap'
import { DrainWatch, type WatchedGateway } from '../../../agents/coordinator/drain-watch.js'
import { EMPTY_TABLE, type RoutingTable, type WorkerEntry } from '../../../proto/table.js'

type State = WorkerEntry['state']

/** A table with these workers in these states. */
const table = (version: number, states: Record<string, State>): RoutingTable => ({
  ...EMPTY_TABLE,
  version,
  workers: new Map(
    Object.entries(states).map(([id, state]) => [id, { id, pool: 'a', link: 'tcp://h:1', weight: 1, state }]),
  ),
})

/** A gateway that serves `version` since `ackedAt`, and was heard last at `heardAt`. */
const gateway = (version: number, ackedAt: number, heardAt: number): WatchedGateway => ({
  feed: { version, ackedAt },
  heardAt,
})

const bindings = (counts: Record<string, number>) => ({ bindings: () => new Map(Object.entries(counts)) })
const FREE = bindings({})

/** A watch that has seen worker `w` begin to drain with table 5. */
function draining() {
  const watch = new DrainWatch()
  watch.published(table(4, { w: 'up', v: 'up' }))
  const now = table(5, { w: 'draining', v: 'up' })
  watch.published(now)
  return { watch, now }
}

t.test(
  'a draining worker is free when every gateway serves the drain and has said since that nothing is bound',
  async (t) => {
    const { watch, now } = draining()
    const asked = (gateways: WatchedGateway[], loads = FREE) => watch.finished(['w'], now, gateways, loads)
    t.same(asked([gateway(5, 100, 200), gateway(4, 90, 200)]), [], 'one serves the table before')
    t.same(asked([gateway(5, 100, 200), gateway(5, 150, 150)]), [], 'one was heard last before it took the table')
    t.same(asked([gateway(5, 100, 200)], bindings({ w: 1 })), [], 'something is bound')
    t.same(asked([gateway(5, 100, 200), gateway(7, 150, 151)], bindings({ v: 3 })), ['w'])
    t.same(asked([gateway(5, 100, 300)]), [], 'it is told once')
  },
)

t.test('without a gateway nothing can be bound', async (t) => {
  const { watch, now } = draining()
  t.same(watch.finished(['w'], now, [], FREE), ['w'])
})

t.test('who is asked for but does not drain in the table is not free', async (t) => {
  const { watch, now } = draining()
  t.same(watch.finished(['v', 'nobody'], now, [gateway(5, 100, 200)], FREE), [])
})

t.test('later tables do not begin the drain anew, and an undrain does', async (t) => {
  const { watch } = draining()
  watch.published(table(8, { w: 'draining', v: 'draining' }))
  const at8 = table(8, { w: 'draining', v: 'draining' })
  t.same(watch.finished(['w', 'v'], at8, [gateway(6, 100, 200)], FREE), ['w'], 'w drains since 5, v since 8')
  watch.published(table(9, { w: 'up', v: 'draining' }))
  const at10 = table(10, { w: 'draining', v: 'draining' })
  watch.published(at10)
  t.same(watch.finished(['w', 'v'], at10, [gateway(9, 300, 400)], FREE), ['v'])
  t.same(watch.finished(['w', 'v'], at10, [gateway(10, 500, 600)], FREE), ['w'], 'told again after it was undrained')
})

t.test('a worker that left and came back under its name begins anew', async (t) => {
  const { watch, now } = draining()
  t.same(watch.finished(['w'], now, [gateway(5, 1, 2)], FREE), ['w'])
  watch.published(table(6, { v: 'up' }))
  const back = table(7, { w: 'draining', v: 'up' })
  watch.published(back)
  t.same(watch.finished(['w'], back, [gateway(6, 3, 4)], FREE), [])
  t.same(watch.finished(['w'], back, [gateway(7, 5, 6)], FREE), ['w'])
})
