/** A worker that just came up is given its share little by little: cold caches and compilers take their time. */

export interface SlowStart {
  /** How long a new worker takes to reach its whole weight, milliseconds; 0: at once. */
  readonly windowMs: number
  /** Part of its weight that it begins with, above 0 and at most 1. */
  readonly from: number
}

export const DEFAULT_SLOW_START: SlowStart = { windowMs: 10_000, from: 0.1 }

/** The weight that a worker has `ageMs` after it came up: from `weight x from`, rising evenly to `weight`. */
export function slowStartWeight(weight: number, ageMs: number, { windowMs, from }: SlowStart): number {
  if (!(ageMs < windowMs)) return weight
  return weight * (from + (1 - from) * (Math.max(0, ageMs) / windowMs))
}
