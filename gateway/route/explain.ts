/** Why a device's frame goes where it goes, from a table alone: by the very code that routes. */

import { slotOf } from '../../proto/hash.js'
import { type Pool, type RoutingTable, UNOWNED } from '../../proto/table.js'
import { compileAffinity } from './affinity.js'
import type { SessionAttributes } from './attributes.js'
import { type FrameKind, refusalOf } from './compiled-route.js'
import { compileRoutes, type RouteDecision } from './router.js'
import { ticketsOf } from './split.js'

/** One pool of a weighted split, as it concerns this device. */
export interface SplitShare {
  readonly pool: string
  /** Its part of the route's devices, in percent. */
  readonly percent: number
  /** Percent from which on this pool gets the device, the others keeping their proportion. */
  readonly getsDeviceFrom: number
}

export interface Explanation {
  readonly version: number
  readonly device: string
  readonly type: FrameKind
  readonly topic: string
  /** Name of the route that takes the frame. */
  readonly route?: string
  /** Routes before it, and why they do not take the frame. */
  readonly passed: readonly { readonly route: string; readonly because: string }[]
  readonly split?: readonly SplitShare[]
  readonly pool?: string
  readonly policy?: string
  /** What is hashed, and what the pool's key is. Slot pools only. */
  readonly key?: { readonly by: string; readonly value: string }
  readonly slot?: number
  /** Owner of the slot; absent where the policy chooses at binding time, or nobody owns it. */
  readonly worker?: string
  /** The same as sentences. */
  readonly words: readonly string[]
}

/** @throws SluiceError `invalid_routes` when a regex of the table is not understood */
export function explainRoute(
  table: RoutingTable,
  attributes: SessionAttributes,
  type: FrameKind,
  topic: string,
): Explanation {
  const router = compileRoutes(table)
  const decision = router.route(attributes, type, topic)
  const before = router.routes.slice(0, decision?.index ?? router.routes.length)
  const passed = before.map((route) => ({
    route: route.name,
    because: refusalOf(route, attributes, type, topic) ?? 'it takes the frame',
  }))
  const words = passed.map(({ route, because }) => `Route ${route} does not take it: ${because}.`)
  const frame = { version: table.version, device: attributes.device, type, topic, passed }
  if (decision === undefined) return { ...frame, words: [...words, 'No route takes it.'] }
  const { route, pool: name } = decision
  words.push(`Route ${route.name} takes it.`)
  const split = splitFacts(decision, attributes.device, words)
  const pool = name === undefined ? undefined : table.pools.get(name)
  if (pool === undefined)
    return { ...frame, route: route.name, ...split, words: [...words, 'None of its pools takes devices.'] }
  const owner = ownerFacts(pool, attributes, topic, words)
  return { ...frame, route: route.name, ...split, pool: pool.name, policy: pool.policy, ...owner, words }
}

function splitFacts({ route, pool }: RouteDecision, device: string, words: string[]): { split?: SplitShare[] } {
  if (route.to.length < 2) return {}
  const total = route.to.reduce((sum, { weight }) => sum + weight, 0)
  const split = ticketsOf(route.to, device).map((ticket) => ({
    pool: ticket.pool,
    percent: percent(total === 0 ? 0 : ticket.weight / total),
    getsDeviceFrom: percent(ticket.joinsAt),
  }))
  const mine = split.find((share) => share.pool === pool)
  if (mine !== undefined) {
    words.push(
      `Its split gives the device to pool ${mine.pool} from ${mine.getsDeviceFrom} % on; that pool has ${mine.percent} %.`,
    )
  }
  return { split }
}

/** To a hundredth. */
function percent(share: number): number {
  return Math.round(share * 10_000) / 100
}

function ownerFacts(
  pool: Pool,
  attributes: SessionAttributes,
  topic: string,
  words: string[],
): Pick<Explanation, 'key' | 'slot' | 'worker'> {
  if (pool.policy !== 'consistent_hash') {
    words.push(`Pool ${pool.name} chooses a worker by ${pool.policy} when the session is bound.`)
    return {}
  }
  const value = compileAffinity(pool.key).keyOf(attributes, topic)
  const slot = slotOf(value)
  const index = pool.slots[slot] ?? UNOWNED
  const worker = index === UNOWNED ? undefined : pool.members[index]
  words.push(
    `Key ${JSON.stringify(value)} (by ${pool.key}) is in slot ${slot} of pool ${pool.name}, ` +
      (worker === undefined ? 'which no worker owns.' : `which worker ${worker} owns.`),
  )
  return { key: { by: pool.key, value }, slot, ...(worker === undefined ? {} : { worker }) }
}
