/** The routes in force and how they came to be: apply, roll back, history. */

import { SluiceError } from '../../proto/errors.js'
import { diffRoutes } from './route-diff.js'
import type { RouteSpec } from './table-builder.js'

/** Entries kept; the oldest go first. */
const KEPT = 200

/** One change of the routes. */
export interface HistoryEntry {
  /** First table version that carried it. */
  readonly version: number
  readonly who: string
  /** ISO 8601. */
  readonly when: string
  readonly what: string
  /** Why, as the one who did it said. */
  readonly message?: string
  /** Lines of {@link diffRoutes}. */
  readonly diff: readonly string[]
  readonly spec: RouteSpec
}

/** Who changes something, and why. */
export interface Author {
  readonly who: string
  readonly message?: string
}

/** What the book needs around it. */
export interface RouteBookOptions {
  readonly wall: () => number
  /** Puts routes in force; returns the table version that carries them. */
  readonly put: (spec: RouteSpec, cause: string) => number
}

/** Owns the history. */
export class RouteBook {
  readonly #options: RouteBookOptions
  #history: HistoryEntry[]

  constructor(options: RouteBookOptions, history: readonly HistoryEntry[]) {
    this.#options = options
    this.#history = [...history]
  }

  /** Oldest first. */
  get history(): readonly HistoryEntry[] {
    return this.#history
  }

  /** The change that is in force; undefined only before the first. */
  get current(): HistoryEntry | undefined {
    return this.#history.at(-1)
  }

  /** True when these routes are in force already: applying them would change nothing. */
  holds(spec: RouteSpec): boolean {
    return this.current !== undefined && diffRoutes(this.current.spec, spec).length === 0
  }

  /** Puts routes in force. Those that are already make no entry and no version: then it is the entry that brought them. */
  apply(spec: RouteSpec, what: string, author: Author): HistoryEntry {
    const before = this.current
    if (before !== undefined && this.holds(spec)) return before
    const diff = before === undefined ? [] : diffRoutes(before.spec, spec)
    const why = author.message === undefined ? '' : `: ${author.message}`
    const version = this.#options.put(spec, `${what} by ${author.who}${why}`)
    return this.#add(spec, what, author, version, diff)
  }

  /** Routes that are in force already, brought there by a rollout. */
  record(spec: RouteSpec, what: string, author: Author, version: number): HistoryEntry {
    const diff = this.current === undefined ? [] : diffRoutes(this.current.spec, spec)
    return this.#add(spec, what, author, version, diff)
  }

  #add(
    spec: RouteSpec,
    what: string,
    { who, message }: Author,
    version: number,
    diff: readonly string[],
  ): HistoryEntry {
    const when = new Date(this.#options.wall()).toISOString()
    const entry = { version, who, when, what, ...(message === undefined ? {} : { message }), diff, spec }
    this.#history = [...this.#history, entry].slice(-KEPT)
    return entry
  }

  /** The change of that version. @throws SluiceError `not_found` */
  entry(version: number): HistoryEntry {
    const found = this.#history.find((entry) => entry.version === version)
    if (found !== undefined) return found
    const known = this.#history.slice(-10).map((entry) => entry.version)
    throw new SluiceError(
      'not_found',
      `no change of the routes has version ${version}; the last ones: ${known.join(', ')}`,
      {
        path: 'version',
      },
    )
  }

  /** Puts the routes of an earlier version in force again. @throws SluiceError `not_found` */
  rollback(version: number, author: Author): HistoryEntry {
    return this.apply(this.entry(version).spec, `rolled back to ${version}`, author)
  }
}

/** Routes in the form of the routes file. */
export function routesFileOf({ pools, routes }: RouteSpec): { pools: Record<string, object>; routes: object[] } {
  return {
    pools: Object.fromEntries(pools.map(({ name, ...settings }) => [name, settings])),
    routes: routes.map(({ name, match, to }) => ({ name, ...(Object.keys(match).length === 0 ? {} : { match }), to })),
  }
}
