/** A worker as a balancing policy sees it, and what a policy is asked. */

/** A worker that may be chosen, as one gateway sees it. */
export interface Candidate {
  readonly id: string
  /** Relative capacity now, slow start included. One of 0 is never chosen. */
  readonly weight: number
  /** Sessions that it holds, as far as this gateway knows. */
  readonly sessions: number
  /** False while its link is down, it drains, or it is ejected. Never chosen then. */
  readonly available: boolean
}

export interface PickRequest {
  /** Slot of the affinity key, -1 when the policy has none. */
  readonly slot: number
  /** Owner of the slot in the table in force. */
  readonly owner: string | undefined
  /** From 0 to just below 1; what chance there is comes from here. */
  readonly random: number
}

/** One pool's policy. Equal calls in equal order give equal answers. */
export interface Picker {
  /** The worker to bind to, undefined when no candidate may be chosen. */
  pick(candidates: readonly Candidate[], request: PickRequest): Candidate | undefined
}

/** True when a candidate may be chosen at all. */
export function isEligible({ available, weight }: Candidate): boolean {
  return available && weight > 0
}
