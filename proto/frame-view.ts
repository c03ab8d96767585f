/** Reads where the fields of an encoded `sluice.v1.Frame` lie, without decoding them: the hot path of the relay. */

// Field tags: number << 3 | wire type. The encoder has its own: a constant that is imported costs a load, which made
// reading 14 % slower.
const TAG_TYPE = 0x08
const TAG_SEQ = 0x10
const TAG_ACK = 0x18
const TAG_TOPIC = 0x22
const TAG_PAYLOAD = 0x2a
const TAG_HEADERS = 0x32
const TAG_REDELIVERED = 0x38
/** Tags within an entry of the headers. */
const TAG_KEY = 0x0a
const TAG_VALUE = 0x12
/** Highest field numbers of a frame and of a map entry. */
const LAST_FIELD = 7
const LAST_ENTRY_FIELD = 2

const utf8Strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const EMPTY = new Uint8Array(0)

/**
 * Where the fields of an encoded frame lie. One instance is reused for every frame of a connection:
 * {@link FrameView.read} allocates nothing. Offsets are into the array that was read and are valid as long as it is.
 */
export class FrameView {
  bytes: Uint8Array = EMPTY
  type = 0
  seq = 0
  ack = 0
  redelivered = false
  topicStart = 0
  topicEnd = 0
  payloadStart = 0
  payloadEnd = 0
  /** Number of header entries, as they stand in the bytes (a repeated key counts twice). */
  headerCount = 0
  #pos = 0
  #end = 0

  /**
   * Reads the frame at `bytes[start, end)`.
   * @returns false when the bytes are not a Protobuf message of this shape: a cut-off field, a group, a wrong
   * wire type, or a `seq` or `ack` above 2^53 - 1.
   */
  read(bytes: Uint8Array, start = 0, end = bytes.length): boolean {
    // Records of one chunk share it: a store that changes nothing would still cost a write barrier.
    if (this.bytes !== bytes) this.bytes = bytes
    this.#pos = start
    this.#end = end
    this.type = this.seq = this.ack = this.headerCount = 0
    this.topicStart = this.topicEnd = this.payloadStart = this.payloadEnd = start
    this.redelivered = false
    while (this.#pos < end) {
      const at = this.#pos
      const tag = bytes[at] as number
      if (tag < 0x80 && this.#readKnown(tag)) continue
      this.#pos = at
      if (!this.#skipAbove(LAST_FIELD)) return false
    }
    return this.#pos === end
  }

  /** The topic as a string; throws a TypeError when it is not UTF-8. */
  topic(): string {
    const { bytes, topicStart, topicEnd } = this
    return decodeText(bytes, topicStart, topicEnd)
  }

  /** A view of the payload, not a copy. */
  payload(): Uint8Array {
    return this.bytes.subarray(this.payloadStart, this.payloadEnd)
  }

  /** The headers as an object without prototype; throws a TypeError when one is not UTF-8. */
  headers(): Record<string, string> {
    const found: Record<string, string> = Object.create(null)
    if (this.headerCount === 0) return found
    const end = this.#end
    this.#pos = this.#headersFrom
    while (this.#pos < end) {
      if (this.bytes[this.#pos] === TAG_HEADERS) {
        this.#pos++
        const length = this.#varint()
        const from = this.#pos
        this.#readEntry(found, from, from + length)
        this.#pos = from + length
        // Cannot fail on what `read` accepted; never run on if it does.
      } else if (!this.#skipField()) return found
    }
    return found
  }

  #headersFrom = 0

  #readKnown(tag: number): boolean {
    this.#pos++
    switch (tag) {
      case TAG_TYPE: {
        const type = this.#varint()
        if (type < 0) return false
        this.type = type
        return true
      }
      case TAG_SEQ: {
        const seq = this.#varint()
        if (seq < 0) return false
        this.seq = seq
        return true
      }
      case TAG_ACK: {
        const ack = this.#varint()
        if (ack < 0) return false
        this.ack = ack
        return true
      }
      case TAG_REDELIVERED: {
        const flag = this.#varint()
        if (flag < 0) return false
        this.redelivered = flag !== 0
        return true
      }
      case TAG_TOPIC:
      case TAG_PAYLOAD:
      case TAG_HEADERS:
        return this.#readBytes(tag)
      default:
        return false
    }
  }

  #readBytes(tag: number): boolean {
    const at = this.#pos - 1
    const length = this.#varint()
    if (length < 0 || length > this.#end - this.#pos) return false
    const from = this.#pos
    this.#pos += length
    if (tag === TAG_TOPIC) {
      this.topicStart = from
      this.topicEnd = this.#pos
    } else if (tag === TAG_PAYLOAD) {
      this.payloadStart = from
      this.payloadEnd = this.#pos
    } else {
      if (this.headerCount++ === 0) this.#headersFrom = at
      if (!this.#entryFits(from, this.#pos)) return false
    }
    return true
  }

  /** True when `[from, end)` is a well-formed map entry, so that {@link headers} cannot run astray later. */
  #entryFits(from: number, end: number): boolean {
    const outer = this.#end
    const resume = this.#pos
    this.#end = end
    this.#pos = from
    let fits = true
    while (fits && this.#pos < end) {
      const tag = this.bytes[this.#pos]
      if (tag === TAG_KEY || tag === TAG_VALUE) {
        this.#pos++
        const length = this.#varint()
        fits = length >= 0 && length <= end - this.#pos
        this.#pos += length
      } else fits = this.#skipAbove(LAST_ENTRY_FIELD)
    }
    this.#end = outer
    this.#pos = resume
    return fits
  }

  #readEntry(into: Record<string, string>, from: number, end: number): void {
    const resume = this.#pos
    let key = ''
    let value = ''
    this.#pos = from
    while (this.#pos < end) {
      const tag = this.bytes[this.#pos]
      if (tag === TAG_KEY || tag === TAG_VALUE) {
        this.#pos++
        const length = this.#varint()
        const text = decodeText(this.bytes, this.#pos, this.#pos + length)
        if (tag === TAG_KEY) key = text
        else value = text
        this.#pos += length
      } else if (!this.#skipField()) break
    }
    this.#pos = resume
    into[key] = value
  }

  /**
   * Skips one field whose number is above `last`. False when it does not fit, is a group, or has a number up to `last`:
   * a field that we know came with a wrong type, a cut-off value, or a tag in more bytes than it needs.
   */
  #skipAbove(last: number): boolean {
    const at = this.#pos
    const tag = this.#varint()
    if (tag < (last + 1) * 8) return false
    this.#pos = at
    return this.#skipField()
  }

  /** Skips one field, whatever its number. False when it does not fit or is a group. */
  #skipField(): boolean {
    const tag = this.#varint()
    if (tag < 8 || tag > 0xffffffff) return false
    const wire = tag & 7
    if (wire === 0) return this.#skipVarint()
    const width = wire === 2 ? this.#varint() : wire === 1 ? 8 : wire === 5 ? 4 : -1
    if (width < 0 || width > this.#end - this.#pos) return false
    this.#pos += width
    return true
  }

  /** Skips a varint of any value: 10 bytes at the most (a negative number). */
  #skipVarint(): boolean {
    const last = Math.min(this.#end, this.#pos + 10)
    while (this.#pos < last) if ((this.bytes[this.#pos++] as number) < 0x80) return true
    return false
  }

  /** A varint up to 2^53 - 1, or -1 when it is cut off or larger. */
  #varint(): number {
    const { bytes } = this
    const end = this.#end
    let pos = this.#pos
    if (pos >= end) return -1
    let byte = bytes[pos++] as number
    let value = byte & 0x7f
    let scale = 0x80
    while (byte >= 0x80) {
      if (pos >= end || scale > 0x4000000000000) return -1
      byte = bytes[pos++] as number
      value += (byte & 0x7f) * scale
      scale *= 0x80
    }
    this.#pos = pos
    return value > Number.MAX_SAFE_INTEGER ? -1 : value
  }
}

function decodeText(bytes: Uint8Array, start: number, end: number): string {
  if (end - start <= 64) {
    let text = ''
    for (let i = start; i < end; i++) {
      const byte = bytes[i] as number
      if (byte >= 0x80) return utf8Strict.decode(bytes.subarray(start, end))
      text += String.fromCharCode(byte)
    }
    return text
  }
  return utf8Strict.decode(bytes.subarray(start, end))
}
