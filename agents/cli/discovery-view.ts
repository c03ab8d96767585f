/** How the sources of discovered workers look in a terminal. */

import { type Column, printable, renderTable } from './table-view.js'

/** Answer of `GET /v1/discovery`. */
export interface DiscoveryView {
  /** `members` is missing until there was a first list, `problem` while the source answers. */
  readonly sources: readonly Source[]
  readonly workers: readonly DiscoveredWorker[]
}

interface Source {
  readonly name: string
  readonly members?: number
  readonly problem?: string
}

interface DiscoveredWorker {
  readonly link: string
  /** While it is in the fleet. */
  readonly id?: string
  readonly state: string
  /** Why it is not in the fleet, or may not stay in it. */
  readonly problem?: string
}

const SOURCES: readonly Column<Source>[] = [
  { title: 'SOURCE', value: (row) => row.name, flexible: true },
  { title: 'LISTS', value: (row) => row.members, align: 'right' },
  { title: 'STATE', value: (row) => stateOf(row) },
]

const WORKERS: readonly Column<DiscoveredWorker>[] = [
  { title: 'LINK', value: (row) => row.link, flexible: true },
  { title: 'WORKER', value: (row) => row.id, flexible: true },
  { title: 'STATE', value: (row) => row.state },
]

/**
 * Two tables, and under them what is wrong, whole: a reason that is cut off is none.
 * @param width longest line of the tables in characters
 */
export function renderDiscovery({ sources, workers }: DiscoveryView, width: number): string {
  if (sources.length === 0) return 'This coordinator discovers no workers: they register themselves.'
  const problems = [
    ...sources.map(({ name, problem }) => ({ name, problem })),
    ...workers.map(({ link, problem }) => ({ name: link, problem })),
  ].flatMap(({ name, problem }) => (problem === undefined ? [] : [`${printable(name)}: ${printable(problem)}`]))
  return [
    renderTable(sources, SOURCES, width),
    ...(workers.length === 0 ? [] : ['', renderTable(workers, WORKERS, width)]),
    ...(problems.length === 0 ? [] : ['', ...problems]),
  ].join('\n')
}

function stateOf({ members, problem }: Source): string {
  if (problem !== undefined) return 'away'
  return members === undefined ? 'not asked yet' : 'answers'
}
