import t from 'tap'
import { Fleet } from '../../../agents/coordinator/fleet.js'
import { Housekeeping } from '../../../agents/coordinator/housekeeping.js'
import { LoadBook } from '../../../agents/coordinator/load-book.js'
import { buildTable, DEFAULT_ROUTES } from '../../../agents/coordinator/table-builder.js'
import type { GatewayHeartbeat } from '../../../proto/control.js'
import { EMPTY_TABLE, type GatewayEntry, type RoutingTable, type WorkerEntry } from '../../../proto/table.js'

const workers = ['a', 'b'].map(
  (id): WorkerEntry => ({ id, pool: 'default', link: 'tcp://h:1', weight: 1, state: 'up' }),
)
const gateways = ['g', 'h'].map(
  (id): GatewayEntry => ({ id, region: '', http: 'http://g', ws: 'ws://g', mqtt: '', state: 'up', capacity: 0 }),
)
const table: RoutingTable = {
  ...buildTable(EMPTY_TABLE, DEFAULT_ROUTES, workers, gateways, () => undefined),
  version: 1,
}
const ofWorker = (index: number): number[] =>
  [...(table.pools.get('default')?.slots ?? []).entries()].filter(([, owner]) => owner === index).map(([slot]) => slot)

/** A gateway with `count` sessions on slots of one worker. */
function heartbeat(index: number, count: number): GatewayHeartbeat {
  const slots = ofWorker(index).slice(0, count)
  return {
    t: 'gateway_heartbeat',
    sessions: count,
    lagMs: 0,
    pools: { default: { workers: { [workers[index]?.id ?? '']: count }, slots: slots.flatMap((slot) => [slot, 1]) } },
    counters: { connects: 0, disconnects: 0, errors: 0, framesUp: 0, framesDown: 0 },
    p99Ms: 0,
  }
}

function start() {
  const loads = new LoadBook()
  const fleet = new Fleet({ weights: new Map(), drainingWorkers: new Set(), drainingGateways: new Set() })
  return { loads, house: new Housekeeping(fleet, loads) }
}

t.test('nothing moves on the word of a part of the gateways', async (t) => {
  const { loads, house } = start()
  loads.record('g', heartbeat(0, 40))
  t.same(house.balance(table, 0), [], 'h may hold the other half, as it does')
  loads.record('h', heartbeat(1, 40))
  t.same(house.balance(table, 5000), [])
  t.equal(house.evened(table), table)
})

t.test('when all gateways were heard, uneven sessions move slots in the next table', async (t) => {
  const { loads, house } = start()
  loads.record('g', heartbeat(0, 40))
  loads.record('h', heartbeat(0, 20))
  t.equal(house.balance(table, 0).length, 1)
  t.same(house.balance(table, 5000), [], 'once for the same heartbeats')
  const next = house.evened(table)
  t.notSame(next.pools.get('default')?.slots, table.pools.get('default')?.slots)
  house.published(next, table, 5000)
  t.equal(house.evened(next), next)
})

t.test('how full the gateways are is told when it changed', async (t) => {
  const { house } = start()
  t.same(house.news(), { t: 'fleet_load', gateways: {} })
  t.equal(house.news(), undefined)
  house.forgetNews()
  t.ok(house.news())
})
