import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { getPriority } from 'node:os'
import t from 'tap'
import { stepBack } from '../../../agents/cli/step-back.js'

const root = process.platform === 'linux' && process.geteuid?.() === 0

t.test('a process that starts has less of a claim on the processor, where that can be taken back', async (t) => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
  t.teardown(() => child.kill('SIGKILL'))
  const pid = child.pid ?? 0
  const usual = getPriority(pid)
  const stepForward = stepBack(pid)
  t.equal(getPriority(pid), root ? usual + 10 : usual)
  stepForward()
  t.equal(getPriority(pid), usual)
})

t.test('a process that is gone is no error', async (t) => {
  const child = spawn(process.execPath, ['-e', ''])
  const stepForward = stepBack(child.pid ?? 0)
  await once(child, 'exit')
  t.doesNotThrow(stepForward)
  t.doesNotThrow(() => stepBack(child.pid ?? 0)())
})
