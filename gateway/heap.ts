/**
 * The heap of a process that is a gateway: small while devices are idle, with room for what frames leave behind while they
 * are not. What V8 does not do by itself (docs/benchmarks.md, idle memory; the flags are those of `node --v8-options`).
 */

import { type EventLoopUtilization, performance } from 'node:perf_hooks'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/** Bytes. At 1 MiB, where V8 begins, scavenges take 5 % of a relay's time; above 4 it gains nothing more. */
const YOUNG = 4 * 1024 * 1024
/** Bytes of what is allocated to have V8 collect, and grow. */
const BLOCK = 32 * 1024
/** Blocks that are allocated before either is given up. */
const MOST = 400
/** Bytes by which a collection empties the young generation at the least; V8's own buffers make it look emptier by a few. */
const EMPTIED = 256 * 1024
const TEND_MS = 1000
/** Part of the time that the event loop works, above which scavenges less often would be more frames. */
const BUSY = 0.9
/** Times in a row that it has to be so: a storm of connects is over sooner, and had better have its memory small. */
const BUSY_TIMES = 3

/**
 * V8 doubles its young generation while much is allocated, as in a connect storm, and gives nothing back to the system;
 * here it gets one size at once and never grows above it, so that 10,000 fresh sessions cost half the resident memory. What a frame
 * leaves behind is dead by the next scavenge, so threads that help with scavenging find nothing to do but wake up, on cores
 * that devices and workers need. To be called before the gateway's modules are loaded: later the size is taken no more.
 */
export function shapeYoungGeneration(): void {
  setFlagsFromString('--no-parallel-scavenge')
  setFlagsFromString('--no-concurrent-array-buffer-sweeping')
  grow()
}

/**
 * V8 makes the young generation small again when a process was idle for some seconds. It may stay so until there is more
 * work than the event loop has time for: then this grows it back, in 2 or 3 ms.
 */
export function tendYoungGeneration(intervalMs = TEND_MS): void {
  let last: EventLoopUtilization = performance.eventLoopUtilization()
  let busy = 0
  setInterval(() => {
    const now = performance.eventLoopUtilization()
    busy = performance.eventLoopUtilization(now, last).utilization > BUSY ? busy + 1 : 0
    last = now
    if (busy < BUSY_TIMES) return
    busy = 0
    grow()
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
  // It may have had any size when this process began; all of it is filled by then.
  const most = MOST + space('new_space').space_size / BLOCK
  for (let round = 0; round < most; round++) {
    const { space_used_size: used } = space('new_space')
    if (used < before - EMPTIED) break
    before = used
    block()
  }
  setFlagsFromString('--no-gc-global')
}

/** V8 lets the young generation grow when much survives: blocks are kept until it has its size. */
function grow(): void {
  const kept: number[][] = []
  setFlagsFromString('--semi-space-growth-factor=2')
  while (small() && kept.length < MOST) kept.push(block())
  setFlagsFromString('--semi-space-growth-factor=1')
}

function small(): boolean {
  return space('new_space').space_size < YOUNG
}

/** Nothing in it that a collection would have to follow. */
function block(): number[] {
  return new Array<number>(BLOCK / 8).fill(0)
}

function space(name: string): { space_size: number; space_used_size: number } {
  return (
    getHeapSpaceStatistics().find(({ space_name }) => space_name === name) ?? { space_size: YOUNG, space_used_size: 0 }
  )
}
