/** How many slots each worker of a pool ought to own: its weighted share, rounded so that nothing moves needlessly. */

import { SluiceError } from '../../proto/errors.js'
import { SLOTS } from '../../proto/hash.js'
import { UNOWNED } from '../../proto/table.js'

/** A worker as placement sees it. */
export interface Member {
  readonly id: string
  /** Relative capacity; 0 (or less, or not finite) owns no slots: a draining worker. */
  readonly weight: number
}

/** Who owns which slot: the two fields of a pool that gateways look up. */
export interface Placement {
  /** Sorted ids, those of weight 0 too. */
  readonly members: readonly string[]
  /** Owner of each slot as an index into `members`, or `UNOWNED` when nobody has a weight. */
  readonly slots: Uint16Array
}

/** Members in the one order that every computation uses. @throws SluiceError `bad_request` above 65,535 members */
export function sortMembers(members: readonly Member[]): Member[] {
  if (members.length > UNOWNED) {
    throw new SluiceError('bad_request', `a pool holds at most ${UNOWNED} workers, not ${members.length}`)
  }
  return [...members].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0))
}

/** Weights in the order of `members`; anything that is no positive number counts as 0. */
export function weightsOf(members: readonly Member[]): Float64Array {
  return Float64Array.from(members, ({ weight }) => (Number.isFinite(weight) && weight > 0 ? weight : 0))
}

/** Adds up. */
export function sum(values: Float64Array): number {
  let total = 0
  for (const value of values) total += value
  return total
}

/**
 * Slots that each member ought to own: its share rounded down or up, adding up to {@link SLOTS}.
 * The slots that rounding down leaves over go to members that hold one more than that already (each such slot is one
 * that need not move), then by largest remainder, then by place in the order.
 * @param counts slots that each member owns now
 */
export function quotasOf(weights: Float64Array, counts: Uint32Array): Uint32Array {
  const total = sum(weights)
  const quotas = new Uint32Array(weights.length)
  if (total === 0) return quotas
  const remainders = new Float64Array(weights.length)
  let left = SLOTS
  for (let i = 0; i < weights.length; i++) {
    const share = (SLOTS * (weights[i] as number)) / total
    const floor = Math.floor(share)
    quotas[i] = floor
    remainders[i] = share - floor
    left -= floor
  }
  for (const i of byClaim(quotas, remainders, counts).slice(0, left)) quotas[i] = (quotas[i] as number) + 1
  return quotas
}

function byClaim(floors: Uint32Array, remainders: Float64Array, counts: Uint32Array): number[] {
  const keeps = (i: number) => ((counts[i] as number) > (floors[i] as number) ? 1 : 0)
  return Array.from(floors.keys())
    .filter((i) => (remainders[i] as number) > 0)
    .sort((a, b) => keeps(b) - keeps(a) || (remainders[b] as number) - (remainders[a] as number) || a - b)
}
