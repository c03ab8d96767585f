import { getHeapSpaceStatistics } from 'node:v8'
import t from 'tap'
import { collectStartGarbage, keepYoungGeneration } from '../../gateway/heap.js'

const MIB = 1024 * 1024

function space(name: string) {
  const found = getHeapSpaceStatistics().find(({ space_name }) => space_name === name)
  if (found === undefined) throw new Error(`this V8 has no ${name}`)
  return found
}

/** Long-lived objects, so many that they leave the young generation. */
const survivors = (count: number) => Array.from({ length: count }, (_, i) => ({ i, text: `${i}` }))

t.test('the young generation has its size at once, and keeps it while much survives', async (t) => {
  keepYoungGeneration()
  const { space_size: size } = space('new_space')
  t.ok(size >= 4 * MIB, `${size} bytes`)
  const kept = survivors(400_000)
  t.equal(space('new_space').space_size, size, `unchanged beside ${kept.length} survivors`)
})

t.test('what starting left behind is free again, and what is in use is not touched', async (t) => {
  const kept = survivors(10_000)
  let garbage: object[] | undefined = survivors(200_000)
  t.equal(garbage.length, 200_000)
  const before = space('old_space').space_used_size
  garbage = undefined
  collectStartGarbage()
  const freed = before - space('old_space').space_used_size
  t.ok(freed > 5 * MIB, `${freed} bytes`)
  t.equal(kept[9_999]?.text, '9999')
})

t.test('afterwards collections are as before: small ones', async (t) => {
  let garbage: object[] | undefined = survivors(200_000)
  const before = space('old_space').space_used_size
  t.equal(garbage.length, 200_000)
  garbage = undefined
  for (let i = 0; i < 20; i++) t.equal(new Array(100_000).fill(i).length, 100_000)
  t.ok(space('old_space').space_used_size > before - MIB, 'the garbage still stands')
})
