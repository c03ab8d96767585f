/** Weighted splits: which of a route's pools a device belongs to. */

import { hash32 } from '../../proto/hash.js'
import type { RouteTarget } from '../../proto/table.js'

/** A pool's part in one device's decision. */
export interface Ticket {
  readonly pool: string
  readonly weight: number
  /**
   * Share of the route, 0 to 1, from which on this pool gets the device while the other pools' weights keep their
   * proportion: the device's place in the split.
   */
  readonly joinsAt: number
}

/**
 * Weighted rendezvous hashing: every pool draws an exponential waiting time from the device's hash with the weight as
 * its rate, and the first one wins. Changing one weight changes one draw, so raising it moves devices to that pool
 * only, and lowering it from that pool only. The draw depends on the device and the pool's name, not on the route: a
 * device is in the same tenth in every route that splits between the same pools.
 * @returns the index in `to`, -1 when every weight is 0
 */
export function splitOf(to: readonly RouteTarget[], device: string): number {
  if (to.length === 1) return (to[0] as RouteTarget).weight > 0 ? 0 : -1
  let best = -1
  let soonest = Number.POSITIVE_INFINITY
  for (let i = 0; i < to.length; i++) {
    const { pool, weight } = to[i] as RouteTarget
    if (!(weight > 0)) continue
    const wait = drawOf(pool, device) / weight
    if (wait < soonest) {
      soonest = wait
      best = i
    }
  }
  return best
}

/** Where the device stands with each pool of the split, in the order of `to`. */
export function ticketsOf(to: readonly RouteTarget[], device: string): Ticket[] {
  return to.map(({ pool, weight }) => {
    const others = to.filter((other) => other.pool !== pool && other.weight > 0)
    const soonest = Math.min(...others.map((other) => drawOf(other.pool, device) / other.weight))
    const needed = drawOf(pool, device) / soonest
    const rest = others.reduce((sum, other) => sum + other.weight, 0)
    return { pool, weight, joinsAt: others.length === 0 ? 0 : needed / (needed + rest) }
  })
}

/** The pool's draw for this device at weight 1: exponential with mean 1, never 0. */
function drawOf(pool: string, device: string): number {
  // The pool's name is the seed, so that the draw is independent of the device's slot (seed 0).
  return -Math.log((hash32(device, hash32(pool) ^ 0x51_1c_e0_01) + 0.5) / 2 ** 32)
}
