import t from 'tap'
import { BindingNumbers } from '../../../gateway/link/binding-numbers.js'
import type { BindingEvents } from '../../../gateway/worker-port.js'

const holder = (name: string) => ({ name }) as unknown as BindingEvents

t.test('a number leads to its holder, and to nobody once it is given back', async (t) => {
  const numbers = new BindingNumbers()
  const [a, b] = [holder('a'), holder('b')]
  const first = numbers.add(a)
  const second = numbers.add(b)
  t.ok(first > 0 && second > 0 && first !== second)
  t.equal(numbers.get(first), a)
  t.equal(numbers.get(second), b)
  t.equal(numbers.size, 2)
  t.equal(numbers.delete(first), true)
  t.equal(numbers.delete(first), false, 'once')
  t.equal(numbers.get(first), undefined)
  t.equal(numbers.get(second), b)
  t.equal(numbers.size, 1)
})

t.test('0 and numbers that were never given lead to nobody', async (t) => {
  const numbers = new BindingNumbers()
  t.equal(numbers.get(0), undefined)
  const number = numbers.add(holder('a'))
  t.equal(numbers.get(0), undefined)
  t.equal(numbers.get(number + 1), undefined)
  t.equal(numbers.delete(0), false)
  for (const stray of [0xffffffff, 0x80000000, 0x7fffffff]) t.equal(numbers.get(stray), undefined, `${stray}`)
})

t.test('a place that was given back has another number next time', async (t) => {
  const numbers = new BindingNumbers()
  const seen = new Set<number>()
  for (let i = 0; i < 200; i++) {
    const me = holder(`${i}`)
    const number = numbers.add(me)
    t.notOk(seen.has(number))
    seen.add(number)
    t.equal(numbers.get(number), me)
    numbers.delete(number)
    for (const before of seen) t.equal(numbers.get(before), undefined)
  }
})

t.test('a place is taken again only after the others that were free before it', async (t) => {
  const numbers = new BindingNumbers()
  const given = Array.from({ length: 100 }, (_, i) => numbers.add(holder(`${i}`)))
  for (const number of given) numbers.delete(number)
  const again = given.map((_, i) => numbers.add(holder(`again ${i}`)))
  const place = (number: number) => number & 0x7fffff
  t.same(again.map(place), given.map(place), 'in the order in which they were given back')
  t.equal(numbers.size, 100)
})

t.test('a retired number leads to nobody, and is not given again before the worker released it', async (t) => {
  const numbers = new BindingNumbers()
  const number = numbers.add(holder('a'))
  t.equal(numbers.retire(number), true)
  t.equal(numbers.retire(number), false, 'once')
  t.equal(numbers.get(number), undefined)
  t.equal(numbers.size, 0)
  const place = (of: number) => of & 0x7fffff
  t.not(place(numbers.add(holder('b'))), place(number))
  numbers.release(number + 2 ** 23)
  t.not(place(numbers.add(holder('c'))), place(number), 'another turn of the same place releases nothing')
  numbers.release(number)
  numbers.release(number)
  t.equal(place(numbers.add(holder('d'))), place(number))
  numbers.retire(numbers.add(holder('e')))
  t.equal(numbers.clear().length, 3)
  const again = Array.from({ length: 4 }, (_, i) => place(numbers.add(holder(`${i}`))))
  t.same(again.sort(), [0, 1, 2, 3], 'a link that broke took all numbers from its worker')
})

t.test('like a map, whatever comes and goes', async (t) => {
  const numbers = new BindingNumbers()
  const map = new Map<number, BindingEvents>()
  let seed = 7
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
    return (seed >>> 8) % below
  }
  for (let i = 0; i < 20_000; i++) {
    if (random(5) < 3 || map.size === 0) {
      const me = holder(`${i}`)
      map.set(numbers.add(me), me)
    } else {
      const number = [...map.keys()][random(Math.min(map.size, 20))] as number
      map.delete(number)
      numbers.delete(number)
    }
  }
  t.equal(numbers.size, map.size)
  t.ok([...map].every(([number, me]) => numbers.get(number) === me))
  t.same(new Set(numbers.clear()), new Set(map.values()))
  t.equal(numbers.size, 0)
  t.ok([...map.keys()].every((number) => numbers.get(number) === undefined))
  t.equal(new Set(Array.from({ length: 1000 }, () => numbers.add(holder('new')))).size, 1000)
})
