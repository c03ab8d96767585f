import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { LOCK_FILE, lockDirectory } from '../../../agents/coordinator/data-lock.js'
import { createCoordinator } from '../../../agents/coordinator/mod.js'

const processes = {
  pid: process.pid,
  alive(pid: number) {
    try {
      return process.kill(pid, 0)
    } catch {
      return false
    }
  },
}

/** A process that lives until it is killed. */
function sleeper() {
  return spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
}

t.test('a directory has one coordinator; the second one is told which process has it', async (t) => {
  const data = join(t.testdir({}), 'new')
  const first = await createCoordinator({ port: 0, data, processes })
  await t.rejects(createCoordinator({ port: 0, data, processes }), {
    code: 'conflict',
    message: new RegExp(`data directory ${data} is in use by another coordinator, process ${process.pid}\\. .*--data`),
  })
  await first.close()
  const second = await createCoordinator({ port: 0, data, processes })
  await second.close()
  t.notOk(existsSync(join(data, LOCK_FILE)), 'nothing is left behind')
})

t.test('a coordinator that cannot start gives the directory free', async (t) => {
  const data = t.testdir({ 'coordinator.state': 'damaged' })
  await t.rejects(createCoordinator({ port: 0, data, processes }), { message: /not usable/ })
  t.notOk(existsSync(join(data, LOCK_FILE)))
})

t.test('the lock of a killed process is taken over, that of a living one is not', async (t) => {
  const data = t.testdir({})
  const path = join(data, LOCK_FILE)
  const child = sleeper()
  t.teardown(() => child.kill('SIGKILL'))
  await once(child, 'spawn')
  const stat = readFileSync(`/proc/${child.pid}/stat`, 'latin1')
  const began = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  const owner = { pid: child.pid, began, host: hostname(), key: 'k' }
  writeFileSync(path, JSON.stringify(owner))
  await t.rejects(lockDirectory(data, processes), { code: 'conflict', message: new RegExp(`process ${child.pid}\\.`) })
  writeFileSync(path, JSON.stringify({ ...owner, began: '1' }))
  await (await lockDirectory(data, processes)).release()
  t.notOk(existsSync(path), 'the id belongs to a process that began later: the owner is dead')
  writeFileSync(path, JSON.stringify(owner))
  child.kill('SIGKILL')
  await once(child, 'exit')
  await (await lockDirectory(data, processes)).release()
})

t.test('what a container that was replaced left, or half a file, stops nobody', async (t) => {
  for (const left of [JSON.stringify({ pid: 1, began: '5', host: 'gone', key: 'k' }), '{"pid": 1', '', '{"pid": -1}']) {
    const data = t.testdir({ [LOCK_FILE]: left })
    const lock = await lockDirectory(data, processes)
    t.match(JSON.parse(readFileSync(join(data, LOCK_FILE), 'utf8')), { pid: process.pid })
    await lock.release()
  }
})

t.test('of many that want it at once, one gets it', async (t) => {
  const data = t.testdir({ [LOCK_FILE]: '{}' })
  const results = await Promise.allSettled(Array.from({ length: 20 }, () => lockDirectory(data, processes)))
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
})
