/** Reading and writing the few primitive values of the bus: varints, and texts and byte strings with their length. */

import { writeVarint } from '../../proto/frame.js'

const utf8 = new TextEncoder()
const utf8Strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Reads values from `bytes[pos, end)`. Every method throws a RangeError or TypeError when the bytes do not hold one. */
export class OctetReader {
  readonly bytes: Uint8Array
  pos: number
  readonly end: number

  constructor(bytes: Uint8Array, pos = 0, end = bytes.length) {
    this.bytes = bytes
    this.pos = pos
    this.end = end
  }

  get left(): number {
    return this.end - this.pos
  }

  u8(): number {
    if (this.pos >= this.end) throw new RangeError('cut off')
    return this.bytes[this.pos++] as number
  }

  /** 0 to 2^53 - 1, little-endian groups of 7 bits as in Protobuf. */
  varint(): number {
    let value = 0
    let scale = 1
    for (;;) {
      const byte = this.u8()
      value += (byte & 0x7f) * scale
      if (value > Number.MAX_SAFE_INTEGER) throw new RangeError('varint above 2^53 - 1')
      if (byte < 0x80) return value
      if (scale > 0x2000000000000) throw new RangeError('varint of more than 8 bytes')
      scale *= 0x80
    }
  }

  /** A copy that outlives what is read. */
  octets(): Uint8Array {
    const length = this.varint()
    if (length > this.left) throw new RangeError(`${length} bytes announced, ${this.left} left`)
    this.pos += length
    return this.bytes.slice(this.pos - length, this.pos)
  }

  /** UTF-8; a TypeError when it is not. */
  text(): string {
    const length = this.varint()
    if (length > this.left) throw new RangeError(`${length} bytes announced, ${this.left} left`)
    this.pos += length
    return utf8Strict.decode(this.bytes.subarray(this.pos - length, this.pos))
  }
}

/** A growing buffer. {@link take} hands it out and starts with a new one, so what was taken may stay on a socket. */
export class OctetWriter {
  #bytes: Uint8Array
  #length = 0
  readonly #initial: number

  constructor(initial = 1024) {
    this.#initial = initial
    this.#bytes = new Uint8Array(initial)
  }

  get length(): number {
    return this.#length
  }

  u8(value: number): void {
    this.#reserve(1)
    this.#bytes[this.#length++] = value
  }

  varint(value: number): void {
    this.#reserve(8)
    this.#length = writeVarint(this.#bytes, this.#length, value)
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
  }

  octets(bytes: Uint8Array): void {
    this.varint(bytes.length)
    this.raw(bytes)
  }

  text(text: string): void {
    this.octets(utf8.encode(text))
  }

  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#length)
    this.#bytes = new Uint8Array(this.#initial)
    this.#length = 0
    return taken
  }

  #reserve(count: number): void {
    const need = this.#length + count
    if (need <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(need, this.#bytes.length * 2))
    grown.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = grown
  }
}
