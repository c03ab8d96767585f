/**
 * Which gateway to use: asks the bootstrap URLs for candidates, measures the round trip to each, and ranks them.
 * A probe is `GET /healthz` of the gateway, three times in a row, all gateways at once; the shortest counts, so that
 * connection set-up and one unlucky packet do not.
 */

import { SluiceError } from '../../proto/errors.js'
import type { Platform } from './platform.js'

export interface Location {
  lat: number
  lon: number
}

/** A gateway that may be used. */
export interface Candidate {
  readonly id: string
  /** `ws://HOST:PORT/v1/connect` */
  readonly ws: string
  /** Base URL for probes, undefined when only the WebSocket URL is known. */
  readonly http: string | undefined
  /** `mqtt://HOST:PORT`, where the gateway said so. */
  readonly mqtt?: string
  readonly draining: boolean
  /** Sessions over capacity; 0 when no capacity is stated. */
  readonly load: number
}

export interface Ranked extends Candidate {
  /** Milliseconds; Infinity when no probe came back in time. */
  readonly rttMs: number
  /** Lower is better. */
  readonly score: number
}

export interface ProbeLimits {
  /** Gateways that are probed, 3 to 5. */
  readonly candidates: number
  readonly probes: number
  /** For all probes together, in milliseconds. */
  readonly deadlineMs: number
}

export const DEFAULT_PROBES: ProbeLimits = { candidates: 5, probes: 3, deadlineMs: 2000 }

/** Another gateway must be better than the one in use by this factor and this many milliseconds to be preferred. */
const HYSTERESIS = { factor: 0.8, ms: 3 } as const
/** A full gateway's round trip counts this many times. */
const FULL_PENALTY = 4

/**
 * Round trip, stretched by load: half full costs a little, full costs four times. Draining and full ones come behind all others.
 */
export function score(rttMs: number, load: number, draining: boolean): number {
  const last = draining || load >= 1 ? 1e6 : 0
  return last + rttMs * (1 + (FULL_PENALTY - 1) * Math.min(1, load) ** 4)
}

/** Best first; the gateway in use stays first unless another is clearly better. */
export function rank(measured: readonly (Candidate & { rttMs: number })[], current: string | undefined): Ranked[] {
  const ranked = measured.map((one) => ({ ...one, score: score(one.rttMs, one.load, one.draining) }))
  ranked.sort((a, b) => (a.score === b.score ? 0 : a.score - b.score))
  const at = ranked.findIndex(({ id }) => id === current)
  const best = ranked[0]
  const kept = ranked[at]
  if (best === undefined || kept === undefined || at === 0) return ranked
  if (clearlyBetter(best, kept) || !Number.isFinite(kept.score)) return ranked
  return [kept, ...ranked.filter(({ id }) => id !== current)]
}

/** True when the difference is more than chance and haste. */
export function clearlyBetter(one: Ranked, other: Ranked): boolean {
  return one.score < other.score * HYSTERESIS.factor && one.score < other.score - HYSTERESIS.ms
}

/** Asks the bootstrap URLs in turn; the first that answers with gateways is believed. */
export async function findCandidates(
  platform: Platform,
  bootstrap: readonly string[],
  location: Location | undefined,
  limits: ProbeLimits,
): Promise<Candidate[]> {
  const direct = bootstrap.filter((url) => /^wss?:/.test(url)).map(directCandidate)
  let problem = ''
  for (const url of bootstrap) {
    if (/^wss?:/.test(url)) continue
    try {
      const found = readNearest(
        await getJson(platform, nearestUrl(url, location, limits.candidates), limits.deadlineMs),
      )
      if (found.length > 0) return [...found.slice(0, limits.candidates), ...direct]
      problem = `${url} knows no gateway`
    } catch (error) {
      problem = `${url}: ${error instanceof Error ? error.message : String(error)}`
    }
  }
  if (direct.length > 0) return direct
  throw new SluiceError('unavailable', `no bootstrap URL answered; the last one: ${problem}`)
}

/** Measures all candidates at once. A single one is not measured: there is nothing to choose. */
export async function measure(
  platform: Platform,
  candidates: readonly Candidate[],
  limits: ProbeLimits,
): Promise<(Candidate & { rttMs: number })[]> {
  if (candidates.length === 1) return candidates.map((one) => ({ ...one, rttMs: 0 }))
  const abort = new AbortController()
  const cancel = platform.after(limits.deadlineMs, () => abort.abort())
  try {
    return await Promise.all(
      candidates.map(async (one) => ({ ...one, rttMs: await roundTrip(platform, one, limits.probes, abort.signal) })),
    )
  } finally {
    cancel()
  }
}

async function roundTrip(
  platform: Platform,
  candidate: Candidate,
  probes: number,
  signal: AbortSignal,
): Promise<number> {
  let best = Number.POSITIVE_INFINITY
  const url = `${candidate.http ?? httpOf(candidate.ws)}/healthz`
  for (let probe = 0; probe < probes && !signal.aborted; probe++) {
    const before = platform.now()
    try {
      // An opaque answer is enough: only its time matters, so no CORS headers are needed.
      const response = await platform.fetch(url, { signal, cache: 'no-store', mode: 'no-cors' })
      await response.arrayBuffer()
      if (response.type !== 'opaque' && !response.ok) return best
    } catch {
      return best
    }
    best = Math.min(best, platform.now() - before)
  }
  return best
}

async function getJson(platform: Platform, url: string, deadlineMs: number): Promise<unknown> {
  const abort = new AbortController()
  const cancel = platform.after(deadlineMs, () => abort.abort())
  try {
    const response = await platform.fetch(url, { signal: abort.signal, cache: 'no-store' })
    if (!response.ok) throw new Error(`HTTP ${response.status}`)
    return await response.json()
  } finally {
    cancel()
  }
}

function nearestUrl(bootstrap: string, location: Location | undefined, limit: number): string {
  const url = new URL('/v1/nearest', bootstrap)
  url.searchParams.set('limit', String(limit))
  if (location !== undefined) {
    url.searchParams.set('lat', String(location.lat))
    url.searchParams.set('lon', String(location.lon))
  }
  return url.href
}

/** The answer of `/v1/nearest`: `{gateways: [...]}` or the list itself. Entries without a usable WebSocket URL are left out. */
export function readNearest(body: unknown): Candidate[] {
  const list = Array.isArray(body) ? body : (body as { gateways?: unknown } | null)?.gateways
  if (!Array.isArray(list)) return []
  const found: Candidate[] = []
  for (const entry of list as (Record<string, unknown> | null)[]) {
    const ws = entry?.ws
    if (typeof ws !== 'string' || !/^wss?:\/\//.test(ws) || !URL.canParse(ws)) continue
    const { id, http, mqtt, state, sessions, capacity } = entry as Record<string, unknown>
    const load = typeof sessions === 'number' && typeof capacity === 'number' && capacity > 0 ? sessions / capacity : 0
    found.push({
      id: typeof id === 'string' ? id : ws,
      ws,
      http: typeof http === 'string' && URL.canParse(http) ? http.replace(/\/$/, '') : undefined,
      ...(typeof mqtt === 'string' && { mqtt }),
      draining: state === 'draining',
      load: Math.max(0, load),
    })
  }
  return found
}

/** A WebSocket URL that the user gave, or GOAWAY named. */
export function directCandidate(url: string): Candidate {
  const parsed = new URL(url)
  if (parsed.pathname === '/') parsed.pathname = '/v1/connect'
  return { id: parsed.href, ws: parsed.href, http: undefined, draining: false, load: 0 }
}

function httpOf(ws: string): string {
  return new URL(ws).origin.replace(/^ws/, 'http')
}
