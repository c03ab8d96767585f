/** The worker that would be least loaded with one session more. */

import { type Candidate, isEligible, type PickRequest } from './candidate.js'

/** Lowest (sessions + 1) / weight; `random` decides between equals, so that gateways do not all run to the same one. */
export function pickLeastLoaded(candidates: readonly Candidate[], { random }: PickRequest): Candidate | undefined {
  let least = Number.POSITIVE_INFINITY
  let equals = 0
  for (const candidate of candidates) {
    if (!isEligible(candidate)) continue
    const load = loadOf(candidate)
    if (load < least) {
      least = load
      equals = 1
    } else if (load === least) equals++
  }
  let skip = Math.floor(random * equals)
  for (const candidate of candidates) {
    if (isEligible(candidate) && loadOf(candidate) === least && skip-- <= 0) return candidate
  }
  return undefined
}

function loadOf({ sessions, weight }: Candidate): number {
  return (sessions + 1) / weight
}
