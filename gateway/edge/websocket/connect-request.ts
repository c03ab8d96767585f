import { SluiceError } from '../../../proto/errors.js'
import type { OpenSession } from '../../ports.js'
import { isDerived, MAX_DEVICE_BYTES } from '../device-id.js'
import { emptyHeaders } from '../server/request-head.js'
import type { RequestHead } from '../server/server.js'

/** A message of a device whose session is being opened. */
export interface EarlyMessage {
  readonly bytes: Uint8Array
  readonly isBinary: boolean
}

/** What a device says when it connects. */
export interface ConnectRequest {
  /** What the device sent before its session was open; undefined where it need not wait. */
  early: EarlyMessage[] | undefined
  readonly device: string
  /** From `token=` or `Authorization: Bearer`. */
  readonly token: string | undefined
  readonly attributes: Readonly<Record<string, string>>
  readonly resume: OpenSession['resume']
}

/** @throws SluiceError `no_device_id`, `bad_device_id`, `bad_request` */
export function readConnectRequest(head: RequestHead, attributes: AttributeCache): ConnectRequest {
  return {
    early: undefined,
    device: checkDevice(head.parameter('device')),
    token: head.parameter('token') ?? bearer(head.header('authorization')),
    attributes: attributes.of(head.headers),
    resume: readResume(head.parameter('resume'), head.parameter('ack')),
  }
}

function checkDevice(device: string | null): string {
  if (device === null) throw new SluiceError('no_device_id', 'the connect URL needs ?device=ID', { path: 'device' })
  if (!isDeviceId(device)) throw new SluiceError('bad_device_id', undefined, { path: 'device' })
  return ownText(device)
}

function isDeviceId(text: string): boolean {
  const { length } = text
  if (length === 0 || length > MAX_DEVICE_BYTES) return false
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x20 || unit >= 0x7f) return isUnusualId(text)
  }
  return !isDerived(text)
}

/** Of one with control characters, or with others than ASCII. */
function isUnusualId(text: string): boolean {
  return !/\p{Cc}/u.test(text) && Buffer.byteLength(text) <= MAX_DEVICE_BYTES && !isDerived(text)
}

/**
 * The same text in memory of its own. V8 keeps a longer part of a string (13 characters and up) as a window on the
 * whole: the id of a device would hold its query, token and all, for as long as the session lives.
 */
function ownText(part: string): string {
  return part.length < 13 ? part : Buffer.from(part).toString()
}

function bearer(authorization: string | undefined): string | undefined {
  return authorization === undefined ? undefined : /^Bearer +(\S+)$/i.exec(authorization)?.[1]
}

function readResume(session: string | null, ack: string | null): OpenSession['resume'] {
  if (session === null || session === '') return undefined
  const seq = ack === null ? 0 : Number(ack)
  if (ack !== null && !(/^\d+$/.test(ack) && Number.isSafeInteger(seq)))
    throw new SluiceError('bad_request', 'ack is the last seq that was processed, a whole number', { path: 'ack' })
  return { session, ack: seq }
}

/** Of no use in a route, or not for others' eyes: workers and logs see attributes. */
const HIDDEN = new Set([
  'accept',
  'accept-encoding',
  'authorization',
  'cache-control',
  'connection',
  'content-length',
  'cookie',
  'host',
  'pragma',
  'proxy-authorization',
  'upgrade',
])
const MAX_CACHED = 1024

/**
 * Upgrade headers as session attributes. Devices of one fleet send the same headers, so equal sets share one object:
 * ten thousand idle sessions would hold ten thousand copies of a User-Agent otherwise.
 */
export class AttributeCache {
  readonly #known = new Map<string, Readonly<Record<string, string>>>()

  of(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    let key = ''
    for (const name in headers) if (isAttribute(name)) key += `${name}\n${headers[name]}\n`
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const attributes = emptyHeaders()
    for (const name in headers) if (isAttribute(name)) attributes[name] = headers[name] as string
    if (this.#known.size < MAX_CACHED) this.#known.set(key, attributes)
    return attributes
  }
}

function isAttribute(name: string): boolean {
  return !HIDDEN.has(name) && !name.startsWith('sec-websocket-')
}
