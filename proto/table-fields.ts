/** Reads the parts of a packed routing table. Everything here may be hostile: each field is checked and bounded. */

import { SluiceError } from './errors.js'
import {
  type AffinityKey,
  type GatewayEntry,
  POLICIES,
  type Policy,
  type Route,
  type RouteMatch,
  type RouteTarget,
  type TextMatch,
  type WorkerEntry,
  type WorkerState,
} from './table.js'

/** Longest id of a worker, gateway, pool or route, in characters. */
export const MAX_ID = 256
/** Longest URL, header condition or key in a table, in characters. */
export const MAX_TEXT = 4096

type Fields = Readonly<Record<string, unknown>>

/** Throws the error that every malformed table ends with; `path` names the part. */
export function malformed(path: string, wanted: string): never {
  throw new SluiceError('bad_request', `packed table: ${path} is not ${wanted}`, { path })
}

/** @throws SluiceError `bad_request` unless `value` is a plain record. */
export function readObject(value: unknown, path: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || ArrayBuffer.isView(value)) {
    malformed(path, 'a record')
  }
  return value as Fields
}

/** @throws SluiceError `bad_request` unless `value` is an array of at most `max` entries. */
export function readList(value: unknown, path: string, max: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length > max) malformed(path, `a list of at most ${max}`)
  return value
}

/** @throws SluiceError `bad_request` unless `value` is a string of at most `max` characters. */
export function readText(value: unknown, path: string, max = MAX_ID): string {
  if (typeof value !== 'string' || value.length > max) malformed(path, `a text of at most ${max} characters`)
  return value
}

/** @throws SluiceError `bad_request` unless `value` is a finite number in `[min, max]`. */
export function readNumber(value: unknown, path: string, min: number, max: number): number {
  if (typeof value !== 'number' || !(value >= min && value <= max)) malformed(path, `a number from ${min} to ${max}`)
  return value
}

/** @throws SluiceError `bad_request` unless `value` is a whole number in `[min, max]`. */
export function readCount(value: unknown, path: string, min: number, max: number): number {
  const number = readNumber(value, path, min, max)
  if (!Number.isInteger(number)) malformed(path, 'a whole number')
  return number
}

/** @throws SluiceError `bad_request` unless `value` is a byte string. */
export function readBytes(value: unknown, path: string): Uint8Array {
  if (!(value instanceof Uint8Array)) malformed(path, 'a byte string')
  return value
}

function readChoice<T extends string>(value: unknown, path: string, choices: readonly T[]): T {
  if (!choices.includes(value as T)) malformed(path, `one of ${choices.join(', ')}`)
  return value as T
}

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
  for (const name of ['protocol', 'region', 'device'] as const) {
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

function readLocation(value: unknown, path: string): { lat: number; lon: number } {
  const fields = readObject(value, path)
  return {
    lat: readNumber(fields.lat, `${path}.lat`, -90, 90),
    lon: readNumber(fields.lon, `${path}.lon`, -180, 180),
  }
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
    state: readChoice(fields.state, `${path}.state`, ['up', 'draining']),
    capacity: readNumber(fields.capacity, `${path}.capacity`, 0, Number.MAX_SAFE_INTEGER),
  }
}
