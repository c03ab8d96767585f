/** Whether the sessions of staged gateways fare worse than before. Pure. */

import type { GatewayHeartbeat } from '../../proto/control.js'
import type { LoadBook } from './load-book.js'

/** The last heartbeat of each staged gateway before its stage began. */
export type Baseline = ReadonlyMap<string, GatewayHeartbeat>

/** This many disconnects, or this share of the sessions, whichever is more, are chance. */
const DISCONNECTS = { count: 5, share: 0.05 }
/** This many errors, or this share of the frames, whichever is more, are chance. */
const ERRORS = { count: 10, share: 0.01 }
/** The p99 may grow to this many times what it was, and to this many milliseconds in any case. */
const P99 = { factor: 3, ms: 50 }

/** Remembers how gateways fare now. Those that were never heard have nothing to compare with. */
export function baselineOf(loads: LoadBook, gateways: readonly string[]): Baseline {
  const baseline = new Map<string, GatewayHeartbeat>()
  for (const id of gateways) {
    const heartbeat = loads.heartbeatOf(id)
    if (heartbeat !== undefined) baseline.set(id, heartbeat)
  }
  return baseline
}

/** What got worse beyond the thresholds, in words; undefined when nothing did. */
export function worsened(loads: LoadBook, baseline: Baseline): string | undefined {
  for (const [id, before] of baseline) {
    const now = loads.heartbeatOf(id)
    const problem = now === undefined ? undefined : compare(before, now)
    if (problem !== undefined) return `gateway ${id}: ${problem}`
  }
  return undefined
}

function compare(before: GatewayHeartbeat, now: GatewayHeartbeat): string | undefined {
  const grown = (name: keyof GatewayHeartbeat['counters']): number => now.counters[name] - before.counters[name]
  const disconnects = grown('disconnects')
  if (disconnects > Math.max(DISCONNECTS.count, before.sessions * DISCONNECTS.share)) {
    return `${disconnects} of ${before.sessions} sessions disconnected`
  }
  const errors = grown('errors')
  if (errors > Math.max(ERRORS.count, grown('framesUp') * ERRORS.share)) return `${errors} errors`
  if (now.p99Ms > Math.max(P99.ms, before.p99Ms * P99.factor)) {
    return `p99 went from ${before.p99Ms.toFixed(1)} to ${now.p99Ms.toFixed(1)} ms`
  }
  return undefined
}
