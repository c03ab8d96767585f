/**
 * UTF-8 strings of MQTT (MQTT 5.0 section 1.5.4). Refused: ill-formed UTF-8 and surrogates [MQTT-1.5.4-1], U+0000
 * [MQTT-1.5.4-2], and what the section allows a receiver to refuse: control characters and non-characters.
 */

import { malformed } from './packet.js'

/** What {@link checkText} found. */
export const TextKind = { INVALID: -1, ASCII: 0, UNICODE: 1 } as const

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Looks at `bytes[start, end)` without decoding it; returns a {@link TextKind}. */
export function checkText(bytes: Uint8Array, start: number, end: number): number {
  for (let i = start; i < end; i++) {
    const c = bytes[i] as number
    if (c < 0x20 || c === 0x7f) return TextKind.INVALID
    if (c > 0x7f) return checkUnicode(bytes, i, end)
  }
  return TextKind.ASCII
}

function checkUnicode(bytes: Uint8Array, start: number, end: number): number {
  let i = start
  while (i < end) {
    const c = bytes[i] as number
    if (c < 0x80) {
      if (c < 0x20 || c === 0x7f) return TextKind.INVALID
      i++
      continue
    }
    const width = c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0
    if (width === 0 || i + width > end) return TextKind.INVALID
    const point = codePoint(bytes, i, width)
    if (!allowed(point, width)) return TextKind.INVALID
    i += width
  }
  return TextKind.UNICODE
}

/** The code point of a multi-byte sequence, or -1 when a continuation byte is none. */
function codePoint(bytes: Uint8Array, at: number, width: number): number {
  let point = (bytes[at] as number) & (0xff >> (width + 1))
  for (let k = 1; k < width; k++) {
    const c = bytes[at + k] as number
    if ((c & 0xc0) !== 0x80) return -1
    point = (point << 6) | (c & 0x3f)
  }
  return point
}

function allowed(point: number, width: number): boolean {
  // A longer form than needed is ill-formed; C1 controls are the two-byte code points below U+00A0.
  if (point < (width === 2 ? 0xa0 : width === 3 ? 0x800 : 0x10000)) return false
  if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false
  return (point & 0xfffe) !== 0xfffe && !(point >= 0xfdd0 && point <= 0xfdef)
}

/**
 * The string at `bytes[start, end)`.
 * @throws MqttError 0x81 when it is not a valid MQTT string
 */
export function readText(bytes: Buffer, start: number, end: number): string {
  const kind = checkText(bytes, start, end)
  if (kind === TextKind.ASCII) return bytes.toString('latin1', start, end)
  if (kind === TextKind.INVALID) throw malformed('a string is not valid UTF-8, or holds control characters')
  return decoder.decode(bytes.subarray(start, end))
}
