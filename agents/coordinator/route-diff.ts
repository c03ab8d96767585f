/** What changed between two sets of routes, in lines for the history. Pure. */

import type { Route } from '../../proto/table.js'
import type { PoolSpec, RouteSpec } from './table-builder.js'

/** One line per pool and route that came, went, moved or changed; empty when both say the same. */
export function diffRoutes(from: RouteSpec, to: RouteSpec): string[] {
  return [
    ...diffNamed('pool', from.pools, to.pools, sayPool),
    ...diffNamed('route', from.routes, to.routes, sayRoute),
    ...diffOrder(from, to),
  ]
}

function diffNamed<T extends { readonly name: string }>(
  kind: string,
  from: readonly T[],
  to: readonly T[],
  say: (item: T) => string,
): string[] {
  const before = new Map(from.map((item) => [item.name, item]))
  const after = new Map(to.map((item) => [item.name, item]))
  const gone = from.filter(({ name }) => !after.has(name)).map((item) => `- ${kind} ${item.name}: ${say(item)}`)
  const changed = to.flatMap((item) => {
    const old = before.get(item.name)
    if (old === undefined) return [`+ ${kind} ${item.name}: ${say(item)}`]
    return say(old) === say(item) ? [] : [`~ ${kind} ${item.name}: ${say(old)} -> ${say(item)}`]
  })
  return [...gone, ...changed]
}

/** Routes are tried in order, so a changed order is a change. */
function diffOrder(from: RouteSpec, to: RouteSpec): string[] {
  const shared = new Set(from.routes.map(({ name }) => name))
  const after = to.routes.map(({ name }) => name).filter((name) => shared.has(name))
  const kept = new Set(after)
  const before = from.routes.map(({ name }) => name).filter((name) => kept.has(name))
  return before.join('\n') === after.join('\n')
    ? []
    : [`~ order of routes: ${before.join(', ')} -> ${after.join(', ')}`]
}

function sayPool({ policy, key, maxLoad }: PoolSpec): string {
  return `policy ${policy}, key ${key}, maxLoad ${maxLoad}`
}

function sayRoute({ match, to }: Route): string {
  const targets = to.map(({ pool, weight }) => `${pool} ${weight}`).join(', ')
  return `${JSON.stringify(sorted(match))} to ${targets}`
}

/** Keys in one order, so that a file that was only rearranged shows no change. */
function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const entries = Object.entries(value).map(([key, inner]): [string, unknown] => [key, sorted(inner)])
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}
