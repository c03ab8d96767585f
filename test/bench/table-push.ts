/**
 * How fast a change of the routes reaches a large fleet: one coordinator with 1,000 workers in 10 pools, 200 gateways
 * that apply and acknowledge each table. Everything shares one process here, so the coordinator's own part is smaller
 * than what is shown.
 *
 *     node dist/test/bench/table-push.js [gateways] [workers] [changes]
 */

import { createCoordinator } from '../../agents/coordinator/mod.js'
import { packDelta, packTable } from '../../proto/table-delta.js'
import { call, FakeGateway, FakeWorker } from '../agents/coordinator/fake-fleet.js'

const [gateways = 200, workers = 1000, changes = 40] = process.argv.slice(2).map(Number)
const POOLS = 10

const spec = (weight: number) => ({
  pools: Object.fromEntries(Array.from({ length: POOLS }, (_, i) => [`pool-${i}`, {}])),
  routes: [
    {
      name: 'split',
      match: { topic: 'a/#' },
      to: [
        { pool: 'pool-0', weight: 100 - weight },
        { pool: 'pool-1', weight },
      ],
    },
    { name: 'default', to: [{ pool: 'pool-0' }] },
  ],
})

const coordinator = await createCoordinator({ port: 0 })
await call(coordinator.url, 'PUT', '/v1/routes', spec(1))
const fleet = Array.from(
  { length: workers },
  (_, i) => new FakeWorker(coordinator.url, `worker-${String(i).padStart(4, '0')}`, { pool: `pool-${i % POOLS}` }),
)
const edge = Array.from({ length: gateways }, (_, i) => new FakeGateway(coordinator.url, `gateway-${i}`))
for (const peer of [...fleet, ...edge]) {
  peer.remembers = false
  peer.checksTables = false
}
const settled = (version: () => number): Promise<unknown> =>
  Promise.all(edge.map((gateway) => gateway.tableWhere((table) => table.version >= version())))
while (
  coordinator.status().workers.filter(({ state }) => state === 'up').length < workers ||
  !coordinator.status().converged
) {
  await new Promise((resolve) => setTimeout(resolve, 100))
}

const times: number[] = []
for (let i = 0; i < changes; i++) {
  const begun = performance.now()
  const { body } = await call(coordinator.url, 'PUT', '/v1/routes', spec(2 + (i % 50)))
  await settled(() => Number(body.version))
  while (!coordinator.status().converged) await new Promise((resolve) => setTimeout(resolve, 1))
  times.push(performance.now() - begun)
}
const before = (edge[0] as FakeGateway).table
const joiner = new FakeWorker(coordinator.url, 'worker-0500-b', { pool: 'pool-0' })
const after = await (edge[0] as FakeGateway).tableWhere((table) => table.workers.has('worker-0500-b'))
times.sort((a, b) => a - b)
const at = (share: number): string =>
  `${(times[Math.min(times.length - 1, Math.floor(times.length * share))] as number).toFixed(0)} ms`
const [delta, snapshot] = [packDelta(before, after).length, packTable(after).length]
process.stdout.write(
  `${gateways} gateways, ${workers} workers: a route change is acknowledged by all in ${at(0.5)} (median), ${at(0.99)} (p99)\n` +
    `one worker joins: delta ${delta} bytes, snapshot ${snapshot} bytes, ${((100 * delta) / snapshot).toFixed(2)} %\n`,
)
for (const peer of [joiner, ...fleet, ...edge]) peer.kill()
await coordinator.close()
