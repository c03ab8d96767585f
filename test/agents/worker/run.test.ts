import { execFile } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { echo } from '../../../agents/worker/echo.js'
import { loadHandler, runWorker } from '../../../agents/worker/run.js'
import { CoordinatorEnd } from './coordinator-end.js'
import { deferred } from './start-worker.js'

const dir = mkdtempSync(join(tmpdir(), 'sluice-handler-'))
t.teardown(() => rmSync(dir, { recursive: true }))

function file(name: string, text: string): string {
  const path = join(dir, name)
  writeFileSync(path, text)
  return path
}

t.test('a handler is loaded from JavaScript, from TypeScript, or by the name echo', async (t) => {
  t.equal(await loadHandler('echo'), echo)
  const js = await loadHandler(file('a.mjs', 'export default { frame() {}, open() {} }'))
  t.type(js.open, 'function')
  // In a process of its own: the test runner's loaders and tsx do not share one.
  const ts = file('b.ts', 'const n: number = 1\nexport default { frame(): void { void n } }')
  const run = new URL('../../../agents/worker/run.js', import.meta.url).href
  const script = `const { loadHandler } = await import('${run}'); console.log(typeof (await loadHandler('${ts}')).frame)`
  const { NODE_OPTIONS: _loaders, ...env } = process.env
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { env })
  t.equal(stdout.trim(), 'function')
})

t.test('a handler that cannot be loaded is told with its file and the fix', async (t) => {
  const cases: [string, string, RegExp][] = [
    [join(dir, 'none.ts'), 'not_found', /none\.ts: there is no such file/],
    [file('nothing.mjs', 'export const x = 1'), 'bad_request', /nothing\.mjs: the file has no default export/],
    [file('shape.mjs', 'export default { frame: 3 }'), 'bad_request', /shape\.mjs: the default export has no frame/],
    [file('part.mjs', 'export default { frame() {}, close: 1 }'), 'bad_request', /a part of it is not a function/],
    [file('syntax.ts', 'export default {{'), 'bad_request', /syntax\.ts cannot be loaded/],
    [file('throws.mjs', "throw new Error('no database')"), 'bad_request', /throws\.mjs cannot be loaded: no database/],
  ]
  for (const [path, code, message] of cases) await t.rejects(loadHandler(path), { code, message })
})

t.test('SIGTERM drains, then exits with 0', async (t) => {
  const coordinator = await CoordinatorEnd.start()
  t.teardown(() => coordinator.close())
  const signals = new EventEmitter()
  const exited = deferred<number>()
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
  await runWorker({
    ...{ coordinator: coordinator.url, pool: 'p', id: 'w-1', handler: 'echo', log },
    ...{ signals: signals as unknown as NodeJS.Process, exit: exited.resolve },
  })
  signals.emit('SIGTERM')
  await coordinator.next('drain')
  coordinator.send({ t: 'drained', id: 'w-1' })
  t.equal(await exited.promise, 0)
})
