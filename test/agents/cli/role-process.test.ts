/** The life of role processes when things happen at bad moments. */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const MAIN = fileURLToPath(new URL('../../../agents/cli/main.js', import.meta.url))

/** Starts a role as `up` does, says its process id, and is gone before the role has loaded. */
const SHORT_LIVED = `
const { spawn } = require('node:child_process')
const child = spawn(process.execPath, process.argv.slice(1), {
  stdio: ['ignore', 'ignore', 'ignore', 'ipc'], env: { ...process.env, SLUICE_SUPERVISED: '1' },
})
process.stdout.write(String(child.pid), () => process.kill(process.pid, 'SIGKILL'))`

const alive = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function untilGone(pid: number): Promise<boolean> {
  for (let left = 400; left > 0 && alive(pid); left--) await new Promise((resolve) => setTimeout(resolve, 25))
  return !alive(pid)
}

for (const role of [
  ['coordinator', '--port', '0'],
  ['gateway', '--port', '0', '--mqtt-port', '0'],
  ['worker'],
  ['device'],
]) {
  t.test(`a ${role[0]} whose supervisor dies while it is loading does not stay behind`, async (t) => {
    const { stdout } = spawnSync(process.execPath, ['-e', SHORT_LIVED, MAIN, ...role], { encoding: 'utf8' })
    const pid = Number(stdout)
    t.ok(pid > 1)
    t.teardown(() => alive(pid) && process.kill(pid, 'SIGKILL'))
    t.ok(await untilGone(pid))
  })
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  t.test(`${signal} ends a coordinator that was started by hand in good order`, async (t) => {
    const child = spawn(process.execPath, [MAIN, 'coordinator', '--port', '0', '--json', '--data', t.testdir({})])
    const exited = once(child, 'exit')
    t.teardown(() => child.kill('SIGKILL'))
    await once(createInterface({ input: child.stdout }), 'line')
    child.kill(signal)
    t.same(await exited, [0, null])
  })
}
