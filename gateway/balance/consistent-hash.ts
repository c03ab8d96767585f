/** Slots: the table says who owns the key. Only when that worker cannot take it, the gateways agree on another by hashing. */

import { hash32 } from '../../proto/hash.js'
import { type Candidate, isEligible, type PickRequest } from './candidate.js'

/** The slot's owner, or the slot's first choice among the others. */
export function pickBySlot(candidates: readonly Candidate[], { slot, owner }: PickRequest): Candidate | undefined {
  for (const candidate of candidates) if (candidate.id === owner && isEligible(candidate)) return candidate
  return standIn(candidates, slot)
}

/**
 * Weighted rendezvous over those that may be chosen: gateways that see the same workers choose the same stand-in, and
 * the slots of one lost worker spread over all others.
 */
function standIn(candidates: readonly Candidate[], slot: number): Candidate | undefined {
  let best: Candidate | undefined
  let soonest = Number.POSITIVE_INFINITY
  for (const candidate of candidates) {
    if (!isEligible(candidate)) continue
    const wait = -Math.log((hash32(candidate.id, slot + 1) + 0.5) / 2 ** 32) / candidate.weight
    if (wait < soonest || (wait === soonest && candidate.id < (best?.id ?? ''))) {
      soonest = wait
      best = candidate
    }
  }
  return best
}
