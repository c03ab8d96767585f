/** What may be a device id, and what becomes of an MQTT client id that is too long for one. */

import { createHash } from 'node:crypto'

/** Bytes of a device id at most: frames, tables, logs and store keys carry it. */
export const MAX_DEVICE_BYTES = 256

/** Bytes of a long client id that its device id begins with: enough to recognise it by. */
const PREFIX_BYTES = 64
const MARK = '~sha256:'
const DERIVED = /~sha256:[0-9a-f]{64}$/
/** Characters of the mark and the digest: most ids are shorter, and need no closer look. */
const TAIL = MARK.length + 64

/** True for an id that only {@link deviceIdOf} makes: nobody may come with it as it stands. */
export function isDerived(id: string): boolean {
  return id.length >= TAIL && DERIVED.test(id)
}

/**
 * The device id of an MQTT client: its client id as it is, or, when that has more than {@link MAX_DEVICE_BYTES}, the start
 * of it with the SHA-256 of all of it: `PREFIX~sha256:HEX`. A client id that spells such an id is itself too long in this
 * sense, so no two client ids have one device id unless their digests collide.
 */
export function deviceIdOf(clientId: string): string {
  // A UTF-16 unit has 3 bytes at most.
  const fits = clientId.length * 3 <= MAX_DEVICE_BYTES || Buffer.byteLength(clientId) <= MAX_DEVICE_BYTES
  if (fits && !isDerived(clientId)) return clientId
  const bytes = Buffer.from(clientId)
  let end = Math.min(PREFIX_BYTES, bytes.length)
  // Not in the middle of a character.
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--
  const digest = createHash('sha256').update(bytes).digest('hex')
  // Made of bytes: put together from strings, it would hold the whole client id for as long as the session lives.
  return Buffer.concat([bytes.subarray(0, end), Buffer.from(MARK + digest)]).toString()
}
