/**
 * Why a gateway did not accept a connection. A WebSocket shows only that it failed; the same URL asked over HTTP answers
 * with Sluice's error body, when the gateway is there and lets this page read it.
 */

import { ERRORS, type ErrorCode, SluiceError } from '../../proto/errors.js'
import type { Platform } from './platform.js'

/** How long the answer may take, in milliseconds. */
const DEADLINE_MS = 2000
/** What a plain GET can tell about the upgrade; other answers are about the GET itself. */
const TELLING: ReadonlySet<string> = new Set<ErrorCode>([
  'unauthorized',
  'forbidden',
  'no_device_id',
  'bad_device_id',
  'overloaded',
  'draining',
])

export async function diagnose(platform: Platform, url: string, gateway: string): Promise<SluiceError> {
  const unknown = new SluiceError('unavailable', `gateway ${gateway} did not accept the connection`)
  const abort = new AbortController()
  const cancel = platform.after(DEADLINE_MS, () => abort.abort())
  try {
    const response = await platform.fetch(url.replace(/^ws/, 'http'), { signal: abort.signal, cache: 'no-store' })
    if (response.ok) return unknown
    const { error } = (await response.json()) as { error?: { code?: string; message?: string; retryAfterMs?: number } }
    if (error?.code === undefined || !TELLING.has(error.code) || !(error.code in ERRORS)) return unknown
    const details = typeof error.retryAfterMs === 'number' ? { retryAfterMs: error.retryAfterMs } : {}
    return new SluiceError(error.code as ErrorCode, error.message, details)
  } catch {
    return unknown
  } finally {
    cancel()
  }
}
