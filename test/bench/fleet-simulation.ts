/**
 * A day of a large fleet without sockets: 10 million sessions, 2,000 workers in 10 pools, 200 gateways. Every table is
 * made by the coordinator's own code and packed as the delta that gateways get.
 * Run: `npm run build && node dist/test/bench/fleet-simulation.js [--sessions 10000000] [--seed 1]`.
 */

import { parseArgs } from 'node:util'
import { diffSlots, rebalance } from '../../agents/coordinator/placement.js'
import { buildTable, defaultPool, placementMembers, type RouteSpec } from '../../agents/coordinator/table-builder.js'
import { SLOTS, slotOf } from '../../proto/hash.js'
import { EMPTY_TABLE, type GatewayEntry, type RoutingTable, type WorkerEntry } from '../../proto/table.js'
import { packDelta, packTable } from '../../proto/table-delta.js'
import { seededRandom } from '../seeded-random.js'

const { values } = parseArgs({
  options: { sessions: { type: 'string', default: '10000000' }, seed: { type: 'string', default: '1' } },
})
const SESSIONS = Number(values.sessions)
const POOLS = 10
const WORKERS_PER_POOL = 200
const GATEWAYS = 200
const MINUTES = 24 * 60
/** Twice a day each pool gets a new version, a twentieth of its workers at a time, a minute apart. */
const DEPLOYS_PER_POOL = 2
const DEPLOY_BATCHES = 20
/** One worker in ten dies once a day, and is back two minutes later. */
const WORKER_FAILURES = (POOLS * WORKERS_PER_POOL) / 10
const WORKER_AWAY = 2
/** Gateways that die, and are back five minutes later. */
const GATEWAY_FAILURES = 8
const GATEWAY_AWAY = 5
/** Every so many minutes the coordinator looks whether somebody breaks the bounded-load promise. */
const REBALANCE_EVERY = 10

interface Tally {
  tables: number
  deltaBytes: number
  largestDelta: number
  planned: number
  failedOver: number
  toKeepTheLimit: number
  /** Sessions of the workers that left or drained: they have to move, whatever the placement. */
  least: number
  peak: number
  buildMs: number[]
}

const random = seededRandom(Number(values.seed))
const poolNames = Array.from({ length: POOLS }, (_, p) => `pool-${p}`)
const spec: RouteSpec = {
  pools: poolNames.map(defaultPool),
  routes: poolNames.map((pool, p) => ({
    name: pool,
    match: p === POOLS - 1 ? {} : { device: `p${p}-*` },
    to: [{ pool, weight: 1 }],
  })),
}
const workers = new Map<string, WorkerEntry>()
for (const pool of poolNames) for (let i = 0; i < WORKERS_PER_POOL; i++) join(pool, `${pool}-w${i}`)
const gateways = new Map<string, GatewayEntry>()
for (let g = 0; g < GATEWAYS; g++) joinGateway(g)

/** Devices that are known, in each slot of each pool; the time of day decides how many are connected. */
const devices = countDevices()
const load = new Map(poolNames.map((pool) => [pool, new Uint32Array(SLOTS)]))
const tally: Tally = {
  tables: 0,
  deltaBytes: 0,
  largestDelta: 0,
  planned: 0,
  failedOver: 0,
  toKeepTheLimit: 0,
  least: 0,
  peak: 0,
  buildMs: [],
}
let table: RoutingTable = { ...EMPTY_TABLE, version: 1 }
let most = 0

function join(pool: string, id: string): void {
  workers.set(id, { id, pool, link: `tcp://10.0.0.1:${9000 + (workers.size % 1000)}`, weight: 1, state: 'up' })
}

function joinGateway(g: number): void {
  const id = `gateway-${g}`
  const host = `10.1.${g >> 4}.${g & 15}`
  gateways.set(id, {
    id,
    region: `region-${g % 8}`,
    location: { lat: (g % 120) - 60, lon: ((g * 37) % 360) - 180 },
    http: `http://${host}:8080`,
    ws: `ws://${host}:8080/v1/connect`,
    mqtt: `mqtt://${host}:1883`,
    state: 'up',
    capacity: 100_000,
  })
}

function countDevices(): Map<string, Uint32Array> {
  const counts = new Map(poolNames.map((pool) => [pool, new Uint32Array(SLOTS)]))
  for (let i = 0; i < SESSIONS; i++) {
    const p = i % POOLS
    const slots = counts.get(`pool-${p}`) as Uint32Array
    const slot = slotOf(`p${p}-device-${i}`)
    slots[slot] = (slots[slot] as number) + 1
  }
  return counts
}

/** Between 60 % of the devices at night and all of them at noon, each slot a little different each hour. */
function setLoad(minute: number): void {
  const part = 0.8 - 0.2 * Math.cos((2 * Math.PI * minute) / MINUTES)
  for (const [pool, slots] of load) {
    const known = devices.get(pool) as Uint32Array
    for (let slot = 0; slot < SLOTS; slot++) {
      const mean = (known[slot] as number) * part
      slots[slot] = Math.min(known[slot] as number, Math.round(mean + (random() - 0.5) * 2 * Math.sqrt(mean)))
    }
  }
  most = Math.max(
    most,
    [...load.values()].reduce((sum, slots) => slots.reduce((n, count) => n + count, sum), 0),
  )
}

/** Makes the next table and counts what it costs. Returns the sessions that move. */
function publish(): number {
  const start = performance.now()
  const built = buildTable(table, spec, [...workers.values()], [...gateways.values()], (pool) => load.get(pool))
  tally.buildMs.push(performance.now() - start)
  return push({ ...built, version: table.version + 1 })
}

function push(next: RoutingTable): number {
  const bytes = packDelta(table, next).length
  tally.tables++
  tally.deltaBytes += bytes
  tally.largestDelta = Math.max(tally.largestDelta, bytes)
  let moved = 0
  for (const [name, pool] of next.pools) {
    const before = table.pools.get(name)
    if (before !== pool) moved += diffSlots(before, pool, load.get(name)).sessionsMoved
  }
  table = next
  return moved
}

/** Highest load of any worker, as a part of the mean of its pool. */
function measurePeak(): void {
  for (const [name, pool] of table.pools) {
    const sessions = diffSlots(undefined, pool, load.get(name)).perWorker.map((worker) => worker.sessionsAfter)
    const owners = new Set(pool.slots).size
    const total = sessions.reduce((sum, n) => sum + n, 0)
    tally.peak = Math.max(tally.peak, Math.max(...sessions) / (total / owners))
  }
}

function sessionsAt(ids: ReadonlySet<string>): number {
  let sum = 0
  for (const [name, pool] of table.pools) {
    for (const { id, sessionsAfter } of diffSlots(undefined, pool, load.get(name)).perWorker) {
      if (ids.has(id)) sum += sessionsAfter
    }
  }
  return sum
}

/** New workers join, as many old ones drain in the same table, and are gone in the next. */
function deployBatch(pool: string, generation: number, batch: number): void {
  const old = [...workers.values()].filter((worker) => worker.pool === pool && !worker.id.endsWith(`v${generation}`))
  const leaving = old.slice(0, Math.ceil(old.length / (DEPLOY_BATCHES - batch)))
  tally.least += sessionsAt(new Set(leaving.map(({ id }) => id)))
  for (const [i, worker] of leaving.entries()) {
    workers.set(worker.id, { ...worker, state: 'draining' })
    join(pool, `${pool}-b${batch}-${i}.v${generation}`)
  }
  tally.planned += publish()
  measurePeak()
  for (const { id } of leaving) workers.delete(id)
  tally.planned += publish()
}

function failWorker(): () => void {
  const up = [...workers.values()].filter(({ state }) => state === 'up')
  const victim = up[Math.floor(random() * up.length)] as WorkerEntry
  tally.least += 2 * sessionsAt(new Set([victim.id]))
  workers.delete(victim.id)
  tally.failedOver += publish()
  return () => {
    join(victim.pool, victim.id)
    tally.planned += publish()
  }
}

function failGateway(): () => void {
  const g = Math.floor(random() * GATEWAYS)
  gateways.delete(`gateway-${g}`)
  publish()
  return () => {
    joinGateway(g)
    publish()
  }
}

/** What the coordinator does on its round: whoever breaks the promise gives slots away. */
function keepTheLimit(): void {
  for (const [name, pool] of table.pools) {
    const slots = load.get(name) as Uint32Array
    const members = placementMembers([...workers.values()].filter((worker) => worker.pool === name))
    const placed = rebalance(pool, members, slots, pool.maxLoad)
    if (placed === pool) continue
    const pools = new Map(table.pools).set(name, { ...pool, slots: placed.slots })
    tally.toKeepTheLimit += push({ ...table, version: table.version + 1, pools })
  }
}

/** Everything that happens, by minute. */
function schedule(): Map<number, (() => void)[]> {
  const plan = new Map<number, (() => void)[]>()
  const at = (minute: number, what: () => void) => plan.set(minute, [...(plan.get(minute) ?? []), what])
  for (const [p, pool] of poolNames.entries()) {
    for (let d = 0; d < DEPLOYS_PER_POOL; d++) {
      const start = 30 + p * 60 + d * 700
      for (let batch = 0; batch < DEPLOY_BATCHES; batch++) at(start + batch, () => deployBatch(pool, d + 1, batch))
    }
  }
  const fail = (count: number, away: number, what: () => () => void) => {
    for (let i = 0; i < count; i++) {
      const minute = Math.floor(random() * (MINUTES - away))
      at(minute, () => {
        const back = what()
        at(minute + away, back)
      })
    }
  }
  fail(WORKER_FAILURES, WORKER_AWAY, failWorker)
  fail(GATEWAY_FAILURES, GATEWAY_AWAY, failGateway)
  return plan
}

const began = performance.now()
setLoad(0)
publish()
const snapshotBytes = packTable(table).length
Object.assign(tally, { tables: 0, deltaBytes: 0, largestDelta: 0, buildMs: [] })
const plan = schedule()
for (let minute = 0; minute < MINUTES; minute++) {
  if (minute % 60 === 0) setLoad(minute)
  for (const event of plan.get(minute) ?? []) event()
  if (minute % REBALANCE_EVERY === 0) {
    keepTheLimit()
    measurePeak()
  }
}

const times = tally.buildMs.sort((a, b) => a - b)
const moved = tally.planned + tally.failedOver + tally.toKeepTheLimit
const count = (n: number) => Math.round(n).toLocaleString('en')
const rows: readonly (readonly [string, string])[] = [
  ['sessions at the peak, workers, gateways', `${count(most)}, ${count(workers.size)}, ${gateways.size}`],
  ['tables pushed in the day', count(tally.tables)],
  ['sessions moved', count(moved)],
  ['... by deploys and returning workers', count(tally.planned)],
  ['... away from workers that died', count(tally.failedOver)],
  ['... to keep maxLoad', count(tally.toKeepTheLimit)],
  ['sessions that had to move (those of leaving and returning workers)', count(tally.least)],
  ['moved / had to move', (moved / tally.least).toFixed(3)],
  ['peak load: fullest worker / mean of its pool', tally.peak.toFixed(3)],
  ['snapshot, bytes', count(snapshotBytes)],
  ['delta, mean and largest, bytes', `${count(tally.deltaBytes / tally.tables)}, ${count(tally.largestDelta)}`],
  ['pushed to one gateway in the day, MB', (tally.deltaBytes / 1e6).toFixed(2)],
  ['pushed to all gateways in the day, MB', ((tally.deltaBytes * GATEWAYS) / 1e6).toFixed(0)],
  ['as snapshots it would have been, MB', ((snapshotBytes * tally.tables * GATEWAYS) / 1e6).toFixed(0)],
  [
    'time to build a table, median and longest, ms',
    `${times[times.length >> 1]?.toFixed(1)}, ${times.at(-1)?.toFixed(1)}`,
  ],
  ['the simulation took, s', ((performance.now() - began) / 1000).toFixed(1)],
]
console.log('| a day of the fleet | |')
console.log('|---|--:|')
for (const [name, value] of rows) console.log(`| ${name} | ${value} |`)
