/** The bounded-load promise: no worker holds more than `maxLoad` times its share of the sessions for long. */

import { SLOTS } from '../../proto/hash.js'
import { type Member, type Placement, sortMembers, sum, weightsOf } from './placement-quota.js'
import { byLoad } from './placement-release.js'

/** Keeps 1.25 x 200 at 250 where the division left a trace behind the comma. */
const ROUNDING = 1e-6

interface Side {
  readonly index: number
  /** Sessions that it may hold before it counts as overfull, and that an overfull one is brought down to. */
  readonly cap: number
  readonly target: number
  sessions: number
  /** Own slots from the lightest to the heaviest. */
  readonly order: number[]
  /** How many of the lightest were traded away already. */
  traded: number
}

/**
 * Trades occupied slots of workers above `maxLoad` x their weighted mean for emptier slots of the others. Slot counts
 * stay as they are, and so does the promise of `place`. An overfull worker comes down to half-way between the mean and
 * the limit, so that the next few sessions do not start it again. A slot is not divisible: one that alone holds more
 * than the limit stays where it is, and its worker gives away the others.
 * @param members as given to `place` for `previous`
 * @param maxLoad at least 1
 * @returns `previous` itself when there is nothing to do, or nothing that helps
 */
export function rebalance(
  previous: Placement,
  members: readonly Member[],
  load: Uint32Array,
  maxLoad: number,
): Placement {
  const sides = sidesOf(previous, members, load, maxLoad)
  const overfull = sides.filter((side) => side.sessions > side.cap)
  if (overfull.length === 0) return previous
  const slots = previous.slots.slice()
  let traded = 0
  overfull.sort((a, b) => b.sessions / b.cap - a.sessions / a.cap || a.index - b.index)
  for (const from of overfull) traded += relieve(from, sides, slots, load)
  return traded === 0 ? previous : { members: previous.members, slots }
}

function sidesOf(previous: Placement, members: readonly Member[], load: Uint32Array, maxLoad: number): Side[] {
  const sorted = sortMembers(members)
  const weights = weightsOf(sorted)
  const weightOf = new Map(sorted.map(({ id }, i) => [id, weights[i] as number]))
  const owned: number[][] = previous.members.map(() => [])
  let total = 0
  for (let slot = 0; slot < SLOTS; slot++) {
    owned[previous.slots[slot] as number]?.push(slot)
    total += load[slot] ?? 0
  }
  const perWeight = total / sum(weights)
  return previous.members.flatMap((id, index) => {
    const mean = perWeight * (weightOf.get(id) ?? 0)
    if (!(mean > 0)) return []
    const { order, loads } = byLoad(owned[index] as number[], load)
    const cap = Math.max(1, Math.ceil(mean * maxLoad - ROUNDING))
    const target = Math.max(1, Math.ceil(mean * (1 + (maxLoad - 1) / 2) - ROUNDING))
    return [{ index, cap, target, sessions: sum(loads), order, traded: 0 }]
  })
}

/**
 * Brings `from` down to its target by trades, the heaviest slot that does not overshoot first: few trades carry few
 * bystanders along. Where slots are too coarse for that, one overshooting trade keeps the promise.
 * @returns the number of trades
 */
function relieve(from: Side, sides: readonly Side[], slots: Uint16Array, load: Uint32Array): number {
  let trades = 0
  let top = from.order.length - 1
  for (; top >= 0 && from.sessions > from.target; top--) {
    if (trade(from, roomiest(sides), top, from.sessions - from.target, slots, load)) trades++
  }
  for (let k = 0; k < from.order.length && from.sessions > from.cap; k++) {
    if (slots[from.order[k] as number] !== from.index) continue
    if (trade(from, roomiest(sides), k, Number.POSITIVE_INFINITY, slots, load)) trades++
  }
  // What it gave away is still in its list, so it takes no part as a receiver.
  from.traded = from.order.length
  return trades
}

/** Trades the `k`-th slot of `from` for the lightest of `to`, if that gains something, at most `most`, and `to` has room. */
function trade(
  from: Side,
  to: Side | undefined,
  k: number,
  most: number,
  slots: Uint16Array,
  load: Uint32Array,
): boolean {
  const heavy = from.order[k] as number
  const light = to?.order[to.traded]
  if (!to || light === undefined) return false
  const gain = (load[heavy] as number) - (load[light] as number)
  if (gain <= 0 || gain > most || gain > to.target - to.sessions) return false
  slots[heavy] = to.index
  slots[light] = from.index
  to.traded++
  to.sessions += gain
  from.sessions -= gain
  return true
}

/** The one that can take most; undefined when nobody is below its target. */
function roomiest(sides: readonly Side[]): Side | undefined {
  let best: Side | undefined
  for (const side of sides) {
    if (side.sessions >= side.target || side.traded >= side.order.length) continue
    if (!best || side.target - side.sessions > best.target - best.sessions) best = side
  }
  return best
}
