/**
 * The link's control records: one plain msgpack map each, so that a worker in any language reads them with any msgpack
 * library (link-attach.ts writes the two that each connect brings). Readers check every field, ignore names that they do
 * not know, and take nil for absent.
 */

import { Packr } from 'msgpackr'
import { SluiceError } from './errors.js'
import type { Attach, Attached, AttachRefused, CloseBinding, Detach, Detached, LinkHello, Load } from './link.js'
import { epochOnly } from './link-attach.js'

/** Any of the maps that a control record carries. */
export type LinkControl = LinkHello | Attach | Attached | AttachRefused | Detach | Detached | CloseBinding | Load

/** Longest text in a control record, in UTF-16 units: ids are at most 256, messages and header values may be longer. */
export const MAX_LINK_TEXT = 8192

/** Most attributes of one session. */
export const MAX_ATTRIBUTES = 256

const packr = new Packr({ useRecords: false, variableMapSize: true, structuredClone: false })

/** Encodes a control record's body. Fields that are undefined are left out. */
export function packLinkControl(message: LinkControl): Uint8Array {
  return packr.pack(isWhole(message) ? message : withoutGaps(message))
}

function isWhole(message: object): boolean {
  for (const name in message) if (message[name as keyof typeof message] === undefined) return false
  return true
}

function withoutGaps(message: object): object {
  return Object.fromEntries(Object.entries(message).filter(([, value]) => value !== undefined))
}

/**
 * Decodes a control record's body into a map of unchecked values; the `read…` functions below check them.
 * @throws SluiceError `bad_request` when the bytes are not one msgpack map
 */
export function unpackLinkControl(bytes: Uint8Array, start = 0, end = bytes.length): Record<string, unknown> {
  let value: unknown
  try {
    value = packr.unpack(bytes.subarray(start, end))
  } catch (cause) {
    throw new SluiceError('bad_request', 'link control record cannot be decoded', { cause })
  }
  if (!isMap(value)) throw new SluiceError('bad_request', 'link control record is not a map')
  return value
}

/** @throws SluiceError `bad_request` naming the field at fault, as all readers here do */
export function readHello(bytes: Uint8Array, start?: number, end?: number): LinkHello {
  const map = unpackLinkControl(bytes, start, end)
  const role = text(map, 'role')
  if (role !== 'gateway' && role !== 'worker') throw bad('role', "is neither 'gateway' nor 'worker'")
  return defined<LinkHello>({
    protocol: count(map, 'protocol'),
    id: text(map, 'id'),
    role,
    token: optional(map, 'token', text),
    pool: optional(map, 'pool', text),
    sessions: optional(map, 'sessions', count),
    draining: optional(map, 'draining', flag),
  })
}

export function readAttach(bytes: Uint8Array, start?: number, end?: number): Attach {
  const map = unpackLinkControl(bytes, start, end)
  return defined<Attach>({
    session: text(map, 'session'),
    device: text(map, 'device'),
    protocol: text(map, 'protocol'),
    attributes: optional(map, 'attributes', texts) ?? {},
    slot: optional(map, 'slot', count),
    epoch: count(map, 'epoch'),
    table: optional(map, 'table', count) ?? 0,
    acked: optional(map, 'acked', count) ?? 0,
    state: optional(map, 'state', binary),
    sent: optional(map, 'sent', count),
    redelivered: optional(map, 'redelivered', flag) ?? false,
  })
}

export function readAttached(bytes: Uint8Array, start = 0, end = bytes.length): Attached {
  const only = epochOnly(bytes, start, end)
  if (only >= 0) return { epoch: only }
  const map = unpackLinkControl(bytes, start, end)
  return defined<Attached>({ epoch: count(map, 'epoch'), resumed: optional(map, 'resumed', flag) })
}

export function readRefused(bytes: Uint8Array, start?: number, end?: number): AttachRefused {
  const map = unpackLinkControl(bytes, start, end)
  return defined<AttachRefused>({
    epoch: count(map, 'epoch'),
    code: text(map, 'code'),
    message: optional(map, 'message', text) ?? '',
    retryAfterMs: optional(map, 'retryAfterMs', count),
  })
}

export function readDetach(bytes: Uint8Array, start?: number, end?: number): Detach {
  return { epoch: count(unpackLinkControl(bytes, start, end), 'epoch') }
}

export function readDetached(bytes: Uint8Array, start?: number, end?: number): Detached {
  const map = unpackLinkControl(bytes, start, end)
  return defined<Detached>({
    epoch: count(map, 'epoch'),
    acked: count(map, 'acked'),
    sent: count(map, 'sent'),
    state: optional(map, 'state', binary),
  })
}

export function readClose(bytes: Uint8Array, start?: number, end?: number): CloseBinding {
  const map = unpackLinkControl(bytes, start, end)
  return defined<CloseBinding>({ code: text(map, 'code'), message: optional(map, 'message', text) })
}

export function readLoad(bytes: Uint8Array, start?: number, end?: number): Load {
  return { sessions: count(unpackLinkControl(bytes, start, end), 'sessions') }
}

/**
 * An ACK record's body: one varint.
 * @throws SluiceError `bad_request` when it is cut off, above 2^53 - 1, or has bytes behind it
 */
export function readAck(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let value = 0
  let scale = 1
  for (let pos = start; pos < end && pos < start + 8; pos++) {
    const byte = bytes[pos] as number
    value += (byte & 0x7f) * scale
    if (byte >= 0x80) scale *= 0x80
    else if (pos + 1 === end && value <= Number.MAX_SAFE_INTEGER) return value
    else break
  }
  throw new SluiceError('bad_request', 'link ACK is not one varint up to 2^53 - 1')
}

type Check<T> = (map: Record<string, unknown>, name: string) => T

function optional<T>(map: Record<string, unknown>, name: string, check: Check<T>): T | undefined {
  return map[name] === undefined || map[name] === null ? undefined : check(map, name)
}

function text(map: Record<string, unknown>, name: string): string {
  const value = map[name]
  if (typeof value !== 'string' || value.length > MAX_LINK_TEXT) throw bad(name, `is not a text up to ${MAX_LINK_TEXT}`)
  return value
}

function count(map: Record<string, unknown>, name: string): number {
  const value = typeof map[name] === 'bigint' ? Number(map[name]) : map[name]
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw bad(name, 'is not 0 to 2^53 - 1')
  return value
}

function flag(map: Record<string, unknown>, name: string): boolean {
  const value = map[name]
  if (typeof value !== 'boolean') throw bad(name, 'is not a boolean')
  return value
}

/** A copy: the record's bytes live only during the callback. */
function binary(map: Record<string, unknown>, name: string): Uint8Array {
  const value = map[name]
  if (!(value instanceof Uint8Array)) throw bad(name, 'is not binary')
  return Uint8Array.from(value)
}

function texts(map: Record<string, unknown>, name: string): Record<string, string> {
  const value = map[name]
  if (!isMap(value)) throw bad(name, 'is not a map of texts')
  const names = Object.keys(value)
  if (names.length > MAX_ATTRIBUTES) throw bad(name, `has more than ${MAX_ATTRIBUTES} entries`)
  const checked: Record<string, string> = Object.create(null)
  for (const key of names) checked[key] = text(value, key)
  return checked
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
}

/** Drops the undefined fields, which an optional property of a strict type may not hold. */
function defined<T extends object>(fields: { [K in keyof T]: T[K] | undefined }): T {
  const kept: Partial<T> = {}
  for (const key of Object.keys(fields) as (keyof T)[]) if (fields[key] !== undefined) kept[key] = fields[key]
  return kept as T
}

function bad(name: string, what: string): SluiceError {
  return new SluiceError('bad_request', `link control record: ${name} ${what}`, { path: name })
}
