/**
 * A process that starts takes a core for a quarter of a second, and on a small machine the sessions beside it wait for it.
 * So a worker that joins a fleet under traffic starts with less of a claim on the processor, until it is ready. Raising
 * a priority again takes a privilege on Linux: without it nothing is lowered in the first place.
 */

import { readdirSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'

/** Niceness while it starts: a tenth of the weight of the others (sched(7): a factor of 1.25 a step). */
const STARTING = 10

/** True where what {@link stepBack} does can be undone. */
function mayRaise(): boolean {
  return process.platform === 'linux' && process.geteuid?.() === 0
}

/** @returns what gives the process its priority back; does nothing where that could not be done */
export function stepBack(pid: number): () => void {
  if (!mayRaise()) return () => {}
  const usual = getPriority()
  try {
    setPriority(pid, usual + STARTING)
  } catch {
    // A sandbox that forbids it even to root, or the process is gone: it starts like any other.
    return () => {}
  }
  return () => stepForward(pid, usual)
}

/** Linux keeps a priority for each thread (setpriority(2)); those that V8 and libuv made meanwhile have the lower one. */
function stepForward(pid: number, usual: number): void {
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) setPriority(Number(thread), usual)
  } catch {
    // It ended meanwhile.
  }
}
