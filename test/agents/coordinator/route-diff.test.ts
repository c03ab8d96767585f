import fc from 'fast-check'
import t from 'tap'
import { diffRoutes } from '../../../agents/coordinator/route-diff.js'
import type { RouteSpec } from '../../../agents/coordinator/table-builder.js'

const pool = (name: string, maxLoad = 1.25) =>
  ({ name, policy: 'consistent_hash', key: 'device', maxLoad }) as RouteSpec['pools'][number]
const route = (name: string, to: Record<string, number>, match: object = {}) =>
  ({ name, match, to: Object.entries(to).map(([pool, weight]) => ({ pool, weight })) }) as RouteSpec['routes'][number]

const BASE: RouteSpec = {
  pools: [pool('a'), pool('b')],
  routes: [route('testers', { b: 1 }, { headers: { x: { exact: '1' }, y: { exact: '2' } } }), route('rest', { a: 1 })],
}

t.test('a pool or route that came, went or changed is one line each, with what it was and is', async (t) => {
  t.same(diffRoutes(BASE, { ...BASE, pools: [pool('a', 2), pool('c')] }), [
    '- pool b: policy consistent_hash, key device, maxLoad 1.25',
    '~ pool a: policy consistent_hash, key device, maxLoad 1.25 -> policy consistent_hash, key device, maxLoad 2',
    '+ pool c: policy consistent_hash, key device, maxLoad 1.25',
  ])
  const [testers, rest] = BASE.routes as [RouteSpec['routes'][number], RouteSpec['routes'][number]]
  t.same(diffRoutes(BASE, { ...BASE, routes: [route('rest', { a: 9, b: 1 })] }), [
    '- route testers: {"headers":{"x":{"exact":"1"},"y":{"exact":"2"}}} to b 1',
    '~ route rest: {} to a 1 -> {} to a 9, b 1',
  ])
  t.same(diffRoutes({ ...BASE, routes: [rest] }, { ...BASE, routes: [rest, testers] }), [
    '+ route testers: {"headers":{"x":{"exact":"1"},"y":{"exact":"2"}}} to b 1',
  ])
})

t.test('the order of routes counts, that of pools and of keys within a condition does not', async (t) => {
  t.same(diffRoutes(BASE, { ...BASE, routes: BASE.routes.toReversed() }), [
    '~ order of routes: testers, rest -> rest, testers',
  ])
  const turned = route('testers', { b: 1 }, { headers: { y: { exact: '2' }, x: { exact: '1' } } })
  t.same(diffRoutes(BASE, { pools: BASE.pools.toReversed(), routes: [turned, route('rest', { a: 1 })] }), [])
})

t.test('no difference is told exactly when both say the same', async () => {
  const names = fc.uniqueArray(fc.constantFrom('p', 'q', 'r'), { minLength: 1 })
  const weights = fc.dictionary(fc.constantFrom('p', 'q'), fc.integer({ min: 1, max: 3 }), { minKeys: 1 })
  const spec: fc.Arbitrary<RouteSpec> = fc
    .tuple(names, fc.uniqueArray(fc.tuple(fc.constantFrom('x', 'y', 'z'), weights), { selector: ([name]) => name }))
    .map(([pools, routes]) => ({
      pools: pools.toSorted().map((name) => pool(name)),
      routes: routes.map(([name, to]) => route(name, Object.fromEntries(Object.entries(to).toSorted()))),
    }))
  fc.assert(
    fc.property(spec, spec, (from, to) => {
      const same = JSON.stringify(from) === JSON.stringify(to)
      return (diffRoutes(from, to).length === 0) === same
    }),
  )
})
