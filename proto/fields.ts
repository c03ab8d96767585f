/** Readers for values that came over a wire or off a disk: each checks one field, bounds it, and names it when it is wrong. */

import { SluiceError } from './errors.js'

/** A decoded record whose values are still to be checked. */
export type Fields = Readonly<Record<string, unknown>>

/** Longest id of a worker, gateway, pool or route, in characters. */
export const MAX_ID = 256
/** Longest URL, header condition or key, in characters. */
export const MAX_TEXT = 4096

/** Throws the error that every malformed message ends with; `path` names the part. */
export function malformed(path: string, wanted: string): never {
  throw new SluiceError('bad_request', `${path} is not ${wanted}`, { path })
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

/** @throws SluiceError `bad_request` unless `value` is one of `choices`. */
export function readChoice<T extends string>(value: unknown, path: string, choices: readonly T[]): T {
  if (!choices.includes(value as T)) malformed(path, `one of ${choices.join(', ')}`)
  return value as T
}
