/** Which slots the overfull give away: as many as they must, holding just the sessions that they have too many. */

import { SLOTS } from '../../proto/hash.js'
import { UNOWNED } from '../../proto/table.js'

/** A placement on the way from the previous one to the next; `slots` is written in place. */
export interface Draft {
  readonly slots: Uint16Array
  readonly weights: Float64Array
  /** Slots that each member ought to own. */
  readonly quotas: Uint32Array
  /** Slots that each member owns now. */
  readonly counts: Uint32Array
  /** Live sessions of each slot. */
  readonly load: Uint32Array
  /** Live sessions of each member, by the slots it owns now. */
  readonly sessions: Float64Array
}

/** Spreads neighbouring slots: a bijection on slot numbers, so that ties between slots fall all over the table. */
export function rankOf(slot: number): number {
  const x = Math.imul(slot ^ (slot >>> 7), 0x2c1b) & (SLOTS - 1)
  return x ^ (x >>> 7)
}

/** Takes from each overfull member its surplus of slots, and returns every slot that nobody owns now. */
export function releaseSurplus(draft: Draft): number[] {
  const { slots, quotas, counts } = draft
  const donors = Array.from(counts.keys()).filter((i) => (counts[i] as number) > (quotas[i] as number))
  if (donors.length > 0) {
    const level = fairLevel(draft)
    const owned = slotsByOwner(draft, donors)
    for (const i of donors) releaseFrom(draft, i, owned[i] as number[], level)
  }
  const free: number[] = []
  for (let slot = 0; slot < SLOTS; slot++) if (slots[slot] === UNOWNED) free.push(slot)
  return free
}

function slotsByOwner({ slots }: Draft, donors: readonly number[]): number[][] {
  const owned: number[][] = []
  for (const i of donors) owned[i] = []
  for (let slot = 0; slot < SLOTS; slot++) owned[slots[slot] as number]?.push(slot)
  return owned
}

function releaseFrom(draft: Draft, member: number, owned: readonly number[], level: number): void {
  const { slots, quotas, counts, load, sessions, weights } = draft
  const surplus = (counts[member] as number) - (quotas[member] as number)
  const excess = Math.max(0, (sessions[member] as number) - level * (weights[member] as number))
  for (const slot of pickSlots(owned, load, surplus, excess)) {
    slots[slot] = UNOWNED
    sessions[member] = (sessions[member] as number) - (load[slot] as number)
  }
  counts[member] = quotas[member] as number
}

/**
 * Sessions per weight at which those that give or take slots meet. A giver below it, or a taker above it, cannot come
 * nearer by this change, so the level is that of the others.
 */
function fairLevel({ slots, weights, quotas, counts, load, sessions }: Draft): number {
  let total = 0
  for (let slot = 0; slot < SLOTS; slot++) if (slots[slot] === UNOWNED) total += load[slot] as number
  let taking = Array.from(counts.keys()).filter((i) => counts[i] !== quotas[i])
  let weight = 0
  for (const i of taking) {
    total += sessions[i] as number
    weight += weights[i] as number
  }
  for (;;) {
    const level = weight > 0 ? total / weight : 0
    const stuck = (i: number) => {
      const above = (sessions[i] as number) > level * (weights[i] as number)
      const gives = (counts[i] as number) > (quotas[i] as number)
      return (weights[i] as number) > 0 && above !== gives && sessions[i] !== level * (weights[i] as number)
    }
    const out = taking.filter(stuck)
    if (out.length === 0 || out.length === taking.length) return level
    taking = taking.filter((i) => !stuck(i))
    for (const i of out) {
      total -= sessions[i] as number
      weight -= weights[i] as number
    }
  }
}

/**
 * `count` of `owned` whose sessions add up as near to `target` as can be found in one pass: with the slots in order of
 * load, the sets "a window of neighbours but one" step from the lightest to the heaviest choice in small steps.
 */
export function pickSlots(owned: readonly number[], load: Uint32Array, count: number, target: number): number[] {
  if (count >= owned.length) return [...owned]
  const { order, loads } = byLoad(owned, load)
  const at = (k: number) => loads[k] as number
  let held = 0
  for (let k = 0; k < count; k++) held += at(k)
  let start = 0
  while (held < target && start + count < order.length) {
    const next = held + at(start + count) - at(start)
    if (next > target) break
    held = next
    start++
  }
  if (held >= target || start + count === order.length) return order.slice(start, start + count)
  const without = nearestTo(loads, start, start + count, held + at(start + count) - target)
  return order.slice(start, start + count + 1).filter((_, k) => start + k !== without)
}

function nearestTo(loads: Float64Array, from: number, to: number, wanted: number): number {
  let best = from
  for (let k = from; k <= to; k++) {
    if (Math.abs((loads[k] as number) - wanted) < Math.abs((loads[best] as number) - wanted)) best = k
  }
  return best
}

/** Slots in order of load, then rank. One number holds both (32 + 14 bits of a double's 53), so the sort is native. */
export function byLoad(owned: readonly number[], load: Uint32Array): { order: number[]; loads: Float64Array } {
  const slotOfRank = new Uint16Array(SLOTS)
  const keys = new Float64Array(owned.length)
  // Loops, not `from` with a function: that iterates, and takes ten times as long in code that is seldom run.
  for (let i = 0; i < owned.length; i++) {
    const slot = owned[i] as number
    const rank = rankOf(slot)
    slotOfRank[rank] = slot
    keys[i] = (load[slot] as number) * SLOTS + rank
  }
  keys.sort()
  const order: number[] = []
  const loads = new Float64Array(owned.length)
  for (let i = 0; i < owned.length; i++) {
    const slot = slotOfRank[(keys[i] as number) % SLOTS] as number
    order.push(slot)
    loads[i] = load[slot] as number
  }
  return { order, loads }
}
