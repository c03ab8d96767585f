/**
 * DNS messages as far as SRV questions need them [RFC 1035 section 4, RFC 2782]: Node's resolver tells no TTL for SRV records,
 * nor how long "there is none" may be kept. Pure.
 */

import { SluiceError } from '../../../proto/errors.js'

/** One SRV record. */
export interface SrvRecord {
  /** Target; empty for ".", which means that the service is not there. */
  readonly name: string
  readonly port: number
  readonly priority: number
  readonly weight: number
}

/** What a server answered. */
export interface SrvAnswer {
  /** 0 NOERROR, 3 NXDOMAIN, anything else a failure of the server. */
  readonly code: number
  /** The rest did not fit into a datagram: ask again over TCP. */
  readonly truncated: boolean
  readonly records: readonly SrvRecord[]
  /** Seconds that the answer holds: the least of its records, or of the zone's SOA where there are none [RFC 2308]. */
  readonly ttl: number | undefined
}

const TYPE = { CNAME: 5, SOA: 6, SRV: 33 } as const
const CLASS_IN = 1
const HEADER = 12
/** Most records that are looked at. */
const MAX_RECORDS = 20_000
/** Compression pointers that one name may follow; every name that is right needs fewer. */
const MAX_JUMPS = 64

/** A question for SRV records, recursion desired. @throws SluiceError `bad_request` for what is no host name */
export function encodeSrvQuestion(id: number, name: string): Uint8Array {
  const labels = name.replace(/\.$/, '').split('.')
  const parts: Buffer[] = []
  for (const label of labels) {
    const bytes = Buffer.from(label, 'ascii')
    if (bytes.length === 0 || bytes.length > 63 || !/^[\x21-\x7e]+$/.test(label))
      throw new SluiceError('bad_request', `${JSON.stringify(name)} is not a name that DNS can be asked for`)
    parts.push(Buffer.from([bytes.length]), bytes)
  }
  const question = Buffer.concat([...parts, Buffer.from([0, 0, TYPE.SRV, 0, CLASS_IN])])
  if (question.length > 255 + 4) throw new SluiceError('bad_request', `${name.slice(0, 40)}… is longer than 255 bytes`)
  const header = Buffer.alloc(HEADER)
  header.writeUInt16BE(id, 0)
  header.writeUInt16BE(0x0100, 2)
  header.writeUInt16BE(1, 4)
  return Buffer.concat([header, question])
}

/**
 * Reads the answer to a question.
 * @param question the bytes that were sent: the answer has to repeat id and question
 * @throws SluiceError `bad_request` when it is not a message, or not the answer to that question
 */
export function readSrvAnswer(bytes: Uint8Array, question: Uint8Array): SrvAnswer {
  const reader = new MessageReader(bytes)
  const [id, flags, questions, answers, authorities] = [0, 2, 4, 6, 8].map((at) => reader.u16(at)) as [
    number,
    number,
    number,
    number,
    number,
  ]
  const asked = new MessageReader(question)
  if (id !== asked.u16(0) || flags < 0x8000 || questions !== 1) throw bad('it is not the answer to what was asked')
  const [name, end] = reader.name(HEADER)
  const [askedName, askedEnd] = asked.name(HEADER)
  if (name.toLowerCase() !== askedName.toLowerCase() || reader.u32(end) !== asked.u32(askedEnd))
    throw bad('it repeats another question')
  const found = readRecords(reader, end + 4, answers, authorities)
  return { code: flags & 0xf, truncated: (flags & 0x0200) !== 0, ...found }
}

function readRecords(
  reader: MessageReader,
  start: number,
  answers: number,
  authorities: number,
): Pick<SrvAnswer, 'records' | 'ttl'> {
  if (answers + authorities > MAX_RECORDS) throw bad('it has too many records')
  const records: SrvRecord[] = []
  let ttl: number | undefined
  let nothingFor: number | undefined
  let at = start
  for (let i = 0; i < answers + authorities; i++) {
    const fixed = reader.name(at)[1]
    const type = reader.u16(fixed)
    const seconds = reader.ttl(fixed + 4)
    const data = fixed + 10
    at = data + reader.u16(fixed + 8)
    if (at > reader.length) throw bad('a record is cut off')
    if (i < answers && (type === TYPE.SRV || type === TYPE.CNAME)) ttl = Math.min(ttl ?? seconds, seconds)
    if (i < answers && type === TYPE.SRV) records.push(reader.srv(data, at))
    // Its last field is the time for which "nothing" holds, at most as long as the SOA itself.
    if (i >= answers && type === TYPE.SOA && at - data >= 22) nothingFor = Math.min(seconds, reader.ttl(at - 4))
  }
  return { records, ttl: records.length > 0 ? ttl : nothingFor }
}

/** Reads within bounds. */
class MessageReader {
  readonly #view: DataView
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get length(): number {
    return this.#bytes.length
  }

  u16(at: number): number {
    if (at + 2 > this.length) throw bad('it is cut off')
    return this.#view.getUint16(at)
  }

  u32(at: number): number {
    if (at + 4 > this.length) throw bad('it is cut off')
    return this.#view.getUint32(at)
  }

  /** One with the highest bit set counts as 0 [RFC 2181 section 8]. */
  ttl(at: number): number {
    const seconds = this.u32(at)
    return seconds > 0x7fffffff ? 0 : seconds
  }

  srv(at: number, end: number): SrvRecord {
    const [name, after] = this.name(at + 6)
    if (after > end) throw bad('a record is cut off')
    return { priority: this.u16(at), weight: this.u16(at + 2), port: this.u16(at + 4), name }
  }

  /** A name, and where what follows it begins. */
  name(start: number): [string, number] {
    const labels: string[] = []
    let at = start
    let after: number | undefined
    let length = 0
    for (let jumps = 0; ; ) {
      const size = this.#bytes[at]
      if (size === undefined) throw bad('a name is cut off')
      if (size === 0) return [labels.join('.'), after ?? at + 1]
      if (size >= 0xc0) {
        after ??= at + 2
        at = this.u16(at) & 0x3fff
        if (++jumps > MAX_JUMPS) throw bad('a name goes in circles')
        continue
      }
      length += size + 1
      if (size > 63 || length > 255 || at + 1 + size > this.length) throw bad('a name is not one')
      labels.push(String.fromCharCode(...this.#bytes.subarray(at + 1, at + 1 + size)))
      at += 1 + size
    }
  }
}

function bad(what: string): SluiceError {
  return new SluiceError('bad_request', `the answer of the DNS server cannot be used: ${what}`)
}
