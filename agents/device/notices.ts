/** What gateways say about errors and moving: ERROR and GOAWAY frames, and close codes. */

import { ERRORS, type ErrorCode, errorCodeOf, SluiceError } from '../../proto/errors.js'

/** Codes after which another attempt cannot help. */
export const FATAL: ReadonlySet<string> = new Set<ErrorCode>([
  'unauthorized',
  'forbidden',
  'no_device_id',
  'bad_device_id',
  'protocol_mismatch',
  'taken_over',
])
/** Codes that mean: this frame was not taken, send it again from there. */
export const SEND_AGAIN: ReadonlySet<string> = new Set<ErrorCode>(['overloaded', 'bad_seq'])
/** An ERROR frame's headers: the error, and the seq of the frame that it is about (0: none). */
export function readError(headers: Readonly<Record<string, string>>): { error: SluiceError; seq: number } {
  const { code, message, seq } = headers
  const known: ErrorCode = code !== undefined && code in ERRORS ? (code as ErrorCode) : 'internal'
  const retryAfterMs = milliseconds(headers.retryAfterMs)
  const error = new SluiceError(known, message, retryAfterMs === undefined ? {} : { retryAfterMs })
  return { error, seq: Number(seq) || 0 }
}

/** The error behind a close code: gateways close with 4000 plus the error's number. */
export function errorOfClose(code: number, reason: string): SluiceError | undefined {
  if (code <= 4000 || code >= 4100) return undefined
  const name = errorCodeOf(code - 4000)
  return new SluiceError(name, reason === '' ? undefined : reason)
}

/** A header that is a time in milliseconds, at most a minute. */
export function milliseconds(text: string | undefined): number | undefined {
  const value = Number(text)
  return text === undefined || !(value >= 0) ? undefined : Math.min(60_000, value)
}

/** Whatever was thrown, as the one error class. */
export function asError(error: unknown, what: string): SluiceError {
  if (error instanceof SluiceError) return error
  return new SluiceError('unavailable', `${what}: ${error instanceof Error ? error.message : String(error)}`, {
    cause: error,
  })
}
