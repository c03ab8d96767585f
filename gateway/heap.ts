/**
 * The heap of a process that is a gateway: small while devices are idle. Two things that V8 does not do by itself
 * (docs/benchmarks.md, idle memory; V8's flags are those that `node --v8-options` lists).
 */

import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/** Bytes. At 1 MiB, where V8 begins, scavenges take 5 % of a relay's time; above 4 it gains nothing more. */
const YOUNG = 4 * 1024 * 1024
/** Rounds of a thousand objects before either is given up. */
const MOST = 400

/**
 * V8 doubles its young generation while much is allocated, as in a connect storm, and gives nothing back to the system;
 * here it gets one size at once and keeps it, so that 10,000 fresh sessions cost half the resident memory. What a frame
 * leaves behind is dead by the next scavenge, so threads that help with scavenging find nothing to do but wake up, on cores
 * that devices and workers need. To be called before the gateway's modules are loaded: later the size is taken no more.
 */
export function keepYoungGeneration(): void {
  setFlagsFromString('--no-parallel-scavenge')
  setFlagsFromString('--no-concurrent-array-buffer-sweeping')
  const kept: object[][] = []
  // V8 grows after scavenges with survivors only.
  while (space('new_space').space_size < YOUNG && kept.length < MOST) kept.push(objects(kept))
  setFlagsFromString('--semi-space-growth-factor=1')
}

/**
 * One full collection, about 20 ms: sessions then take the room that loading the modules left, where they would take new
 * pages from the system. To be called when everything is loaded and no device is there yet.
 */
export function collectStartGarbage(): void {
  const { space_used_size: before } = space('old_space')
  // The next collection is a full one, and comes as soon as the young generation has no room left.
  setFlagsFromString('--gc-global')
  for (let round = 0; round < MOST && space('old_space').space_used_size >= before; round++) objects(undefined)
  setFlagsFromString('--no-gc-global')
}

function objects(of: unknown): object[] {
  return Array.from({ length: 1000 }, () => ({ of }))
}

function space(name: string): { space_size: number; space_used_size: number } {
  return (
    getHeapSpaceStatistics().find(({ space_name }) => space_name === name) ?? { space_size: YOUNG, space_used_size: 0 }
  )
}
