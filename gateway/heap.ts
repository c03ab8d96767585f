/**
 * The heap of a process that is a gateway: small while devices are idle, with room for what frames leave behind while they
 * are not. What V8 does not do by itself (docs/benchmarks.md, idle memory; the flags are those of `node --v8-options`).
 */

import { type EventLoopUtilization, performance } from 'node:perf_hooks'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/** Bytes. At 1 MiB, where V8 begins, scavenges take 5 % of a relay's time; above 4 it gains nothing more. */
const YOUNG = 4 * 1024 * 1024
/** Rounds of a thousand objects before either is given up. */
const MOST = 400
/** Rounds at a time while devices are there: 3 ms or so. */
const STEP = 20
const TEND_MS = 250
/** Bytes by which a collection empties the young generation at the least; V8's own buffers make it look emptier by a few. */
const EMPTIED = 256 * 1024
/** Part of the time that the event loop works, above which a small young generation costs something. */
const BUSY = 0.25

/** Objects that are kept alive while the young generation grows: V8 lets it grow when much survives. */
const kept: object[][] = []

/**
 * V8 doubles its young generation while much is allocated, as in a connect storm, and gives nothing back to the system;
 * here it gets one size at once and keeps it, so that 10,000 fresh sessions cost half the resident memory. What a frame
 * leaves behind is dead by the next scavenge, so threads that help with scavenging find nothing to do but wake up, on cores
 * that devices and workers need. To be called before the gateway's modules are loaded: later the size is taken no more.
 */
export function shapeYoungGeneration(): void {
  setFlagsFromString('--no-parallel-scavenge')
  setFlagsFromString('--no-concurrent-array-buffer-sweeping')
  grow(MOST)
}

/**
 * A process that was idle for some seconds has its young generation made small again. This grows it back, a little at a
 * time, when there is work.
 */
export function tendYoungGeneration(intervalMs = TEND_MS): void {
  let last: EventLoopUtilization = performance.eventLoopUtilization()
  setInterval(() => {
    const now = performance.eventLoopUtilization()
    if (performance.eventLoopUtilization(now, last).utilization > BUSY) grow(STEP)
    last = now
  }, intervalMs).unref()
}

/**
 * One full collection, about 20 ms: sessions then take the room that loading the modules left, where they would take new
 * pages from the system. To be called when everything is loaded and no device is there yet.
 */
export function collectStartGarbage(): void {
  // The next collection is a full one, and comes as soon as the young generation has no room left: then it is emptier.
  setFlagsFromString('--gc-global')
  let before = 0
  for (let round = 0; round < MOST; round++) {
    const { space_used_size: used } = space('new_space')
    if (used < before - EMPTIED) break
    before = used
    objects()
  }
  setFlagsFromString('--no-gc-global')
}

/** Until the young generation has its size, or for so many rounds. Between two calls nothing makes it grow. */
function grow(rounds: number): void {
  if (small()) {
    setFlagsFromString('--semi-space-growth-factor=2')
    for (let i = 0; i < rounds && small(); i++) kept.push(objects())
    setFlagsFromString('--semi-space-growth-factor=1')
  }
  if (!small() || kept.length >= MOST) kept.length = 0
}

function small(): boolean {
  return space('new_space').space_size < YOUNG
}

function objects(): object[] {
  return Array.from({ length: 1000 }, (_, i) => ({ i }))
}

function space(name: string): { space_size: number; space_used_size: number } {
  return (
    getHeapSpaceStatistics().find(({ space_name }) => space_name === name) ?? { space_size: YOUNG, space_used_size: 0 }
  )
}
