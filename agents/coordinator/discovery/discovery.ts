/** The one interface behind which workers are found that cannot register themselves. */

import { SluiceError } from '../../../proto/errors.js'
import { workerProblem } from '../../../proto/table-check.js'
import type { Clock, Log } from '../clock.js'

/** A worker as a source knows it: where to connect, and what it says beside. The worker's own HELLO says the rest. */
export interface DiscoveredMember {
  /** `tcp://HOST:PORT`, `tls://HOST:PORT` or `unix:/PATH`; two members with the same link are one. */
  readonly link: string
  /** For a worker whose HELLO names no pool. */
  readonly pool?: string
  /** 0 to 1000; 1 unless given. */
  readonly weight?: number
  /** As in DNS SRV: members with a higher number get nothing while one with a lower number is healthy. 0 unless given. */
  readonly priority?: number
}

/** A source of members. */
export interface Discovery {
  /** For logs and events; holds no secret. */
  readonly name: string
  /** Why it is away, while it is: then the list that it gave last holds. */
  readonly problem: string | undefined
  /**
   * Begins. `onMembers` is called with the whole list, first when it is known and then whenever it changed. While the source
   * is away nothing is called: the last list holds.
   */
  start(onMembers: OnMembers): void
  /** Ends it; resolves when nothing of it runs any more. Nothing is called afterwards. */
  close(): Promise<void>
}

/** Takes a whole list. */
export type OnMembers = (members: readonly DiscoveredMember[]) => void

/** What every source is given. */
export interface SourceContext {
  readonly clock: Clock
  /** 0 to 1, for jitter. */
  readonly random: () => number
  readonly log: Log
  /** For the sources that speak HTTP; the global one unless given. */
  readonly fetch?: typeof fetch
}

/** Most members of one source; what is above is left out, and the log says so. */
export const MAX_MEMBERS = 10_000

/** Undefined when a member can be dialled and stand in a table; else what is wrong with it. */
export function memberProblem({ link, pool = 'any', weight = 1, priority = 0 }: DiscoveredMember): string | undefined {
  if (!(priority >= 0 && priority <= 65_535)) return 'its priority must be a number from 0 to 65535'
  return workerProblem({ id: 'any', link, pool, weight })
}

/**
 * A member from fields that somebody typed into a source. Fields of other names are ignored.
 * @throws SluiceError `bad_request` saying what is wrong
 */
export function readMember(fields: Readonly<Record<string, unknown>>): DiscoveredMember {
  const { link, pool, weight, priority } = fields
  if (typeof link !== 'string') throw new SluiceError('bad_request', 'it has no link', { path: 'link' })
  if (pool !== undefined && typeof pool !== 'string')
    throw new SluiceError('bad_request', 'its pool is not a text', { path: 'pool' })
  const member = {
    link,
    ...(pool === undefined ? {} : { pool }),
    ...(weight === undefined ? {} : { weight: numberOf(weight, 'weight') }),
    ...(priority === undefined ? {} : { priority: numberOf(priority, 'priority') }),
  }
  const problem = memberProblem(member)
  if (problem !== undefined) throw new SluiceError('bad_request', problem)
  return member
}

/** Metadata of catalogs is text, numbers too. */
function numberOf(value: unknown, path: string): number {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  if (typeof number !== 'number' || !Number.isFinite(number))
    throw new SluiceError('bad_request', `its ${path} is not a number`, { path })
  return number
}

/** The same members, each link once, in the order of their links: lists compare as they are meant then. */
export function tidyMembers(members: Iterable<DiscoveredMember>, name: string, log: Log): DiscoveredMember[] {
  const byLink = new Map<string, DiscoveredMember>()
  for (const member of members) if (!byLink.has(member.link)) byLink.set(member.link, member)
  const tidy = [...byLink.values()].sort((a, b) => (a.link < b.link ? -1 : 1))
  if (tidy.length <= MAX_MEMBERS) return tidy
  log.warn({ source: name, members: tidy.length, used: MAX_MEMBERS }, `${name} lists more workers than are taken`)
  return tidy.slice(0, MAX_MEMBERS)
}
