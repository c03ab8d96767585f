/** Reads the fields of one packet in order; whatever does not fit is a Malformed Packet. */

import { malformed } from './packet.js'
import { readText } from './text.js'

const EMPTY = Buffer.alloc(0)

/** A position in a packet's bytes. Views that it hands out share the packet's memory. */
export class Cursor {
  bytes: Buffer = EMPTY
  pos = 0
  end = 0

  /** Points at `bytes[start, end)`. */
  set(bytes: Buffer, start: number, end: number): this {
    this.bytes = bytes
    this.pos = start
    this.end = end
    return this
  }

  get left(): number {
    return this.end - this.pos
  }

  byte(): number {
    if (this.pos >= this.end) throw malformed('the packet ends within a byte field')
    return this.bytes[this.pos++] as number
  }

  uint16(): number {
    const at = this.pos
    if (at + 2 > this.end) throw malformed('the packet ends within a two byte integer')
    this.pos = at + 2
    return ((this.bytes[at] as number) << 8) | (this.bytes[at + 1] as number)
  }

  uint32(): number {
    const high = this.uint16()
    return high * 0x10000 + this.uint16()
  }

  /** Variable byte integer: one to four bytes and no more than needed [MQTT-1.5.5-1]. */
  varint(): number {
    let value = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte()
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) throw malformed('a variable byte integer is longer than needed')
        return value
      }
    }
    throw malformed('a variable byte integer has more than four bytes')
  }

  text(): string {
    const start = this.#field('string')
    return readText(this.bytes, start, this.pos)
  }

  /** A view of a binary data field. */
  binary(): Buffer {
    const start = this.#field('binary data')
    return this.bytes.subarray(start, this.pos)
  }

  /** Moves over a field with a two byte length; returns where its content starts. */
  #field(what: string): number {
    const length = this.uint16()
    const start = this.pos
    if (start + length > this.end) throw malformed(`the packet ends within a ${what}`)
    this.pos = start + length
    return start
  }
}
