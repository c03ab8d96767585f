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

/**
 * Highest score wins (Thaler and Ravishankar's rendezvous hashing) among the members that are below their quota. The
 * quotas carry the weights exactly, so the scores need no logarithm: a score divided by the weight is enough.
 */
function assignByRendezvous(draft: Draft, ids: readonly string[], empty: readonly number[]): void {
  const { weights, quotas, counts } = draft
  const open = Array.from(counts.keys()).filter((i) => (counts[i] as number) < (quotas[i] as number))
  const hashes = Int32Array.from(open, (i) => hash32(ids[i] as string))
  const scales = Float64Array.from(open, (i) => 1 / (weights[i] as number))
  let length = open.length
  const even = scales.every((scale) => scale === scales[0])
  for (const slot of empty) {
    const salt = Math.imul(slot + 1, 0x9e3779b1)
    const at = even ? lowestHash(hashes, length, salt) : lowestScore(hashes, scales, length, salt)
    const member = open[at] as number
    give(draft, slot, member)
    if (counts[member] !== quotas[member]) continue
    length--
    open[at] = open[length] as number
    hashes[at] = hashes[length] as number
    scales[at] = scales[length] as number
  }
}

function lowestHash(hashes: Int32Array, length: number, salt: number): number {
  let best = 0
  let lowest = 0x7fffffff
  for (let k = 0; k < length; k++) {
    let x = Math.imul((hashes[k] as number) ^ salt, 0x85ebca6b)
    x = Math.imul(x ^ (x >>> 15), 0xc2b2ae35)
    if (x < lowest) {
      lowest = x
      best = k
    }
  }
  return best
}

function lowestScore(hashes: Int32Array, scales: Float64Array, length: number, salt: number): number {
  let best = 0
  let lowest = Number.POSITIVE_INFINITY
  for (let k = 0; k < length; k++) {
    let x = Math.imul((hashes[k] as number) ^ salt, 0x85ebca6b)
    x = Math.imul(x ^ (x >>> 15), 0xc2b2ae35)
    const score = (x + 0x80000000) * (scales[k] as number)
    if (score < lowest) {
      lowest = score
      best = k
    }
  }
  return best
}
