/** The nearest gateways, best first, from the table alone. Coordinator and gateways answer `/v1/nearest` with it. Pure. */

import type { GatewayEntry } from './table.js'

/** Degrees. */
export interface Point {
  readonly lat: number
  readonly lon: number
}

/** Where somebody is, as far as they told. */
export interface NearestQuery {
  readonly at?: Point
  /** Gateways of this region come before others at unknown distances. */
  readonly region?: string
  /** How many at most. */
  readonly limit: number
  /** Leave this one out: it sends its devices elsewhere. */
  readonly except?: string
}

/** A gateway as `/v1/nearest` shows it. */
export interface NearGateway extends Omit<GatewayEntry, 'peers'> {
  readonly sessions: number
  /** Absent when one of the two places is unknown. */
  readonly distanceKm?: number
}

/** Mean radius of the Earth in kilometres (IUGG). */
const EARTH_KM = 6371.0088
/** Added to every distance: below about this, other things than distance decide the round trip. */
const NEAR_KM = 50
/** How many times as far a gateway seems when it is almost full. */
const FULL_PENALTY = 4
/** Most gateways that one answer lists. */
export const MAX_NEAREST = 100

/** Great-circle distance in kilometres (haversine formula). */
export function distanceKm(a: Point, b: Point): number {
  const rad = Math.PI / 180
  const lat = ((b.lat - a.lat) * rad) / 2
  const lon = ((b.lon - a.lon) * rad) / 2
  const h = Math.sin(lat) ** 2 + Math.cos(a.lat * rad) * Math.cos(b.lat * rad) * Math.sin(lon) ** 2
  return 2 * EARTH_KM * Math.asin(Math.min(1, Math.sqrt(h)))
}

/**
 * Gateways that take devices come first, full ones behind them, draining ones last. Within each: by distance, stretched
 * by how full a gateway is; where distances are unknown, those of the region first, then the emptiest.
 * @param sessions of a gateway now, by id
 */
export function nearestGateways(
  gateways: Iterable<GatewayEntry>,
  query: NearestQuery,
  sessions: (id: string) => number,
): NearGateway[] {
  const ranked: { gateway: NearGateway; keys: readonly number[] }[] = []
  for (const entry of gateways) {
    if (entry.id === query.except) continue
    const held = sessions(entry.id)
    const km = query.at === undefined || entry.location === undefined ? undefined : distanceKm(query.at, entry.location)
    // Its threads are the gateways' own business.
    const { peers: _, ...shown } = entry
    const gateway = { ...shown, sessions: held, ...(km === undefined ? {} : { distanceKm: Math.round(km * 10) / 10 }) }
    ranked.push({ gateway, keys: rankOf(entry, query, held, km) })
  }
  ranked.sort((a, b) => compare(a.keys, b.keys) || (a.gateway.id < b.gateway.id ? -1 : 1))
  return ranked.slice(0, query.limit).map(({ gateway }) => gateway)
}

function rankOf(entry: GatewayEntry, query: NearestQuery, sessions: number, km: number | undefined): number[] {
  const load = entry.capacity > 0 ? sessions / entry.capacity : 0
  const last = entry.state === 'draining' ? 2 : load >= 1 ? 1 : 0
  const stretch = 1 + (FULL_PENALTY - 1) * Math.min(1, load) ** 4
  const far = km === undefined ? Number.POSITIVE_INFINITY : (km + NEAR_KM) * stretch
  const elsewhere = query.region !== undefined && entry.region !== query.region ? 1 : 0
  return [last, far, elsewhere, load, sessions]
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] as number, b[i] as number]
    if (x !== y) return x < y ? -1 : 1
  }
  return 0
}

/** The query with the place that an address gives, where it says none itself. */
export function placed(query: NearestQuery, place: () => Point | undefined): NearestQuery {
  const at = query.at ?? place()
  return at === undefined ? query : { ...query, at }
}

/**
 * Reads `lat`, `lon`, `region`, `limit` of a query string.
 * @returns the query, or what is wrong with it and with which parameter
 */
export function readNearestQuery(params: {
  get(name: string): string | null
}): NearestQuery | { readonly path: string; readonly problem: string } {
  const number = (name: string): number | undefined => {
    const text = params.get(name)
    return text === null || text.trim() === '' ? undefined : Number(text)
  }
  const [lat, lon, limit] = [number('lat'), number('lon'), number('limit')]
  if ((lat === undefined) !== (lon === undefined)) {
    return { path: lat === undefined ? 'lat' : 'lon', problem: 'lat and lon must be given together' }
  }
  if (lat !== undefined && !(Math.abs(lat) <= 90))
    return { path: 'lat', problem: 'lat must be a number from -90 to 90' }
  if (lon !== undefined && !(Math.abs(lon) <= 180))
    return { path: 'lon', problem: 'lon must be a number from -180 to 180' }
  if (limit !== undefined && !(Number.isInteger(limit) && limit >= 1)) {
    return { path: 'limit', problem: 'limit must be a whole number from 1' }
  }
  const region = params.get('region')
  return {
    ...(lat === undefined || lon === undefined ? {} : { at: { lat, lon } }),
    ...(region === null || region === '' ? {} : { region }),
    limit: Math.min(MAX_NEAREST, limit ?? 10),
  }
}
