import fc from 'fast-check'
import t from 'tap'
import { splitOf, ticketsOf } from '../../../gateway/route/split.js'

const weights = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 100 })), { minLength: 1, maxLength: 6 })
const targetsOf = (list: readonly number[]) => list.map((weight, i) => ({ pool: `pool-${i}`, weight }))
const DEVICES = Array.from({ length: 20_000 }, (_, i) => `device-${i}`)

t.test('raising one weight moves devices to that pool only, lowering it from that pool only', async () => {
  fc.assert(
    fc.property(
      weights,
      fc.nat(5),
      fc.integer({ min: 0, max: 200 }),
      fc.array(fc.string(), { maxLength: 50 }),
      (list, at, to, devices) => {
        const index = at % list.length
        const before = targetsOf(list)
        const after = targetsOf(list.map((weight, i) => (i === index ? to : weight)))
        const raised = to >= (list[index] as number)
        return devices.every((device) => {
          const [was, is] = [splitOf(before, device), splitOf(after, device)]
          return was === is || (raised ? is === index : was === index)
        })
      },
    ),
  )
})

t.test(
  'widening 90/10 to 80/20 keeps every device of the first 10 %, and takes another tenth of them all',
  async (t) => {
    const pools = (a: number, b: number) => [
      { pool: 'v1', weight: a },
      { pool: 'v2', weight: b },
    ]
    const first = DEVICES.filter((device) => splitOf(pools(90, 10), device) === 1)
    const then = new Set(DEVICES.filter((device) => splitOf(pools(80, 20), device) === 1))
    t.ok(first.every((device) => then.has(device)))
    t.ok(Math.abs(first.length / DEVICES.length - 0.1) < 0.01, `${first.length}`)
    t.ok(Math.abs(then.size / DEVICES.length - 0.2) < 0.01, `${then.size}`)
  },
)

t.test('a split is as wide as its weights say', async (t) => {
  const counts = [0, 0, 0]
  for (const device of DEVICES) (counts[splitOf(targetsOf([1, 2, 5]), device)] as number)++
  for (const [i, part] of [1 / 8, 2 / 8, 5 / 8].entries()) {
    t.ok(Math.abs((counts[i] as number) / DEVICES.length - part) < 0.015, `${counts}`)
  }
})

t.test('the order of the pools does not matter, a weight of 0 takes nobody, and nobody is -1', async (t) => {
  const pools = targetsOf([3, 4, 0])
  for (const device of DEVICES.slice(0, 500)) {
    const chosen = pools[splitOf(pools, device)]
    t.equal([...pools].reverse()[splitOf([...pools].reverse(), device)], chosen)
    if (chosen?.weight === 0) t.fail('chose a weight of 0')
  }
  t.equal(splitOf(targetsOf([0, 0]), 'a'), -1)
  t.equal(splitOf(targetsOf([0]), 'a'), -1)
  t.equal(splitOf([], 'a'), -1)
})

t.test('a ticket says from which share on its pool gets the device', async () => {
  fc.assert(
    fc.property(fc.string(), fc.integer({ min: 1, max: 99 }), (device, percent) => {
      const to = [
        { pool: 'v1', weight: 100 - percent },
        { pool: 'v2', weight: percent },
      ]
      const joinsAt = ticketsOf(to, device)[1]?.joinsAt ?? -1
      if (Math.abs(joinsAt - percent / 100) < 1e-9) return true
      return (splitOf(to, device) === 1) === percent / 100 > joinsAt
    }),
  )
})
