/** Number of slots of every pool. A power of two, so that a hash is a mask away from its slot. */
export const SLOTS = 16384

const utf8 = new TextEncoder()
const scratch = new Uint8Array(1024)

/**
 * MurmurHash3 x86 32-bit (Austin Appleby, public domain) of the UTF-8 bytes of `text`.
 * Every gateway, coordinator and SDK must agree on it: test/proto/hash.test.ts keeps golden vectors.
 */
export function hash32(text: string, seed = 0): number {
  let length = text.length
  let bytes = scratch
  if (length > 340) {
    bytes = utf8.encode(text)
    length = bytes.length
  } else {
    for (let i = 0; i < length; i++) {
      const c = text.charCodeAt(i)
      if (c >= 0x80) {
        length = utf8.encodeInto(text, scratch).written
        break
      }
      scratch[i] = c
    }
  }
  return hashBytes(bytes, length, seed)
}

/** MurmurHash3 x86 32-bit of `bytes[0, length)`, unsigned. */
export function hashBytes(bytes: Uint8Array, length: number, seed: number): number {
  let h = seed | 0
  const blocks = length & ~3
  for (let i = 0; i < blocks; i += 4) {
    const k =
      (bytes[i] as number) |
      ((bytes[i + 1] as number) << 8) |
      ((bytes[i + 2] as number) << 16) |
      ((bytes[i + 3] as number) << 24)
    h ^= mixBlock(k)
    h = (h << 13) | (h >>> 19)
    h = (Math.imul(h, 5) + 0xe6546b64) | 0
  }
  let tail = 0
  for (let i = length - 1; i >= blocks; i--) tail = (tail << 8) | (bytes[i] as number)
  if (length > blocks) h ^= mixBlock(tail)
  h ^= length
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

function mixBlock(k: number): number {
  k = Math.imul(k, 0xcc9e2d51)
  return Math.imul((k << 15) | (k >>> 17), 0x1b873593)
}

/** The slot that owns `key`. */
export function slotOf(key: string): number {
  return hash32(key) & (SLOTS - 1)
}
