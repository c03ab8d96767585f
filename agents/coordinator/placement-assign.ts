/** Who gets the free slots: occupied ones go to the emptiest worker, the others by rendezvous hashing with quotas. */

import { hash32 } from '../../proto/hash.js'
import type { Draft } from './placement-release.js'

/** Gives every slot of `free` to a member that is below its quota. The quotas add up, so each finds one. */
export function assignFree(draft: Draft, ids: readonly string[], free: readonly number[]): void {
  const { load } = draft
  const occupied = free.filter((slot) => (load[slot] as number) > 0)
  occupied.sort((a, b) => (load[b] as number) - (load[a] as number) || a - b)
  assignByLoad(draft, occupied)
  assignByRendezvous(
    draft,
    ids,
    free.filter((slot) => load[slot] === 0),
  )
}

function give({ slots, counts, load, sessions }: Draft, slot: number, member: number): void {
  slots[slot] = member
  counts[member] = (counts[member] as number) + 1
  sessions[member] = (sessions[member] as number) + (load[slot] as number)
}

/** The heaviest slot first, each to the member with the fewest sessions per weight: the LPT rule of scheduling. */
function assignByLoad(draft: Draft, occupied: readonly number[]): void {
  const { weights, quotas, counts, sessions } = draft
  const heap = Array.from(counts.keys()).filter((i) => (counts[i] as number) < (quotas[i] as number))
  const fuller = (a: number, b: number) => {
    const difference =
      (sessions[a] as number) / (weights[a] as number) - (sessions[b] as number) / (weights[b] as number)
    return difference > 0 || (difference === 0 && a > b)
  }
  for (let k = heap.length >> 1; k >= 0; k--) siftDown(heap, k, fuller)
  for (const slot of occupied) {
    const member = heap[0] as number
    give(draft, slot, member)
    if (counts[member] === quotas[member]) {
      const last = heap.pop() as number
      if (heap.length > 0) heap[0] = last
    }
    siftDown(heap, 0, fuller)
  }
}

function siftDown(heap: number[], from: number, after: (a: number, b: number) => boolean): void {
  for (let k = from; ; ) {
    let child = 2 * k + 1
    if (child >= heap.length) return
    if (child + 1 < heap.length && after(heap[child] as number, heap[child + 1] as number)) child++
    if (!after(heap[k] as number, heap[child] as number)) return
    const moved = heap[k] as number
    heap[k] = heap[child] as number
    heap[child] = moved
    k = child
  }
}

/** Members that one slot looks at. All of a pool of this size; more would cost time at 1,000 workers and gain nothing. */
const CANDIDATES = 64

/** Members below their quota, in the order of their hashes. */
interface Ring {
  readonly members: number[]
  /** Unsigned, rising. */
  readonly hashes: number[]
  /** 1 / weight. */
  readonly scales: number[]
}

/**
 * Rendezvous hashing (Thaler and Ravishankar) with quotas: the best score wins among the members below their quota.
 * Above {@link CANDIDATES} members a slot scores those that follow its own hash on the ring of the members' hashes. The
 * quotas carry the weights exactly, so a score needs no logarithm: the hash over the weight is enough.
 */
function assignByRendezvous(draft: Draft, ids: readonly string[], empty: readonly number[]): void {
  const { weights, quotas, counts } = draft
  const open = Array.from(counts.keys()).filter((i) => (counts[i] as number) < (quotas[i] as number))
  const hashOf = new Map(open.map((i) => [i, hash32(ids[i] as string)]))
  const members = open.sort((a, b) => (hashOf.get(a) as number) - (hashOf.get(b) as number) || a - b)
  const ring: Ring = {
    members,
    hashes: members.map((i) => hashOf.get(i) as number),
    scales: members.map((i) => 1 / (weights[i] as number)),
  }
  for (const slot of empty) {
    const at = bestScore(ring, Math.imul(slot + 1, 0x9e3779b1))
    const member = members[at] as number
    give(draft, slot, member)
    if (counts[member] !== quotas[member]) continue
    for (const list of [ring.members, ring.hashes, ring.scales]) list.splice(at, 1)
  }
}

function bestScore({ hashes, scales }: Ring, salt: number): number {
  const length = hashes.length
  const start = length <= CANDIDATES ? 0 : firstAbove(hashes, salt >>> 0)
  let best = 0
  let lowest = Number.POSITIVE_INFINITY
  for (let k = start; k < start + Math.min(CANDIDATES, length); k++) {
    const at = k < length ? k : k - length
    let x = Math.imul((hashes[at] as number) ^ salt, 0x85ebca6b)
    x = Math.imul(x ^ (x >>> 15), 0xc2b2ae35)
    const score = ((x ^ (x >>> 13)) >>> 0) * (scales[at] as number)
    if (score < lowest) {
      lowest = score
      best = at
    }
  }
  return best
}

function firstAbove(hashes: readonly number[], hash: number): number {
  let low = 0
  let high = hashes.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((hashes[middle] as number) <= hash) low = middle + 1
    else high = middle
  }
  return low
}
