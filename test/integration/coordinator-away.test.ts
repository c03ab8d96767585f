/** The coordinator is killed under traffic: what runs goes on, and what starts meanwhile serves the table on its disk. */

import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { DeviceFleet } from './device-fleet.js'
import { eventually } from './product.js'
import { Role } from './role.js'

const HANDLER = fileURLToPath(new URL('counting-handler.js', import.meta.url))

interface Status {
  version: number
  converged: boolean
  gateways: { id: string; connected: boolean; tableVersion: number; sessions: number }[]
  workers: { id: string; connected: boolean; state: string }[]
}

interface GatewayReady {
  id: string
  http: string
  ws: string
  mqtt: string
}

const dir = mkdtempSync(join(tmpdir(), 'sluice-away-'))
const FILE = join(dir, 'gateway-1', 'gateway-1.table')
let coordinator: Role<{ url: string }>
let url: string
const gateways: Role<GatewayReady>[] = []

const startCoordinator = (port: string) =>
  Role.start<{ url: string }>(t, 'coordinator', '--port', port, '--data', join(dir, 'coordinator'))

/** On the ports that it had before, if it was there before. */
async function startGateway(index: number, ...flags: string[]): Promise<Role<GatewayReady>> {
  const id = `gateway-${index + 1}`
  const before = gateways[index]?.ready
  const ports = ['--port', portOf(before?.http), '--mqtt-port', portOf(before?.mqtt)]
  const common = ['--coordinator', url, '--data', join(dir, id), '--log-level', 'info']
  const gateway = await Role.start<GatewayReady>(t, 'gateway', '--id', id, ...ports, ...common, ...flags)
  gateways[index] = gateway
  return gateway
}

const portOf = (known: string | undefined) => (known === undefined ? '0' : new URL(known).port)

async function readiness(gateway: Role<GatewayReady>): Promise<{ status: number; reason: string | undefined }> {
  const answer = await fetch(`${gateway.ready.http}/readyz`)
  return { status: answer.status, reason: ((await answer.json()) as { reason?: string }).reason }
}

const ready = (gateway: Role<GatewayReady>) =>
  eventually(`${gateway.ready.id} to be ready`, 10_000, async () =>
    (await readiness(gateway)).status === 200 ? true : undefined,
  )

/** Resolves when its log says so. */
const says = (gateway: Role<GatewayReady> | undefined, what: RegExp) =>
  eventually(`${gateway?.ready.id} to say ${what}`, 5000, async () =>
    what.test(gateway?.log ?? '') ? true : undefined,
  )

const status = async () => (await (await fetch(`${url}/v1/status`)).json()) as Status

const converged = () =>
  eventually('both gateways and both workers in one table', 15_000, async () => {
    const now = await status().catch(() => undefined)
    if (now?.converged !== true) return undefined
    const up = now.gateways.filter(({ connected, tableVersion }) => connected && tableVersion === now.version)
    const workers = now.workers.filter(({ connected, state }) => connected && state === 'up')
    return up.length === 2 && workers.length === 2 ? now : undefined
  })

t.before(async () => {
  coordinator = await startCoordinator('0')
  url = coordinator.ready.url
  await startGateway(0)
  // One second is over soon, and nothing that runs may care.
  await startGateway(1, '--max-table-age', '1s')
  for (const id of ['worker-1', 'worker-2'])
    await Role.start(t, 'worker', HANDLER, '--id', id, '--port', '0', '--coordinator', url)
  await converged()
  for (const gateway of gateways) await ready(gateway)
})

t.test('data flows on, and a gateway that is killed and restarted meanwhile serves from its disk', async (t) => {
  const fleet = await DeviceFleet.connect([gateways[1]?.ready.ws ?? ''], 20, 'stays')
  t.teardown(() => fleet.close())
  fleet.start(20)
  await eventually('traffic', 5000, async () => (fleet.devices.every(({ highest }) => highest > 3) ? true : undefined))
  await coordinator.kill()
  await gateways[0]?.kill()
  const restarted = await startGateway(0, '--max-table-age', '24h')
  await ready(restarted)
  await says(restarted, /serving the table on disk/)
  await says(restarted, /the coordinator is away; serving the last table/)

  const others = await DeviceFleet.connect([restarted.ready.ws], 20, 'comes')
  t.teardown(() => others.close())
  others.start(20)
  await eventually('traffic of new devices', 5000, async () =>
    others.devices.every(({ highest }) => highest > 10) ? true : undefined,
  )
  for (const one of [fleet, others]) {
    const { sent, ...report } = await one.finish(5000)
    t.match(report, { answered: sent, lost: 0, doubled: 0, reordered: 0, stateLost: 0, disconnects: 0, errors: [] })
    t.comment(`${sent} frames sent, acknowledged and answered`)
  }
  await says(gateways[1], /no coordinator for 1 s, which is --max-table-age/)
  t.equal((await readiness(gateways[1] as Role<GatewayReady>)).status, 200, 'it goes on all the same')
})

t.test('a table that was tampered with, half-written or too old is refused with the reason', async (t) => {
  await gateways[0]?.kill()
  const good = readFileSync(FILE)
  const tampered = Buffer.from(good)
  tampered.writeUInt8((tampered.readUInt8(good.length - 100) ^ 1) & 0xff, good.length - 100)
  const cases = [
    {
      bytes: tampered,
      flags: [],
      said: /gateway-1\.table: its checksum does not hold: half-written or changed by hand/,
    },
    { bytes: good.subarray(0, good.length >> 1), flags: [], said: /gateway-1\.table: its checksum does not hold/ },
    { bytes: Buffer.alloc(0), flags: [], said: /gateway-1\.table: not a routing table file/ },
    {
      bytes: good,
      flags: ['--max-table-age', '1s'],
      said: /gateway-1\.table: no coordinator has confirmed it for \d+ s, and --max-table-age is 1 s/,
    },
  ]
  for (const { bytes, flags, said } of cases) {
    writeFileSync(FILE, bytes)
    const gateway = await startGateway(0, ...flags)
    await says(gateway, said)
    await says(gateway, /the saved routing table is refused; waiting for the coordinator/)
    const reason = 'no routing table yet: the one on disk is refused, the log says why'
    t.same(await readiness(gateway), { status: 503, reason })
    t.same(readFileSync(FILE), bytes, 'the file stays as it is, for whoever looks into it')
    await gateway.kill()
  }
  writeFileSync(FILE, good)
  const gateway = await startGateway(0, '--max-table-age', '1h')
  await ready(gateway)
  t.pass('the good one is taken')
  await gateway.kill()
  await startGateway(0, '--max-table-age', '1s')
})

t.test('when the coordinator is back everything converges, who was refused too', async (t) => {
  t.equal((await readiness(gateways[0] as Role<GatewayReady>)).status, 503)
  coordinator = await startCoordinator(portOf(url))
  const { version } = await converged()
  for (const gateway of gateways) await ready(gateway)
  const routes = { pools: { default: {} }, routes: [{ name: 'new', match: {}, to: [{ pool: 'default' }] }] }
  const body = JSON.stringify(routes)
  await fetch(`${url}/v1/routes`, { method: 'PUT', body, headers: { 'content-type': 'application/json' } })
  const next = await converged()
  t.ok(next.version > version, 'and takes new routes')
  const fleet = await DeviceFleet.connect(
    gateways.map(({ ready }) => ready.ws),
    20,
    'after',
  )
  t.teardown(() => fleet.close())
  fleet.start(20)
  await eventually('traffic', 5000, async () => (fleet.devices.every(({ highest }) => highest > 3) ? true : undefined))
  const { sent, ...report } = await fleet.finish(5000)
  t.match(report, { answered: sent, lost: 0, disconnects: 0, errors: [] })
})
