import { execFile } from 'node:child_process'
import { PerformanceObserver } from 'node:perf_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { getHeapSpaceStatistics } from 'node:v8'
import t from 'tap'
import { collectStartGarbage } from '../../gateway/heap.js'

const MIB = 1024 * 1024

function space(name: string) {
  const found = getHeapSpaceStatistics().find(({ space_name }) => space_name === name)
  if (found === undefined) throw new Error(`this V8 has no ${name}`)
  return found
}

/** Long-lived objects, so many that they leave the young generation. */
const survivors = (count: number) => Array.from({ length: count }, (_, i) => ({ i, text: `${i}` }))

t.test('the young generation has its size at once, keeps it, and grows back when there is work again', async (t) => {
  const probe = fileURLToPath(new URL('heap-probe.js', import.meta.url))
  // Without what tap has Node load into every process: its thread of its own has V8 grow as it likes.
  const { stdout } = await promisify(execFile)('env', ['-u', 'NODE_OPTIONS', process.execPath, probe])
  const { shaped, kept, idle, working, keptAgain } = JSON.parse(stdout) as Record<
    'shaped' | 'kept' | 'idle' | 'working' | 'keptAgain',
    number
  >
  t.equal(shaped, 4 * MIB)
  t.equal(kept, 4 * MIB, 'while much survives')
  t.ok(idle < 4 * MIB, 'V8 made it small')
  t.equal(working, 4 * MIB)
  // V8 may have been about to make it small once more.
  t.ok(keptAgain <= 4 * MIB, 'and no further')
})

t.test('what starting left behind is free again, and what is in use is not touched', async (t) => {
  const alive = survivors(10_000)
  let garbage: object[] | undefined = survivors(1_000_000)
  t.equal(garbage.length, 1_000_000)
  const before = space('old_space').space_used_size
  garbage = undefined
  collectStartGarbage()
  const freed = before - space('old_space').space_used_size
  t.ok(freed > 5 * MIB, `${freed} bytes`)
  t.equal(alive[9_999]?.text, '9999')
})

t.test('one collection is enough, also where there is little to free', async (t) => {
  let full = 0
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if ((entry as { detail?: { kind?: number } }).detail?.kind === 4) full++
  })
  observer.observe({ entryTypes: ['gc'] })
  t.teardown(() => observer.disconnect())
  collectStartGarbage()
  while (full === 0) await turn()
  t.equal(full, 1)
})

t.test('afterwards collections are as before: small ones', async (t) => {
  let garbage: object[] | undefined = survivors(1_000_000)
  const before = space('old_space').space_used_size
  t.equal(garbage.length, 1_000_000)
  garbage = undefined
  for (let i = 0; i < 20; i++) t.equal(new Array(100_000).fill(i).length, 100_000)
  t.ok(space('old_space').space_used_size > before - MIB, 'the garbage still stands')
})
