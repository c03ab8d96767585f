/** Where a caller is, by its address: a MaxMind-format database (.mmdb) of the user's own turns it into coordinates. */

import { readFile, stat } from 'node:fs/promises'
import { SluiceError } from '../../proto/errors.js'
import type { Point } from '../../proto/nearest.js'
import { callerAddress, trustedProxies } from './caller.js'

/** Tells where somebody is, undefined when that is not known. */
export type Places = (remote: string, forwardedFor: string | undefined) => Point | undefined

export interface PlacesOptions {
  /** Path of the database. */
  readonly geoDatabase?: string
  /** Addresses and CIDR blocks of proxies whose `X-Forwarded-For` is believed. */
  readonly trustedProxy?: readonly string[]
  /** Milliseconds that never go back. */
  readonly now: () => number
  /** Told when the database changed and cannot be read any more; the one before stays in use. */
  readonly complain: (problem: string) => void
}

interface Database {
  get(address: string): unknown
}

/** How often it is looked whether the file changed: the usual ones come anew once or twice a week. */
const LOOK_AGAIN_MS = 60_000

/** @throws SluiceError `bad_request` for a database or a list of proxies that cannot be used */
export async function openPlaces(options: PlacesOptions): Promise<Places> {
  const { geoDatabase: path, trustedProxy = [], now, complain } = options
  const proxies = trustedProxies(trustedProxy)
  if (path === undefined) return () => undefined
  let database = await load(path)
  let changed = await changedAt(path)
  let looked = now()
  const lookAgain = async () => {
    const at = await changedAt(path)
    if (at === changed) return
    database = await load(path)
    changed = at
  }
  return (remote, forwardedFor) => {
    if (now() - looked > LOOK_AGAIN_MS) {
      looked = now()
      lookAgain().catch((error: unknown) => complain(error instanceof Error ? error.message : String(error)))
    }
    return pointOf(lookup(database, callerAddress(remote, forwardedFor, proxies)))
  }
}

async function changedAt(path: string): Promise<number> {
  return (await stat(path)).mtimeMs
}

async function load(path: string): Promise<Database> {
  try {
    // Loaded here: only who has a database needs it.
    const { Reader } = await import('maxmind')
    return new Reader(await readFile(path))
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new SluiceError('bad_request', `--geo-database ${path} cannot be used: ${why}`, {
      path: '--geo-database',
      cause,
    })
  }
}

/** An address that is none, and a database that is broken inside, are places that nobody knows. */
function lookup(database: Database, address: string): unknown {
  try {
    return database.get(address)
  } catch {
    return undefined
  }
}

/** The `location` of a City record. */
function pointOf(found: unknown): Point | undefined {
  const location = (found as { location?: { latitude?: unknown; longitude?: unknown } } | null | undefined)?.location
  const { latitude: lat, longitude: lon } = location ?? {}
  if (typeof lat !== 'number' || typeof lon !== 'number') return undefined
  return Math.abs(lat) <= 90 && Math.abs(lon) <= 180 ? { lat, lon } : undefined
}
