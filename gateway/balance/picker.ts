/** Balancing policies by name: which worker of a pool gets a new binding. */

import type { Policy } from '../../proto/table.js'
import type { Picker } from './candidate.js'
import { pickBySlot } from './consistent-hash.js'
import { pickLeastLoaded } from './least-connections.js'
import { pickWeighted } from './random.js'
import { createRoundRobin } from './round-robin.js'

export type { Candidate, Picker, PickRequest } from './candidate.js'

/** A policy with its own state, if it has any. One for each pool. */
export function createPicker(policy: Policy): Picker {
  switch (policy) {
    case 'consistent_hash':
      return { pick: pickBySlot }
    case 'least_connections':
      return { pick: pickLeastLoaded }
    case 'round_robin':
      return createRoundRobin()
    case 'random':
      return { pick: pickWeighted }
  }
}
