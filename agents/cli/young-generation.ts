/**
 * Imported before anything else, for its effect on a gateway's heap. V8 doubles its young generation while much is
 * allocated, as in a connect storm, and gives nothing back to the system; here it gets one size at once and keeps it, so
 * that 10,000 fresh sessions cost half the resident memory. What a frame leaves behind is dead by the next scavenge, so
 * threads that help with scavenging find nothing to do but wake up, on cores that devices and workers need
 * (docs/benchmarks.md, idle memory). The size can be changed only while the heap is young: while the first modules load.
 */

import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/** Bytes. At 1 MiB, where V8 begins, scavenges take 5 % of a relay's time; above 4 it gains nothing more. */
const SIZE = 4 * 1024 * 1024
/** Survivors to be made, in thousands of objects, before it is given up: V8 grows after scavenges with survivors only. */
const MOST = 400

if (process.argv[2] === 'gateway') {
  setFlagsFromString('--no-parallel-scavenge')
  setFlagsFromString('--no-concurrent-array-buffer-sweeping')
  const kept: object[][] = []
  while (youngGeneration() < SIZE && kept.length < MOST) kept.push(Array.from({ length: 1000 }, () => ({ kept })))
  setFlagsFromString('--semi-space-growth-factor=1')
}

function youngGeneration(): number {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')?.space_size ?? SIZE
}
