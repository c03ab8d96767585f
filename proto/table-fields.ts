/** Reads the parts of a packed routing table. Everything here may be hostile: each field is checked and bounded. */

import { MAX_TEXT, malformed, readChoice, readList, readNumber, readObject, readText } from './fields.js'
import {
  type AffinityKey,
  type GatewayEntry,
  MAX_THREADS,
  POLICIES,
  type Policy,
  type Route,
  type RouteMatch,
  type RouteTarget,
  type TextMatch,
  type WorkerEntry,
  type WorkerState,
} from './table.js'

/** @throws SluiceError `bad_request` */
export function readPolicy(value: unknown, path: string): Policy {
  return readChoice(value, path, POLICIES)
}

/** @throws SluiceError `bad_request` */
export function readKey(value: unknown, path: string): AffinityKey {
  const key = readText(value, path, MAX_TEXT)
  if (key !== 'device' && !/^header:./s.test(key) && !/^topic:\d+$/.test(key)) malformed(path, 'an affinity key')
  return key as AffinityKey
}

function readTextMatch(value: unknown, path: string): TextMatch {
  if (typeof value === 'string') return readText(value, path, MAX_TEXT)
  const fields = readObject(value, path)
  if (typeof fields.exact === 'string') return { exact: readText(fields.exact, path, MAX_TEXT) }
  if (typeof fields.prefix === 'string') return { prefix: readText(fields.prefix, path, MAX_TEXT) }
  if (typeof fields.regex === 'string') return { regex: readText(fields.regex, path, MAX_TEXT) }
  if (typeof fields.present === 'boolean') return { present: fields.present }
  return malformed(path, 'a text condition')
}

function readHeaders(value: unknown, path: string): Record<string, TextMatch> {
  const headers: Record<string, TextMatch> = Object.create(null)
  for (const [name, match] of Object.entries(readObject(value, path))) {
    headers[readText(name, path)] = readTextMatch(match, `${path}.${name}`)
  }
  return { ...headers }
}

function readMatch(value: unknown, path: string): RouteMatch {
  const fields = readObject(value, path)
  const match: { -readonly [K in keyof RouteMatch]: RouteMatch[K] } = {}
  if (fields.topic !== undefined) match.topic = readText(fields.topic, `${path}.topic`, 65535)
  if (fields.type !== undefined) match.type = readChoice(fields.type, `${path}.type`, ['data', 'publish'])
  for (const name of ['protocol', 'region', 'gateway', 'device'] as const) {
    if (fields[name] !== undefined) match[name] = readTextMatch(fields[name], `${path}.${name}`)
  }
  if (fields.headers !== undefined) match.headers = readHeaders(fields.headers, `${path}.headers`)
  return match
}

function readTarget(value: unknown, path: string): RouteTarget {
  const fields = readObject(value, path)
  return {
    pool: readText(fields.pool, `${path}.pool`),
    weight: readNumber(fields.weight, `${path}.weight`, 0, Number.MAX_SAFE_INTEGER),
  }
}

/** @throws SluiceError `bad_request` */
export function readRoute(value: unknown, path: string): Route {
  const fields = readObject(value, path)
  return {
    name: readText(fields.name, `${path}.name`),
    match: readMatch(fields.match, `${path}.match`),
    to: readList(fields.to, `${path}.to`, 1000).map((target, i) => readTarget(target, `${path}.to[${i}]`)),
  }
}

const WORKER_STATES: readonly WorkerState[] = ['up', 'draining', 'ejected']

/** @throws SluiceError `bad_request` */
export function readWorker(value: unknown, path: string): WorkerEntry {
  const fields = readObject(value, path)
  return {
    id: readText(fields.id, `${path}.id`),
    pool: readText(fields.pool, `${path}.pool`),
    link: readText(fields.link, `${path}.link`, MAX_TEXT),
    weight: readNumber(fields.weight, `${path}.weight`, 0, 1000),
    state: readChoice(fields.state, `${path}.state`, WORKER_STATES),
  }
}

/** @throws SluiceError `bad_request` */
export function readLocation(value: unknown, path: string): { lat: number; lon: number } {
  const fields = readObject(value, path)
  return {
    lat: readNumber(fields.lat, `${path}.lat`, -90, 90),
    lon: readNumber(fields.lon, `${path}.lon`, -180, 180),
  }
}

/** @throws SluiceError `bad_request` */
export function readPeers(value: unknown, path: string): string[] {
  return readList(value, path, MAX_THREADS).map((peer, i) => readText(peer, `${path}[${i}]`, MAX_TEXT))
}

/** @throws SluiceError `bad_request` */
export function readGateway(value: unknown, path: string): GatewayEntry {
  const fields = readObject(value, path)
  return {
    id: readText(fields.id, `${path}.id`),
    region: readText(fields.region, `${path}.region`),
    ...(fields.location === undefined ? {} : { location: readLocation(fields.location, `${path}.location`) }),
    http: readText(fields.http, `${path}.http`, MAX_TEXT),
    ws: readText(fields.ws, `${path}.ws`, MAX_TEXT),
    mqtt: readText(fields.mqtt, `${path}.mqtt`, MAX_TEXT),
    ...(fields.peers === undefined ? {} : { peers: readPeers(fields.peers, `${path}.peers`) }),
    state: readChoice(fields.state, `${path}.state`, ['up', 'draining']),
    capacity: readNumber(fields.capacity, `${path}.capacity`, 0, Number.MAX_SAFE_INTEGER),
  }
}
