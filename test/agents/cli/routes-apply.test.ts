/** `routes apply` and `rollout` as a user runs them, against a real coordinator and gateways that speak its protocol. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { ExitCode } from '../../../agents/cli/cli-error.js'
import { createCoordinator } from '../../../agents/coordinator/mod.js'
import { FakeGateway, FakeWorker } from '../coordinator/fake-fleet.js'

const MAIN = fileURLToPath(new URL('../../../agents/cli/main.js', import.meta.url))
const ROUTES = 'pools: { a: {} }\nroutes:\n  - { name: all, to: [{ pool: a }] }\n'
const WRONG = 'pools: { a: {} }\nroutes:\n  - { name: all, too: [{ pool: a }] }\n'

async function start(t: Test, gateways: number) {
  const coordinator = await createCoordinator({ port: 0 })
  const edge = Array.from({ length: gateways }, (_, i) => new FakeGateway(coordinator.url, `g${i + 1}`))
  t.teardown(async () => {
    for (const gateway of edge) gateway.kill()
    await coordinator.close()
  })
  for (const gateway of edge) await gateway.tableWhere(({ version }) => version > 0)
  const directory = t.testdir({ 'good.yaml': ROUTES, 'bad.yaml': WRONG, 'bytes.yaml': Buffer.from([0x70, 0xff, 0xfe]) })
  const sluice = async (...args: string[]) => {
    const flags = ['--coordinator', coordinator.url]
    const child = spawn(process.execPath, [MAIN, ...args, ...flags], { cwd: directory })
    const [out, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
    return { out, errors, code }
  }
  return { edge, sluice, url: coordinator.url, path: (name: string) => join(directory, name) }
}

t.test('apply shows every gateway as it takes the table over', async (t) => {
  const { sluice } = await start(t, 2)
  const { out, code, errors } = await sluice('routes', 'apply', 'good.yaml', '-m', 'one pool')
  t.equal(code, ExitCode.OK, errors)
  t.match(out, /^ {2}g1 serves table \d+ \(.+\)\n {2}g2 serves table \d+ \(.+\)\nEvery gateway serves table \d+\.\n$/)
  t.match((await sluice('routes', 'history')).out, /one pool/)
})

t.test('routes that apply already change nothing, and the version that is told is the one in force', async (t) => {
  const { sluice, url, edge } = await start(t, 1)
  t.equal((await sluice('routes', 'apply', 'good.yaml')).code, ExitCode.OK)
  const since = edge[0]?.table.version ?? 0
  // The fleet goes on: the table in force is a later one than that which brought the routes.
  const worker = new FakeWorker(url, 'w1', { pool: 'a' })
  t.teardown(() => worker.kill())
  await edge[0]?.tableWith('w1')
  const { version } = (await (await fetch(`${url}/v1/status`)).json()) as { version: number }
  t.ok(version > since)
  const told = new RegExp(`^Nothing changes: these routes apply already, as table ${version}\\.\n`)
  for (const flags of [[], ['--stages', '1', '--bake', '1m']]) {
    const { out, code } = await sluice('routes', 'apply', 'good.yaml', ...flags)
    t.equal(code, ExitCode.OK)
    t.match(out, told)
    t.match(out, `Every gateway serves table ${version}.`)
  }
  const json = await sluice('routes', 'apply', 'good.yaml', '--json')
  t.match(JSON.parse(json.out), { version, unchanged: true, since, diff: [], behind: [] })
  t.match(
    (await sluice('routes', 'rollback', String(since))).out,
    `The routes of ${since} apply already: nothing changes.`,
  )
  t.match((await sluice('routes', 'plan', 'good.yaml')).out, /^Nothing would change: /)
  t.equal((await sluice('routes', 'history')).out.trim().split('\n').length, 3, 'and the history has no entry of it')
})

t.test('a gateway that refuses it is named with its reason, and the exit code says so', async (t) => {
  const { edge, sluice } = await start(t, 2)
  ;(edge[1] as FakeGateway).onTable = { code: 'table_rejected', message: 'pool a has no slots' }
  const { out, code, errors } = await sluice('routes', 'apply', 'good.yaml')
  t.equal(code, ExitCode.NOT_SERVED)
  t.match(out, /g2 REFUSED it and serves table \d+ on: pool a has no slots/)
  t.match(errors, /not served by 1 of 2 gateways: g2 \(refused it\)/)
  const json = await sluice('routes', 'apply', 'good.yaml', '--json')
  t.equal(json.code, ExitCode.NOT_SERVED)
  t.match(JSON.parse(json.out), { behind: ['g2'], gateways: [{ id: 'g1', outcome: 'served' }, { outcome: 'refused' }] })
})

t.test('a gateway that does not answer is waited for as long as --timeout says', async (t) => {
  const { edge, sluice } = await start(t, 1)
  ;(edge[0] as FakeGateway).onTable = 'ignore'
  const { code, errors } = await sluice('routes', 'apply', 'good.yaml', '--timeout', '1')
  t.equal(code, ExitCode.NOT_SERVED)
  t.match(errors, /g1 \(has not answered\)/)
})

t.test('a rollout is shown stage by stage until it has reached everybody', async (t) => {
  const { sluice } = await start(t, 3)
  const { out, code, errors } = await sluice('routes', 'apply', 'good.yaml', '--stages', '1,100%', '--bake', '300ms')
  t.equal(code, ExitCode.OK, errors)
  t.match(
    out,
    /^Stage 1 of 2: table \d+ for g1\n {2}g1 serves table .*\n.*watched for 300 ms\nStage 2 of 2: .* for g1, g2, g3\n/,
  )
  t.match(out, /Every gateway serves table \d+\.\n$/)
  t.match((await sluice('rollout', 'status')).out, /is done/)
})

t.test('a rollout that goes back says why, with an exit code of its own', async (t) => {
  const { edge, sluice } = await start(t, 2)
  ;(edge[0] as FakeGateway).onTable = { code: 'table_rejected', message: 'no' }
  const { code, errors } = await sluice('routes', 'apply', 'good.yaml', '--stages', '1', '--bake', '1m')
  t.equal(code, ExitCode.NOT_SERVED)
  t.match(errors, /the rollout went back, and every gateway with it: gateway g1 refused it: no/)
})

t.test('a rollout can be aborted from another terminal', async (t) => {
  const { edge, sluice, url } = await start(t, 2)
  const running = sluice('routes', 'apply', 'good.yaml', '--stages', '1', '--bake', '1m', '--json')
  await edge[0]?.tableWhere(({ pools }) => pools.has('a'))
  t.equal((await sluice('rollout', 'abort')).code, ExitCode.OK)
  const { code, out } = await running
  t.equal(code, ExitCode.NOT_SERVED)
  t.match(JSON.parse(out), { rollout: { state: 'withdrawn', reason: /^aborted by / } })
  const { pools } = (await (await fetch(`${url}/v1/routes`)).json()) as { pools: object }
  t.same(Object.keys(pools), ['default'])
  t.equal((await sluice('rollout', 'abort')).code, ExitCode.REFUSED, 'there is none any more')
})

t.test('mistakes come with the name of the file, line and column, from plan and apply alike', async (t) => {
  const { sluice } = await start(t, 0)
  for (const command of ['plan', 'apply']) {
    const { code, errors, out } = await sluice('routes', command, 'bad.yaml')
    t.equal(code, ExitCode.REFUSED, command)
    t.equal(out, '')
    t.match(
      errors,
      /^sluice: (it would be refused:\n)?bad\.yaml:3:\d+ routes\[0\]\.to: is missing\nbad\.yaml:3:\d+ .*did you mean to\?/,
    )
  }
  t.match(await sluice('routes', 'apply', 'bytes.yaml'), { code: ExitCode.REFUSED, errors: /bytes\.yaml is not UTF-8/ })
  t.match(await sluice('routes', 'apply', 'none.yaml'), { code: ExitCode.USAGE, errors: /there is no such file/ })
  t.match(await sluice('routes', 'apply', 'good.yaml', '--bake', '1s'), { code: ExitCode.USAGE, errors: /--stages/ })
})
