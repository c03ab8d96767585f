/** Makes DNS answers for tests: the bytes that a server would send. */

import type { SrvRecord } from '../../../../agents/coordinator/discovery/dns-message.js'

export interface AnswerOptions {
  records?: (SrvRecord & { ttl: number })[]
  code?: number
  truncated?: boolean
  /** TTL and last field of an SOA in the authority section. */
  soa?: [number, number]
}

export function dnsName(name: string): Buffer {
  const labels = name === '' ? [] : name.split('.')
  return Buffer.concat([...labels.map((label) => Buffer.from([label.length, ...Buffer.from(label)])), Buffer.from([0])])
}

function record(type: number, ttl: number, data: Buffer): Buffer {
  // Its name is a pointer to the question's.
  const head = Buffer.alloc(12)
  head.writeUInt16BE(0xc00c, 0)
  head.writeUInt16BE(type, 2)
  head.writeUInt16BE(1, 4)
  head.writeUInt32BE(ttl, 6)
  head.writeUInt16BE(data.length, 10)
  return Buffer.concat([head, data])
}

function u16(...values: number[]): Buffer {
  return Buffer.concat(values.map((value) => Buffer.from([value >> 8, value & 0xff])))
}

/** The answer to a question, which it repeats. */
export function answerTo(
  question: Uint8Array,
  { records = [], code = 0, truncated = false, soa }: AnswerOptions,
): Buffer {
  const srv = records.map(({ priority, weight, port, name, ttl }) =>
    record(33, ttl, Buffer.concat([u16(priority, weight, port), dnsName(name)])),
  )
  const last = Buffer.alloc(20)
  last.writeUInt32BE(soa?.[1] ?? 0, 16)
  const authority = soa === undefined ? [] : [record(6, soa[0], Buffer.concat([dnsName('ns'), dnsName('root'), last]))]
  const flags = 0x8180 | (truncated ? 0x0200 : 0) | code
  const header = Buffer.concat([question.subarray(0, 2), u16(flags, 1, srv.length, authority.length, 0)])
  return Buffer.concat([header, question.subarray(12), ...srv, ...authority])
}
