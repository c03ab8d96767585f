/** A table checks itself before it travels, and again before a gateway serves it. */

import { SLOTS } from './hash.js'
import { strayOwner } from './slot-delta.js'
import { type GatewayEntry, POLICIES, type Pool, type Route, type RoutingTable, type WorkerEntry } from './table.js'
import { isTopicFilter } from './topic.js'

/** Most problems that {@link checkTable} lists; a broken table breaks the same rule thousands of times. */
const MAX_PROBLEMS = 20

/**
 * Everything that is wrong with `table`, each as `PART: what is wrong`; empty when gateways can serve it.
 * At most 20 are listed.
 */
export function checkTable(table: RoutingTable): string[] {
  const problems: string[] = []
  const report = (path: string, problem: string | undefined): void => {
    if (problem !== undefined && problems.length < MAX_PROBLEMS) problems.push(`${path}: ${problem}`)
  }
  if (!Number.isSafeInteger(table.version) || table.version < 1) report('version', 'must be a whole number from 1')
  checkRoutes(table, report)
  for (const [name, pool] of table.pools) {
    if (pool.name !== name) report(`pools.${name}`, `is called ${JSON.stringify(pool.name)} inside`)
    checkPool(pool, table.workers, report)
  }
  for (const [id, worker] of table.workers) checkWorker(id, worker, table, report)
  for (const [id, gateway] of table.gateways) {
    report(
      `gateways.${id}`,
      gateway.id === id ? gatewayProblem(gateway) : `is called ${JSON.stringify(gateway.id)} inside`,
    )
  }
  return problems
}

type Report = (path: string, problem: string | undefined) => void

function checkRoutes(table: RoutingTable, report: Report): void {
  const names = new Set<string>()
  for (const [i, route] of table.routes.entries()) {
    const path = `routes[${i}]`
    if (names.has(route.name)) report(`${path}.name`, `another route is called ${JSON.stringify(route.name)} already`)
    names.add(route.name)
    const topic = route.match.topic
    if (topic !== undefined && !isTopicFilter(topic)) report(`${path}.match.topic`, 'is not an MQTT topic filter')
    checkTargets(route, path, table, report)
  }
}

function checkTargets(route: Route, path: string, table: RoutingTable, report: Report): void {
  if (route.to.length === 0) report(`${path}.to`, 'names no pool')
  for (const [i, { pool, weight }] of route.to.entries()) {
    if (!table.pools.has(pool)) report(`${path}.to[${i}].pool`, `no pool is called ${JSON.stringify(pool)}`)
    if (!Number.isFinite(weight) || weight < 0) report(`${path}.to[${i}].weight`, 'must be a number from 0')
  }
}

function checkPool(pool: Pool, workers: ReadonlyMap<string, WorkerEntry>, report: Report): void {
  const path = `pools.${pool.name}`
  if (!POLICIES.includes(pool.policy)) report(`${path}.policy`, `is not one of ${POLICIES.join(', ')}`)
  if (!(pool.maxLoad >= 1)) report(`${path}.maxLoad`, 'must be at least 1')
  if (new Set(pool.members).size !== pool.members.length) report(`${path}.members`, 'names a worker twice')
  for (const [i, id] of pool.members.entries()) {
    const worker = workers.get(id)
    if (worker === undefined) report(`${path}.members[${i}]`, `no worker is called ${JSON.stringify(id)}`)
    else if (worker.pool !== pool.name)
      report(`${path}.members[${i}]`, `worker ${JSON.stringify(id)} belongs to pool ${JSON.stringify(worker.pool)}`)
  }
  checkSlots(pool, path, report)
}

function checkSlots({ policy, slots, members }: Pool, path: string, report: Report): void {
  if (policy !== 'consistent_hash') {
    if (slots.length !== 0) report(`${path}.slots`, `policy ${policy} has no slots`)
    return
  }
  if (slots.length !== SLOTS) {
    report(`${path}.slots`, `must be ${SLOTS}, not ${slots.length}`)
    return
  }
  const stray = strayOwner(slots, members.length)
  if (stray >= 0) report(`${path}.slots[${stray}]`, `owner ${slots[stray]} is not a member`)
}

function checkWorker(id: string, worker: WorkerEntry, table: RoutingTable, report: Report): void {
  const path = `workers.${id}`
  report(path, worker.id === id ? workerProblem(worker) : `is called ${JSON.stringify(worker.id)} inside`)
  if (!table.pools.has(worker.pool)) report(`${path}.pool`, `no pool is called ${JSON.stringify(worker.pool)}`)
}

/** What is wrong with a worker's own entry, undefined when nothing is. The coordinator asks it before it lets a worker in. */
export function workerProblem({ id, pool, link, weight }: Omit<WorkerEntry, 'state'>): string | undefined {
  if (!isId(id)) return 'its id must be 1 to 256 characters without control characters'
  if (!isId(pool)) return 'its pool must be 1 to 256 characters without control characters'
  if (!isLink(link)) return `its link ${JSON.stringify(link)} is none of tcp://HOST:PORT, tls://HOST:PORT, unix:/PATH`
  if (!(weight >= 0 && weight <= 1000)) return 'its weight must be a number from 0 to 1000'
  return undefined
}

/** What is wrong with a gateway's own entry, undefined when nothing is. `mqtt` may be empty: it offers none. */
export function gatewayProblem({
  id,
  region,
  http,
  ws,
  mqtt,
  location,
  peers = [],
  capacity,
}: Omit<GatewayEntry, 'state'>): string | undefined {
  if (!isId(id)) return 'its id must be 1 to 256 characters without control characters'
  if (region.length > 256) return 'its region must be at most 256 characters'
  if (!isUrl(http, ['http:', 'https:'])) return `its http address ${JSON.stringify(http)} is not http://HOST:PORT`
  if (!isUrl(ws, ['ws:', 'wss:'])) return `its ws address ${JSON.stringify(ws)} is not ws://HOST:PORT/v1/connect`
  if (mqtt !== '' && !isUrl(mqtt, ['mqtt:', 'mqtts:']))
    return `its mqtt address ${JSON.stringify(mqtt)} is not mqtt://HOST:PORT`
  const peer = peers.find((url) => !isUrl(url, ['http:', 'https:']))
  if (peer !== undefined) return `its peer address ${JSON.stringify(peer)} is not http://HOST:PORT`
  if (location !== undefined && !(Math.abs(location.lat) <= 90 && Math.abs(location.lon) <= 180)) {
    return 'its location must be a latitude from -90 to 90 and a longitude from -180 to 180'
  }
  if (!(capacity >= 0)) return 'its capacity must be a number from 0'
  return undefined
}

/** True for an id that can stand in logs, URLs and metrics: 1 to 256 characters, no control characters. */
export function isId(text: string): boolean {
  if (text.length === 0 || text.length > 256) return false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return false
  }
  return true
}

function isLink(link: string): boolean {
  if (link.length > 4096) return false
  if (link.startsWith('unix:/')) return link.length > 6 && !link.includes('\0')
  const match = /^(?:tcp|tls):\/\/(?:\[[0-9a-fA-F:.]+\]|[^\s/:@[\]]+):(\d{1,5})$/.exec(link)
  return match !== null && Number(match[1]) >= 1 && Number(match[1]) <= 65535
}

function isUrl(text: string, protocols: readonly string[]): boolean {
  if (text.length > 4096 || !URL.canParse(text)) return false
  const { protocol, hostname } = new URL(text)
  return protocols.includes(protocol) && hostname !== ''
}
