/**
 * Placement: which worker of a pool owns which slot. Pure: equal input gives equal output on every coordinator,
 * whatever order the members come in.
 */

import { SLOTS } from '../../proto/hash.js'
import { UNOWNED } from '../../proto/table.js'
import { assignFree } from './placement-assign.js'
import { type Member, type Placement, quotasOf, sortMembers, sum, weightsOf } from './placement-quota.js'
import { type Draft, releaseSurplus } from './placement-release.js'

export { diffSlots, ownerOf, type SlotDiff, type SlotMove, type WorkerShare } from './placement-diff.js'
export type { Member, Placement } from './placement-quota.js'
export { rebalance } from './placement-rebalance.js'

/**
 * The placement that follows `previous` for these members. Only slots of members that are gone or have more than their
 * quota move: no placement that is as even moves fewer. Every member ends within one slot of its weighted share.
 * @param previous the placement that gateways have; `undefined` (or one without slots) starts from scratch
 * @param members unique ids
 * @param load live sessions of each slot. It does not change how many slots move, but which: those that leave the
 * sessions as even as possible, too, with as few of them moved as possible.
 * @throws SluiceError `bad_request` above 65,535 members
 */
export function place(previous: Placement | undefined, members: readonly Member[], load?: Uint32Array): Placement {
  const sorted = sortMembers(members)
  const ids = sorted.map(({ id }) => id)
  const weights = weightsOf(sorted)
  const slots = new Uint16Array(SLOTS).fill(UNOWNED)
  if (sum(weights) > 0) {
    if (previous) carryOver(previous, ids, slots)
    const draft = createDraft(slots, weights, load)
    assignFree(draft, ids, releaseSurplus(draft))
  }
  return { members: ids, slots }
}

/** Copies the owners that are still there; everything else stays unowned. */
function carryOver(previous: Placement, ids: readonly string[], slots: Uint16Array): void {
  const indexes = new Map(ids.map((id, index) => [id, index]))
  const renamed = previous.members.map((id) => indexes.get(id) ?? UNOWNED)
  for (let slot = 0; slot < SLOTS; slot++) slots[slot] = renamed[previous.slots[slot] ?? UNOWNED] ?? UNOWNED
}

function createDraft(slots: Uint16Array, weights: Float64Array, given?: Uint32Array): Draft {
  const load = new Uint32Array(SLOTS)
  if (given) load.set(given.subarray(0, SLOTS))
  const counts = new Uint32Array(weights.length)
  const sessions = new Float64Array(weights.length)
  for (let slot = 0; slot < SLOTS; slot++) {
    const owner = slots[slot] as number
    if (owner === UNOWNED) continue
    counts[owner] = (counts[owner] as number) + 1
    sessions[owner] = (sessions[owner] as number) + (load[slot] as number)
  }
  return { slots, weights, quotas: quotasOf(weights, counts), counts, load, sessions }
}
