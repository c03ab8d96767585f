/** What a change of placement does, in numbers that `plan` shows and a rollout reports. */

import { UNOWNED } from '../../proto/table.js'
import type { Placement } from './placement-quota.js'

/** One slot that changes hands; `undefined` where nobody owned it, or nobody does. */
export interface SlotMove {
  readonly slot: number
  readonly from: string | undefined
  readonly to: string | undefined
}

/** Slots of one worker before and after, and its sessions where the load of each slot is known. */
export interface WorkerShare {
  readonly id: string
  readonly before: number
  readonly after: number
  readonly sessionsBefore: number
  readonly sessionsAfter: number
}

export interface SlotDiff {
  /** In order of slot. */
  readonly moves: readonly SlotMove[]
  /** Every worker of either side, sorted by id. */
  readonly perWorker: readonly WorkerShare[]
  /** Sessions in the slots that move from one worker to another, 0 without `load`. */
  readonly sessionsMoved: number
}

/** Compares two placements of one pool; `undefined` stands for "no slots yet". */
export function diffSlots(before: Placement | undefined, after: Placement, load?: Uint32Array): SlotDiff {
  const moves: SlotMove[] = []
  const shares = new Map<string, { -readonly [K in keyof WorkerShare]: WorkerShare[K] }>()
  for (const id of [...(before?.members ?? []), ...after.members]) {
    shares.set(id, { id, before: 0, after: 0, sessionsBefore: 0, sessionsAfter: 0 })
  }
  let sessionsMoved = 0
  const length = Math.max(before?.slots.length ?? 0, after.slots.length)
  for (let slot = 0; slot < length; slot++) {
    const from = before && ownerOf(before, slot)
    const to = ownerOf(after, slot)
    const held = load?.[slot] ?? 0
    const old = from === undefined ? undefined : shares.get(from)
    if (old) {
      old.before++
      old.sessionsBefore += held
    }
    const next = to === undefined ? undefined : shares.get(to)
    if (next) {
      next.after++
      next.sessionsAfter += held
    }
    if (from === to) continue
    moves.push({ slot, from, to })
    if (from !== undefined) sessionsMoved += held
  }
  const perWorker = [...shares.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  return { moves, perWorker, sessionsMoved }
}

/** Id of the owner of `slot`, `undefined` when it has none. */
export function ownerOf({ members, slots }: Placement, slot: number): string | undefined {
  const index = slots[slot] ?? UNOWNED
  return index === UNOWNED ? undefined : members[index]
}
