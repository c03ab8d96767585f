import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import {
  type CoordinatorState,
  loadState,
  packState,
  STATE_FILE,
  Store,
  unpackState,
} from '../../../agents/coordinator/store.js'
import { buildTable, DEFAULT_ROUTES } from '../../../agents/coordinator/table-builder.js'
import { SluiceError } from '../../../proto/errors.js'
import { EMPTY_TABLE, type WorkerEntry } from '../../../proto/table.js'

const worker: WorkerEntry = { id: 'w', pool: 'default', link: 'tcp://h:1', weight: 2, state: 'up' }
const state = (version: number): CoordinatorState => ({
  table: { ...buildTable(EMPTY_TABLE, DEFAULT_ROUTES, [worker], [], () => undefined), version },
  history: [
    {
      version: 1,
      who: 'ada',
      when: '2026-01-01T00:00:00.000Z',
      what: 'applied',
      message: 'why',
      diff: ['+ x'],
      spec: DEFAULT_ROUTES,
    },
  ],
  intents: { weights: new Map([['w', 2]]), drainingWorkers: new Set(['x']), drainingGateways: new Set(['g']) },
})

t.test('a state survives packing', async (t) => {
  t.strictSame(unpackState(packState(state(5))), state(5))
})

t.test('any flipped bit is noticed', async (t) => {
  const good = packState(state(5))
  let seed = 7
  for (let run = 0; run < 400; run++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    const bytes = good.slice()
    const at = run < 100 ? run : seed % bytes.length
    bytes[at] = (bytes[at] as number) ^ (1 << (seed & 7))
    try {
      unpackState(bytes)
      return t.fail(`byte ${at} was not noticed`)
    } catch (error) {
      if (!(error instanceof SluiceError)) return t.fail(`byte ${at}`, { error })
    }
  }
  t.pass('400 damaged files')
})

t.test('saves that come while one is written share the next, and the newest state is what stays', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-store-'))
  t.teardown(() => rm(directory, { recursive: true }))
  t.equal(await loadState(directory), undefined)
  let version = 0
  let written = 0
  const store = new Store(directory, () => {
    written++
    return state(version)
  })
  const saves: Promise<void>[] = []
  for (let i = 0; i < 50; i++) {
    version++
    saves.push(store.save())
  }
  await Promise.all(saves)
  t.equal((await loadState(directory))?.table.version, 50)
  t.ok(written <= 3, `${written} writes for 50 saves`)
  t.same(await readdir(directory), [STATE_FILE])
})

t.test('a half-written file beside the real one is of no consequence', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-store-'))
  t.teardown(() => rm(directory, { recursive: true }))
  await new Store(directory, () => state(9)).save()
  await writeFile(join(directory, `${STATE_FILE}.new`), (await readFile(join(directory, STATE_FILE))).subarray(0, 100))
  t.equal((await loadState(directory))?.table.version, 9)
})

t.test('a save that fails says so, and the next one can succeed', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-store-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const store = new Store(join(directory, 'missing'), () => state(1))
  await t.rejects(store.save(), { code: 'ENOENT' })
  await loadState(join(directory, 'missing'))
  await store.save()
  t.equal((await loadState(join(directory, 'missing')))?.table.version, 1)
})
