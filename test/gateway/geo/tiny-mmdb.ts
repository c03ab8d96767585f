/**
 * Writes a MaxMind DB (format 2.0, maxmind.github.io/MaxMind-DB) with a place for each IPv4 block: enough for tests.
 * Its tree is of IPv6 with IPv4 under ::/96, as the real ones are.
 */

/** `[CIDR block of IPv4, latitude, longitude]` */
export type Place = readonly [string, number, number]

/** A node: the two halves of what is below; a number is an index into the records, undefined: nothing is known. */
interface Branch {
  halves: [Branch | number | undefined, Branch | number | undefined]
}

export function tinyMmdb(places: readonly Place[]): Buffer {
  const root: Branch = { halves: [undefined, undefined] }
  for (const [at, [block]] of places.entries()) insert(root, bitsOf(block), at)
  const branches = breadthFirst(root)
  const records = places.map(([, lat, lon]) =>
    map({ location: map({ latitude: double(lat), longitude: double(lon) }) }),
  )
  const offsets = records.map((_, i) => Buffer.concat(records.slice(0, i)).length)
  const number = new Map(branches.map((branch, i) => [branch, i]))
  const value = (half: Branch | number | undefined) =>
    half === undefined
      ? branches.length
      : typeof half === 'number'
        ? branches.length + 16 + (offsets[half] as number)
        : (number.get(half) as number)
  const tree = Buffer.concat(branches.map(({ halves }) => Buffer.concat(halves.map((half) => uint24(value(half))))))
  const metadata = map({
    node_count: uint32(branches.length),
    record_size: uint16(24),
    ip_version: uint16(6),
    database_type: text('Tiny-City'),
    languages: Buffer.from([0x00, 0x04]),
    binary_format_major_version: uint16(2),
    binary_format_minor_version: uint16(0),
    build_epoch: uint32(1_700_000_000),
    description: map({}),
  })
  const marker = Buffer.from('abcdef4d61784d696e642e636f6d', 'hex')
  return Buffer.concat([tree, Buffer.alloc(16), ...records, marker, metadata])
}

function bitsOf(block: string): number[] {
  const [address = '', prefix = '32'] = block.split('/')
  const number = address.split('.').reduce((all, part) => all * 256 + Number(part), 0)
  const bits = Array.from({ length: 32 }, (_, i) => Math.floor(number / 2 ** (31 - i)) % 2)
  return [...new Array<number>(96).fill(0), ...bits.slice(0, Number(prefix))]
}

function insert(root: Branch, bits: readonly number[], record: number): void {
  let branch = root
  for (const [depth, bit] of bits.entries()) {
    if (depth === bits.length - 1) branch.halves[bit] = record
    else {
      const below = branch.halves[bit]
      const next: Branch = typeof below === 'object' ? below : { halves: [below, below] }
      branch.halves[bit] = next
      branch = next
    }
  }
}

function breadthFirst(root: Branch): Branch[] {
  const all = [root]
  for (const branch of all) for (const half of branch.halves) if (typeof half === 'object') all.push(half)
  return all
}

const uint24 = (value: number) => Buffer.from([value >> 16, (value >> 8) & 255, value & 255])
const text = (value: string) => Buffer.concat([Buffer.from([0x40 | value.length]), Buffer.from(value)])
const uint16 = (value: number) => Buffer.from([0xa2, value >> 8, value & 255])
const uint32 = (value: number) =>
  Buffer.from([0xc4, value >>> 24, (value >> 16) & 255, (value >> 8) & 255, value & 255])
const double = (value: number) => {
  const bytes = Buffer.alloc(9, 0x68)
  bytes.writeDoubleBE(value, 1)
  return bytes
}
const map = (entries: Readonly<Record<string, Buffer>>) => {
  const parts = Object.entries(entries).flatMap(([key, value]) => [text(key), value])
  return Buffer.concat([Buffer.from([0xe0 | Object.keys(entries).length]), ...parts])
}
