/** For the policies without slots: which sessions have to move so that a pool becomes even again. */

/** A worker's load, in the pool as a whole and on this gateway. */
export interface Holding {
  readonly id: string
  readonly weight: number
  /** Sessions that it holds in the whole fleet. */
  readonly sessions: number
  /** Those of them that this gateway holds, and could move. */
  readonly here: number
}

/**
 * How many of this gateway's bindings each worker should hand over: its part of what the worker holds above its
 * weighted share. All gateways' parts add up to the optimum, so nobody has to coordinate. Empty while nobody is more
 * than `tolerance` above its share, so that a pool which is nearly even is left alone.
 * @param tolerance 0.1: 10 %
 * @param random 0 to just below 1: rounds the parts, so that many gateways with few sessions each still add up
 */
export function surplusOf(holdings: readonly Holding[], tolerance: number, random: number): Map<string, number> {
  const surplus = new Map<string, number>()
  let total = 0
  let weights = 0
  for (const { sessions, weight } of holdings) {
    total += sessions
    weights += weight
  }
  if (weights <= 0) return surplus
  const shareOf = (weight: number) => (total * weight) / weights
  const uneven = holdings.some(({ sessions, weight }) => sessions > Math.ceil(shareOf(weight) * (1 + tolerance)))
  if (!uneven) return surplus
  for (const { id, weight, sessions, here } of holdings) {
    const above = sessions - Math.ceil(shareOf(weight))
    if (above <= 0 || here <= 0) continue
    const part = Math.min(here, Math.floor((above * here) / Math.max(sessions, here) + random))
    if (part > 0) surplus.set(id, part)
  }
  return surplus
}
