/** Routing table to decisions: the first route that takes a session's frame names the pool. */

import type { RoutingTable } from '../../proto/table.js'
import type { SessionAttributes } from './attributes.js'
import { type CompiledRoute, compileRoute, type FrameKind, takesFrame, takesSession } from './compiled-route.js'
import { splitOf } from './split.js'

export type { SessionAttributes } from './attributes.js'
export type { FrameKind } from './compiled-route.js'

/** What the routes of one table mean for one session. Shared by all sessions that they mean the same for. */
export interface SessionRoutes {
  /** Pool of DATA without a topic, undefined for none. */
  readonly dataPool: string | undefined
  /** True when every frame goes to {@link dataPool}, whatever its type and topic. */
  readonly constant: boolean
  /** Pool of a frame, undefined when no route takes it. Allocates nothing. */
  pool(type: FrameKind, topic: string): string | undefined
  /** True when some frame of the session can go to this pool. */
  reaches(pool: string): boolean
}

/** Which route and which of its pools. */
export interface RouteDecision {
  /** Position in the table's routes. */
  readonly index: number
  readonly route: CompiledRoute
  /** Position in the route's targets, -1 when all their weights are 0. */
  readonly target: number
  readonly pool: string | undefined
}

export interface Router {
  readonly routes: readonly CompiledRoute[]
  /** True when some route looks at headers: then a frame's own headers can change where it goes. */
  readonly byHeaders: boolean
  forSession(attributes: SessionAttributes): SessionRoutes
  /** One decision from scratch, for explanations and dry runs. */
  route(attributes: SessionAttributes, type: FrameKind, topic: string): RouteDecision | undefined
}

/** Sets of routes that are kept for sharing. Splits inside topic routes can make many; beyond this each session has its own. */
const MAX_SHARED = 10_000

/** @throws SluiceError `invalid_routes` when a regex of the table is not understood */
export function compileRoutes({ routes }: Pick<RoutingTable, 'routes'>): Router {
  const compiled = routes.map(compileRoute)
  const shared = new Map<string, SessionRoutes>()
  const same = sameForAll(compiled)
  return {
    routes: compiled,
    byHeaders: compiled.some(({ conditions }) => conditions.some(({ on }) => on.startsWith('header '))),
    forSession: (attributes) => same ?? share(shared, candidatesOf(compiled, attributes)),
    route: (attributes, type, topic) => decide(compiled, attributes, type, topic),
  }
}

/** A route that takes the session, with the pool that the session's device has there. */
interface Candidate {
  readonly topic: string | undefined
  readonly type: FrameKind | undefined
  readonly pool: string | undefined
}

/** Where the first route takes everything to one pool, as in most fleets, no session has to be looked at. */
function sameForAll([first]: readonly CompiledRoute[]): SessionRoutes | undefined {
  if (first === undefined) return undefined
  const { topic, type, to, conditions } = first
  if (topic !== undefined || type !== undefined || conditions.length > 0 || to.length !== 1) return undefined
  return createSessionRoutes([{ topic, type, pool: to[splitOf(to, '')]?.pool }])
}

function candidatesOf(routes: readonly CompiledRoute[], attributes: SessionAttributes): Candidate[] {
  const found: Candidate[] = []
  for (const route of routes) {
    if (!takesSession(route, attributes)) continue
    const { topic, type, to } = route
    found.push({ topic, type, pool: to[splitOf(to, attributes.device)]?.pool })
    if (topic === undefined && type === undefined) break
  }
  return found
}

function share(shared: Map<string, SessionRoutes>, candidates: readonly Candidate[]): SessionRoutes {
  const first = candidates[0]
  const simple = candidates.length === 1 && first?.topic === undefined && first?.type === undefined
  const key = simple
    ? (first?.pool ?? '')
    : JSON.stringify(candidates.map(({ topic, type, pool }) => [topic, type, pool]))
  let routes = shared.get(key)
  if (routes === undefined) {
    routes = createSessionRoutes(candidates)
    if (shared.size < MAX_SHARED) shared.set(key, routes)
  }
  return routes
}

function createSessionRoutes(candidates: readonly Candidate[]): SessionRoutes {
  const pools = new Set(candidates.map(({ pool }) => pool))
  const last = candidates.at(-1)
  const takesAll = last === undefined || (last.topic === undefined && last.type === undefined)
  const constant = pools.size === 0 || (pools.size === 1 && takesAll)
  const pool = (type: FrameKind, topic: string): string | undefined => {
    for (let i = 0; i < candidates.length; i++) {
      const candidate = candidates[i] as Candidate
      if (takesFrame(candidate, type, topic)) return candidate.pool
    }
    return undefined
  }
  return { dataPool: pool('data', ''), constant, pool, reaches: (name) => pools.has(name) }
}

function decide(
  routes: readonly CompiledRoute[],
  attributes: SessionAttributes,
  type: FrameKind,
  topic: string,
): RouteDecision | undefined {
  for (const [index, route] of routes.entries()) {
    if (!takesSession(route, attributes) || !takesFrame(route, type, topic)) continue
    const target = splitOf(route.to, attributes.device)
    return { index, route, target, pool: route.to[target]?.pool }
  }
  return undefined
}
