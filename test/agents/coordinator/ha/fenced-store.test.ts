import t from 'tap'
import { FencedStore, readSharedState } from '../../../../agents/coordinator/ha/fenced-store.js'
import type { CoordinatorState } from '../../../../agents/coordinator/store.js'
import { EMPTY_TABLE } from '../../../../proto/table.js'
import { MemoryKeys } from './memory-keys.js'

/** A state whose size grows with `note`, in a way that compression cannot undo. */
function stateOf(version: number, note = 'x'): CoordinatorState {
  const spec = { pools: [], routes: [] }
  return {
    table: { ...EMPTY_TABLE, version },
    history: [{ version, who: 'test', when: '2026-01-01T00:00:00.000Z', what: 'applied', diff: [note], spec }],
    intents: { weights: new Map(), drainingWorkers: new Set(), drainingGateways: new Set() },
  }
}

function noise(bytes: number): string {
  let seed = 1
  let text = ''
  while (text.length < bytes) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    text += seed.toString(36)
  }
  return text
}

function leader(keys: MemoryKeys, epoch: number, instance = `instance-${epoch}`) {
  const seen = { lost: 0, written: 0 }
  const store = new FencedStore(keys, { epoch, instance }, { lost: () => seen.lost++, written: () => seen.written++ })
  const write = (state: CoordinatorState): Promise<void> => {
    store.keep(() => state)
    return store.save()
  }
  return { store, seen, write }
}

t.test('a state comes back as it was written', async (t) => {
  const keys = new MemoryKeys()
  const { store, seen, write } = leader(keys, 1)
  t.equal(await store.seal(), undefined, 'nothing at first')
  await write(stateOf(5))
  const found = await readSharedState(keys)
  t.same(found?.state, stateOf(5))
  t.equal(found?.epoch, 1)
  t.equal(found?.revision, store.revision)
  t.equal(seen.written, 1)
})

t.test('a later leader gets what was written, and the earlier one can write nothing from then on', async (t) => {
  const keys = new MemoryKeys()
  const a = leader(keys, 1)
  await a.store.seal()
  await a.write(stateOf(5))
  const b = leader(keys, 2)
  t.same(await b.store.seal(), stateOf(5))
  await t.rejects(a.write(stateOf(6)), { code: 'unavailable', retryAfterMs: 1000 })
  t.equal(a.seen.lost, 1, 'it is told')
  await t.rejects(a.write(stateOf(7)), { code: 'unavailable' })
  t.same((await readSharedState(keys))?.state, stateOf(5))
  await b.write(stateOf(8))
  t.same((await readSharedState(keys))?.state, stateOf(8))
  await t.rejects(a.store.seal(), { code: 'conflict' }, 'it cannot take it back either')
})

t.test('of two leaders with one epoch, which a store that compares too early may make, only one seals', async (t) => {
  const keys = new MemoryKeys()
  const a = leader(keys, 1, 'a')
  const b = leader(keys, 1, 'b')
  await a.store.seal()
  await t.rejects(b.store.seal(), { code: 'conflict' })
  await a.write(stateOf(5))
  t.same((await readSharedState(keys))?.state, stateOf(5))
})

t.test('a write that comes between the reading and the sealing of a new leader is not lost', async (t) => {
  const keys = new MemoryKeys()
  const a = leader(keys, 1)
  await a.store.seal()
  await a.write(stateOf(5))
  const get = keys.get.bind(keys)
  let between = true
  keys.get = async (key) => {
    const found = await get(key)
    if (between) {
      between = false
      await a.write(stateOf(6))
    }
    return found
  }
  t.same(await leader(keys, 2).store.seal(), stateOf(6))
})

t.test('a write whose answer was lost is made once more, not taken for another leader’s', async (t) => {
  const keys = new MemoryKeys()
  const { store, seen, write } = leader(keys, 1)
  await store.seal()
  keys.losesAnswer = true
  await t.rejects(write(stateOf(5)), { code: 'unavailable' })
  await write(stateOf(6))
  t.same((await readSharedState(keys))?.state, stateOf(6))
  t.equal(seen.lost, 0)
})

t.test('a state that is too large for one value goes in parts, and old parts do not stay', async (t) => {
  const keys = new MemoryKeys(4096)
  const a = leader(keys, 1)
  await a.store.seal()
  const large = stateOf(5, noise(30_000))
  await a.write(large)
  t.ok(keys.values.size > 5, `${keys.values.size} values`)
  t.same((await readSharedState(keys))?.state, large)
  const larger = stateOf(6, noise(40_000))
  await a.write(larger)
  t.same((await readSharedState(keys))?.state, larger)
  t.notOk(
    [...keys.values.keys()].some((key) => key.startsWith('part.1.1.')),
    'those of the first are gone',
  )

  const b = leader(keys, 2)
  t.same(await b.store.seal(), larger)
  await t.rejects(a.write(large), { code: 'unavailable' })
  t.same((await readSharedState(keys))?.state, larger, 'parts of a leader that lost change nothing')
  await b.write(stateOf(9))
  t.same([...keys.values.keys()], ['state'], 'nothing is left of the one before')
})

t.test('one who reads while the parts change reads again', async (t) => {
  const keys = new MemoryKeys(4096)
  const a = leader(keys, 1)
  await a.store.seal()
  await a.write(stateOf(5, noise(20_000)))
  const next = stateOf(6, noise(20_000))
  const get = keys.get.bind(keys)
  let between = true
  keys.get = async (key) => {
    const found = await get(key)
    if (between) {
      between = false
      await a.write(next)
    }
    return found
  }
  t.same((await readSharedState(keys))?.state, next)
})

t.test('a store that lost everything is filled again by the leader', async (t) => {
  const keys = new MemoryKeys()
  const { store, write } = leader(keys, 3)
  await store.seal()
  await write(stateOf(5))
  keys.values.clear()
  await write(stateOf(6))
  t.same((await readSharedState(keys))?.state, stateOf(6))
})

t.test('what was damaged is refused, with what to do', async (t) => {
  const keys = new MemoryKeys()
  const { store, write } = leader(keys, 1)
  await store.seal()
  await write(stateOf(5))
  const { value } = (await keys.get('state')) as { value: Uint8Array }
  for (let at = 0; at < value.length; at += 3) {
    const damaged = Uint8Array.from(value)
    damaged[at] = (damaged[at] ?? 0) ^ 0x55
    await keys.put('state', damaged)
    const read = await readSharedState(keys).catch((error: { code?: string }) => error)
    // Some bytes are of the head alone: epoch and numbers. The state itself is never another one.
    if (read !== undefined && 'state' in read) t.same(read.state ?? stateOf(5), stateOf(5))
    else t.ok(['bad_request', 'unavailable'].includes((read as { code: string }).code))
  }
})

t.test('a retired store tries nothing', async (t) => {
  const keys = new MemoryKeys()
  const { store, seen, write } = leader(keys, 1)
  await store.seal()
  const { revision } = store
  store.retire()
  await t.rejects(write(stateOf(5)), { code: 'unavailable' })
  t.equal((await keys.get('state'))?.revision, revision)
  t.same(seen, { lost: 0, written: 0 })
})
