import type { Clock } from './ports.js'

/** The real time. The only place below `main.ts` that asks the machine for it. */
export function createSystemClock(): Clock {
  return {
    now: () => performance.now(),
    wall: () => Date.now(),
    after: (ms, fn) => {
      const timer = setTimeout(fn, ms)
      return () => clearTimeout(timer)
    },
  }
}
