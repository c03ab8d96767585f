import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { ExitCode } from '../../../agents/cli/cli-error.js'

const MAIN = fileURLToPath(new URL('../../../agents/cli/main.js', import.meta.url))
const ROUTES = `
pools: { tests: {}, main: {} }
routes:
  - { name: testers, match: { headers: { team: qa } }, to: [{ pool: tests }] }
  - { name: rest, to: [{ pool: main }] }
`

function run(t: Test, text: string, ...args: string[]) {
  const file = join(t.testdir({ 'routes.yaml': text }), 'routes.yaml')
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, 'routes', 'test', file, ...args], {
    encoding: 'utf8',
  })
  return { status, stdout, stderr: stderr.replaceAll(file, 'F') }
}

t.test('a frame is explained by the file alone', async (t) => {
  const { status, stdout } = run(t, ROUTES, '--device', 'd1', '--header', 'Team=qa', '--json')
  t.equal(status, ExitCode.OK)
  t.match(JSON.parse(stdout), { route: 'testers', pool: 'tests', slot: Number })
  t.match(run(t, ROUTES, '--device', 'd1').stdout, /Route testers does not take it.*\nRoute rest takes it\./)
})

t.test('a file without a mistake is said to hold', async (t) => {
  t.match(run(t, ROUTES).stdout, /holds: 2 routes, 2 pools/)
})

t.test('mistakes come with file, line and column, and an exit code for scripts', async (t) => {
  const { status, stderr } = run(t, 'pools: { a: {} }\nroutes:\n  - { name: r, too: [{ pool: a }] }\n')
  t.equal(status, ExitCode.REFUSED)
  t.match(stderr, /F:3:\d+ routes\[0\]\.too: .*did you mean to\?/)
  t.notMatch(stderr, /^\s+at /m)
})
