/** `sluice up --nats`: the coordinator's state is in NATS, so it outlives `up`, and others may join. */

import { execFile } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { hasNatsServer, NatsServer } from '../gateway/fanout/nats-server.js'
import { eventually, SLUICE, startProduct } from './product.js'
import { Role } from './role.js'

const run = promisify(execFile)
const skip = hasNatsServer ? false : 'nats-server is not installed'
const SMALL = ['--gateways', '1', '--workers', '1']

interface History {
  versions: { version: number; message?: string }[]
}

const routesFile = (name: string) => {
  const file = join(mkdtempSync(join(tmpdir(), 'sluice-up-nats-')), 'routes.yaml')
  writeFileSync(file, `pools: { default: {} }\nroutes: [{ name: ${name}, to: [{ pool: default }] }]\n`)
  return file
}

t.test(
  'routes outlive up, another coordinator joins it, and a routes file goes behind what applies',
  { skip },
  async (t) => {
    const nats = await NatsServer.start()
    t.teardown(() => nats.remove())
    const first = await startProduct('--nats', nats.url, ...SMALL)
    t.match(await first.get('/v1/coordinators'), { role: 'leader', store: 'up' })
    await run(process.execPath, [
      ...[SLUICE, 'routes', 'apply', routesFile('kept'), '-m', 'kept in NATS', '--coordinator', first.coordinator],
    ])
    t.equal(await first.stop(), 0)

    const second = await startProduct('--nats', nats.url, ...SMALL, '--routes', routesFile('late'))
    t.teardown(() => second.stop())
    const { versions } = await second.get<History>('/v1/routes/history')
    t.equal(versions.at(-1)?.message, 'kept in NATS')
    t.match(await second.get('/v1/routes'), { routes: [{ name: 'kept' }] })
    t.match(second.complaints(), /the routes file is not looked at/)

    const other = await Role.start<{ url: string }>(t, 'coordinator', '--port', '0', '--nats', nats.url)
    const seen = await eventually('the second coordinator to follow', 5000, async () => {
      const answer = await fetch(`${other.ready.url}/v1/coordinators`)
      const told = (await answer.json()) as { role: string; leader: { url: string } | null }
      return told.leader === null ? undefined : told
    })
    t.match(seen, { role: 'follower', leader: { url: second.coordinator } })
    const answer = await fetch(`${other.ready.url}/v1/status`)
    t.match(await answer.json(), { gateways: [{ id: 'gateway-1' }], workers: [{ id: 'worker-1' }] })
  },
)

t.test('a NATS without JetStream is named as what is missing', { skip }, async (t) => {
  const nats = await NatsServer.start([])
  t.teardown(() => nats.remove())
  await t.rejects(startProduct('--nats', nats.url, ...SMALL), { message: /no JetStream there \(nats-server -js\)/ })
})
