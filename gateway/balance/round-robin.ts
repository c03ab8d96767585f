/** Taking turns by weight. */

import { type Candidate, isEligible, type Picker } from './candidate.js'

/**
 * Smooth weighted round robin (nginx): everybody gains its weight each turn, the highest is chosen and pays the sum. In
 * any run of turns each one's count stays within one of its share, and heavy ones do not come in bursts.
 */
export function createRoundRobin(): Picker {
  let credits = new Map<string, number>()
  return {
    pick(candidates) {
      const next = new Map<string, number>()
      let best: Candidate | undefined
      let most = Number.NEGATIVE_INFINITY
      let total = 0
      for (const candidate of candidates) {
        if (!isEligible(candidate)) continue
        const credit = (credits.get(candidate.id) ?? 0) + candidate.weight
        next.set(candidate.id, credit)
        total += candidate.weight
        if (credit <= most) continue
        most = credit
        best = candidate
      }
      if (best !== undefined) next.set(best.id, most - total)
      // Whoever may not be chosen loses its credit: it comes back as a newcomer, not with a backlog.
      credits = next
      return best
    },
  }
}
