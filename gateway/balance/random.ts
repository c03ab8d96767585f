/** Chance by weight. */

import { type Candidate, isEligible, type PickRequest } from './candidate.js'

/** The candidate in whose part of the summed weights `random` falls. */
export function pickWeighted(candidates: readonly Candidate[], { random }: PickRequest): Candidate | undefined {
  let total = 0
  for (const candidate of candidates) if (isEligible(candidate)) total += candidate.weight
  let left = random * total
  let last: Candidate | undefined
  for (const candidate of candidates) {
    if (!isEligible(candidate)) continue
    last = candidate
    left -= candidate.weight
    if (left < 0) break
  }
  return last
}
