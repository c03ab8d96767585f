import fc from 'fast-check'
import t from 'tap'
import { Feed, TablePacker } from '../../../agents/coordinator/feed.js'
import { buildTable, DEFAULT_ROUTES } from '../../../agents/coordinator/table-builder.js'
import type { Delta, Snapshot } from '../../../proto/control.js'
import { EMPTY_TABLE, type RoutingTable, type WorkerEntry } from '../../../proto/table.js'
import { applyDelta, unpackTable } from '../../../proto/table-delta.js'

/** A table of that version with as many workers. */
const tables: RoutingTable[] = []
for (let version = 1; version <= 12; version++) {
  const workers = Array.from(
    { length: version },
    (_, i): WorkerEntry => ({ id: `w${i}`, pool: 'default', link: 'tcp://h:1', weight: 1, state: 'up' }),
  )
  const built = buildTable(tables.at(-1) ?? EMPTY_TABLE, DEFAULT_ROUTES, workers, [], () => undefined)
  tables.push({ ...built, version })
}
const table = (version: number): RoutingTable => tables[version - 1] as RoutingTable

function apply(served: RoutingTable, message: Snapshot | Delta): RoutingTable {
  return message.t === 'snapshot' ? unpackTable(message.table) : applyDelta(served, message.delta)
}

t.test('the first table is a snapshot, later ones are deltas', async (t) => {
  const sent: (Snapshot | Delta)[] = []
  const feed = new Feed(new TablePacker(), 0, (message) => sent.push(message))
  feed.offer(table(1))
  feed.acked(1, 5)
  feed.offer(table(2))
  t.match(sent, [
    { t: 'snapshot', version: 1 },
    { t: 'delta', from: 1, to: 2 },
  ])
  t.equal(feed.version, 1)
  t.notOk(feed.converged)
  feed.acked(2, 9)
  t.ok(feed.converged)
  t.equal(feed.ackedAt, 9)
})

t.test('an ack of something that was never sent is ignored', async (t) => {
  const feed = new Feed(new TablePacker(), 0, () => {})
  feed.offer(table(3))
  feed.acked(7, 1)
  t.equal(feed.version, 0)
})

t.test('gateways that ask for the same step get the same bytes, packed once', async (t) => {
  const packer = new TablePacker()
  t.equal(packer.delta(table(1), table(2)).delta, packer.delta(table(1), table(2)).delta)
  t.equal(packer.snapshot(table(2)).table, packer.snapshot(table(2)).table)
  t.not(packer.snapshot(table(3)).table, packer.snapshot(table(2)).table)
})

t.test(
  'however acks and nacks come, one table is on its way at most, and a gateway that answers ends with the last one',
  async () => {
    const act = fc.constantFrom('offer', 'ack', 'ack', 'conflict', 'reject')
    fc.assert(
      fc.property(fc.array(act, { maxLength: 40 }), (acts) => {
        const sent: (Snapshot | Delta)[] = []
        let served: RoutingTable = EMPTY_TABLE
        const feed = new Feed(new TablePacker(), 0, (message) => sent.push(message))
        let version = 0
        const answer = (how: string): void => {
          const message = sent.shift()
          if (message === undefined) return
          const to = message.t === 'snapshot' ? message.version : message.to
          if (how === 'ack') {
            served = apply(served, message)
            feed.acked(to, 0)
          } else {
            const code = how === 'reject' ? 'table_rejected' : 'conflict'
            feed.nacked({ t: 'nack', version: to, serving: served.version, code, message: '' }, 0)
          }
        }
        for (const what of acts) {
          if (what === 'offer' && version < tables.length - 1) feed.offer(table(++version))
          else if (what !== 'offer') answer(what)
          if (sent.length > 1) return false
        }
        feed.offer(table(++version))
        for (let round = 0; round < 5; round++) answer('ack')
        return served.version === version && feed.converged && sent.length === 0
      }),
      { numRuns: 500 },
    )
  },
)
