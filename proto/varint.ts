/** Protobuf's variable-length integers, up to 2^53 - 1. */

/** Bytes that `value` takes as a varint (1 to 8 for what a frame carries). */
export function varintSize(value: number): number {
  let size = 1
  while (value >= 0x80) {
    value = Math.floor(value / 0x80)
    size++
  }
  return size
}

/** Writes `value` (0 to 2^53 - 1) at `pos`; returns the position after it. */
export function writeVarint(into: Uint8Array, pos: number, value: number): number {
  while (value >= 0x80) {
    into[pos++] = (value % 0x80) | 0x80
    value = Math.floor(value / 0x80)
  }
  into[pos++] = value
  return pos
}
