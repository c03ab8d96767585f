/** Joins what the threads of one gateway say to what the gateway says. Pure. */

import type { GatewayHeartbeat, PlanView, PoolPlanView, Query, SessionView } from '../../proto/control.js'

/** A thread's heartbeat. */
export type ThreadBeat = Omit<GatewayHeartbeat, 't'>

/** Sums; of lag and latency the worst. */
export function joinHeartbeats(beats: readonly ThreadBeat[]): ThreadBeat {
  const sum = (read: (beat: ThreadBeat) => number) => beats.reduce((total, beat) => total + read(beat), 0)
  return {
    sessions: sum(({ sessions }) => sessions),
    lagMs: Math.max(0, ...beats.map(({ lagMs }) => lagMs)),
    p99Ms: Math.max(0, ...beats.map(({ p99Ms }) => p99Ms)),
    counters: {
      connects: sum(({ counters }) => counters.connects),
      disconnects: sum(({ counters }) => counters.disconnects),
      errors: sum(({ counters }) => counters.errors),
      framesUp: sum(({ counters }) => counters.framesUp),
      framesDown: sum(({ counters }) => counters.framesDown),
    },
    pools: joinPools(beats.map(({ pools }) => pools)),
  }
}

function joinPools(all: readonly GatewayHeartbeat['pools'][]): GatewayHeartbeat['pools'] {
  const joined: GatewayHeartbeat['pools'] = {}
  const slots = new Map<string, Map<number, number>>()
  for (const pools of all) {
    for (const [name, pool] of Object.entries(pools)) {
      joined[name] ??= { workers: {}, slots: [] }
      addCounts((joined[name] as GatewayHeartbeat['pools'][string]).workers, pool.workers)
      const counts = slots.get(name) ?? new Map<number, number>()
      slots.set(name, counts)
      for (let i = 0; i + 1 < pool.slots.length; i += 2) {
        const [slot, count] = [pool.slots[i] as number, pool.slots[i + 1] as number]
        counts.set(slot, (counts.get(slot) ?? 0) + count)
      }
    }
  }
  for (const [name, counts] of slots) {
    const pool = joined[name]
    if (pool !== undefined) pool.slots = [...counts].sort(([a], [b]) => a - b).flat()
  }
  return joined
}

function addCounts(into: Record<string, number>, from: Readonly<Record<string, number>>): void {
  for (const [id, count] of Object.entries(from)) into[id] = (into[id] ?? 0) + count
}

/** The gateway's answer to a question of the coordinator. */
export function joinAnswers(what: Query['what'], answers: readonly unknown[]): unknown {
  const said = answers.filter((answer) => answer !== undefined && answer !== null)
  if (said.length === 0) return undefined
  if (what === 'session') return newest(said as SessionView[])
  return what === 'plan' ? joinPlans(said as PlanView[]) : said.flat()
}

/** While two threads hold a session of one device each, the newer is the one that counts. */
function newest(views: readonly SessionView[]): SessionView | undefined {
  return [...views].sort((a, b) => (a.since < b.since ? 1 : -1))[0]
}

function joinPlans(plans: readonly PlanView[]): PlanView {
  const joined: PlanView = {}
  for (const plan of plans) {
    for (const [name, pool] of Object.entries(plan)) {
      const sum: PoolPlanView = joined[name] ?? { moved: 0, before: {}, after: {} }
      joined[name] = sum
      sum.moved += pool.moved
      addCounts(sum.before, pool.before)
      addCounts(sum.after, pool.after)
    }
  }
  return joined
}

/**
 * Joins Prometheus texts that differ in their labels: a metric's HELP and TYPE once, then everybody's samples, since a
 * family may not stand in two places.
 */
export function joinExpositions(texts: readonly string[]): string {
  const families = new Map<string, { head: string[]; samples: string[] }>()
  for (const text of texts) {
    let family: { head: string[]; samples: string[] } | undefined
    for (const line of text.split('\n')) {
      if (line === '') continue
      const name = /^# (?:HELP|TYPE) (\S+)/.exec(line)?.[1]
      if (name !== undefined) {
        family = families.get(name) ?? { head: [], samples: [] }
        families.set(name, family)
        if (!family.head.includes(line)) family.head.push(line)
      } else family?.samples.push(line)
    }
  }
  return `${[...families.values()].flatMap(({ head, samples }) => [...head, ...samples]).join('\n')}\n`
}

/** Why the gateway is not ready: each thread says why it is not, or null. A missing thread said undefined. */
export function joinUnready(reasons: readonly unknown[]): string | undefined {
  for (const [index, reason] of reasons.entries()) {
    if (reason === undefined) return `thread ${index} is not up`
    if (typeof reason === 'string') return `thread ${index}: ${reason}`
  }
  return undefined
}

/** `GET /v1/status` of the gateway: the first thread's, with all sessions and moves, the oldest table, and every thread's own. */
export function joinStatus(statuses: readonly unknown[]): unknown {
  const threads = statuses.map((status) => (status ?? { state: 'down' }) as Readonly<Record<string, unknown>>)
  const present = threads.filter(({ state }) => state !== 'down')
  const numbers = (key: string) => present.map((status) => Number(status[key] ?? 0))
  const sum = (key: string) => numbers(key).reduce((total, value) => total + value, 0)
  const version = present.length === 0 ? 0 : Math.min(...numbers('version'))
  const { pid: _, ...first } = present[0] ?? {}
  return { ...first, version, sessions: sum('sessions'), moves: sum('moves'), threads }
}
