/**
 * What a routes file must hold to across its fields. Works on the raw file, whatever its shape: a mistake in one place
 * does not hide those in others. The shape itself is the schema's business.
 */

import { type Finding, inWords, isRecord, nearest, type Path } from './routes-problem.js'

export interface SemanticFindings {
  readonly errors: readonly Finding[]
  /** Allowed, but hardly meant. */
  readonly warnings: readonly Finding[]
}

/** Protocols that sessions can have. */
const PROTOCOLS = ['websocket', 'mqtt']

/** Checks names that refer to each other, weights that add up, and routes that can be reached. */
export function checkSemantics(file: unknown): SemanticFindings {
  const errors: Finding[] = []
  const warnings: Finding[] = []
  const pools = isRecord(file) && isRecord(file.pools) ? Object.keys(file.pools) : undefined
  if (pools?.includes('__proto__')) errors.push(forbiddenName(['pools']))
  const routes = isRecord(file) && Array.isArray(file.routes) ? file.routes.map(asRecord) : []
  errors.push(...duplicateNames(routes))
  for (const [i, route] of routes.entries()) {
    const headers = isRecord(route.match) ? route.match.headers : undefined
    if (isRecord(headers) && Object.hasOwn(headers, '__proto__'))
      errors.push(forbiddenName(['routes', i, 'match', 'headers']))
    errors.push(...targetFindings(route, ['routes', i, 'to'], pools))
    warnings.push(...protocolFindings(route, ['routes', i, 'match', 'protocol']))
  }
  warnings.push(...unreachable(routes), ...unused(routes, pools ?? []))
  return { errors, warnings }
}

/** The schema passes over this name in silence, because it means something else to JavaScript. */
function forbiddenName(path: Path): Finding {
  return { path: [...path, '__proto__'], message: 'nothing may have this name' }
}

type Fields = Readonly<Record<string, unknown>>

function asRecord(value: unknown): Fields {
  return isRecord(value) ? value : {}
}

function duplicateNames(routes: readonly Fields[]): Finding[] {
  const first = new Map<string, number>()
  return routes.flatMap(({ name }, i) => {
    if (typeof name !== 'string') return []
    const earlier = first.get(name)
    if (earlier === undefined) first.set(name, i)
    if (earlier === undefined) return []
    return [{ path: ['routes', i, 'name'], message: `routes[${earlier}] is called ${JSON.stringify(name)} already` }]
  })
}

function targetFindings(route: Fields, path: Path, pools: readonly string[] | undefined): Finding[] {
  if (!Array.isArray(route.to)) return []
  const targets = route.to.map(asRecord)
  const found: Finding[] = []
  const seen = new Set<string>()
  for (const [i, { pool }] of targets.entries()) {
    if (typeof pool !== 'string') continue
    if (seen.has(pool)) found.push({ path: [...path, i, 'pool'], message: `names ${JSON.stringify(pool)} twice` })
    seen.add(pool)
    if (pools !== undefined && !pools.includes(pool)) found.push(unknownPool([...path, i, 'pool'], pool, pools))
  }
  const allZero = targets.length > 0 && targets.every(({ weight }) => weight === 0)
  if (allZero) found.push({ path, message: 'every weight is 0: no device could go anywhere' })
  return found
}

function unknownPool(path: Path, pool: string, pools: readonly string[]): Finding {
  const near = nearest(pool, pools)
  const hint = near === undefined ? `pools are ${pools.slice(0, 10).join(', ') || 'none'}` : `did you mean ${near}?`
  return { path, message: `no pool is called ${inWords(pool)}; ${hint}` }
}

function protocolFindings({ match }: Fields, path: Path): Finding[] {
  const wanted = isRecord(match) ? match.protocol : undefined
  const exact = isRecord(wanted) ? wanted.exact : wanted
  if (typeof exact !== 'string' || /[*?]/.test(exact) || PROTOCOLS.includes(exact)) return []
  return [{ path, message: `never holds: a session's protocol is ${PROTOCOLS.join(' or ')}, not ${inWords(exact)}` }]
}

/** Routes that stand behind one which takes everything they could take. */
function unreachable(routes: readonly Fields[]): Finding[] {
  return routes.flatMap((route, i) => {
    const earlier = routes.findIndex((other, k) => k < i && covers(other.match, route.match))
    if (earlier < 0) return []
    const { name } = routes[earlier] as Fields
    return [
      { path: ['routes', i], message: `is never reached: routes[${earlier}] (${inWords(name)}) takes all of it first` },
    ]
  })
}

/** True when every condition of `wide` stands in `narrow` as well. Finds the obvious cases only. */
function covers(wide: unknown, narrow: unknown): boolean {
  const outer = asRecord(wide)
  const inner = asRecord(narrow)
  return Object.entries(outer).every(([key, value]) => {
    if (key === 'topic' && value === '#') return true
    if (key === 'headers') return covers(value, inner.headers)
    return JSON.stringify(value) === JSON.stringify(inner[key])
  })
}

function unused(routes: readonly Fields[], pools: readonly string[]): Finding[] {
  const named = new Set(
    routes.flatMap(({ to }) => (Array.isArray(to) ? to.map((target) => asRecord(target).pool) : [])),
  )
  return pools
    .filter((pool) => !named.has(pool))
    .map((pool) => ({ path: ['pools', pool], message: 'no route sends anything to it' }))
}
