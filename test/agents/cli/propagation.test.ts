import t from 'tap'
import { Propagation, renderOutcome } from '../../../agents/cli/propagation.js'

const gateway = (id: string, tableVersion: number, more = {}) => {
  return { id, tableVersion, region: 'eu', sessions: 0, state: 'up', connected: true, lastNack: null, ...more }
}
const nack = (version: number, code: string) => ({ lastNack: { version, code, message: 'pool x has no slots' } })

t.test('every gateway is named once, when it serves the table or a later one', async (t) => {
  const progress = new Propagation(7)
  t.same(progress.look([gateway('g1', 6), gateway('g2', 7)], 40), ['  g2 serves table 7 (40 ms)'])
  t.notOk(progress.settled)
  t.same(progress.look([gateway('g1', 8), gateway('g2', 8)], 90), ['  g1 serves table 8 (90 ms)'])
  t.ok(progress.settled)
  t.equal(renderOutcome(7, progress), 'Every gateway serves table 7.')
})

t.test('a refusal is told with its reason, and nobody waits for it', async (t) => {
  const progress = new Propagation(7)
  const [line] = progress.look([gateway('g1', 6, nack(7, 'table_rejected'))], 40)
  t.equal(line, '  g1 REFUSED it and serves table 6 on: pool x has no slots')
  t.ok(progress.settled)
  t.equal(renderOutcome(7, progress), 'table 7 is not served by 1 of 1 gateways: g1 (refused it)')
})

t.test('a refusal of an older table, or of a delta that a snapshot follows, is no answer', async (t) => {
  const progress = new Propagation(7)
  const old = gateway('g1', 6, nack(6, 'table_rejected'))
  t.same(progress.look([old, gateway('g2', 6, nack(7, 'conflict'))], 40), [])
  t.notOk(progress.settled)
})

t.test('a gateway that is away is named, and one that has left the fleet is forgotten', async (t) => {
  const progress = new Propagation(7)
  const lines = progress.look([gateway('g1', 7), gateway('g2', 6, { connected: false })], 40)
  t.match(lines[1], /g2 is not connected/)
  t.notOk(progress.settled)
  progress.look([gateway('g1', 7)], 90)
  t.ok(progress.settled)
})

t.test('a stage looks at its own gateways, and large fleets are not listed', async (t) => {
  const stage = new Propagation(7, ['g2'])
  t.same(stage.look([gateway('g1', 6), gateway('g2', 7)], 1), ['  g2 serves table 7 (1 ms)'])
  t.ok(stage.settled)
  const many = Array.from({ length: 200 }, (_, i) => gateway(`g${i}`, i === 5 ? 6 : 7))
  const fleet = new Propagation(7)
  t.same(fleet.look(many, 1), [])
  t.match(renderOutcome(7, fleet), /not served by 1 of 200 gateways: g5 \(has not answered\)/)
})
