import fc from 'fast-check'
import t from 'tap'
import { hash32, hashBytes, SLOTS, slotOf } from '../../proto/hash.js'

const SEED = 0x9747b28c

/** Published known answers of MurmurHash3_x86_32; the bytes are those that other implementations are tested with too. */
const TEXTS: readonly (readonly [text: string, seed: number, hash: number])[] = [
  ['', 0, 0],
  ['', 1, 0x514e28b7],
  ['', 0xffffffff, 0x81f16f39],
  ['test', 0, 0xba6bd213],
  ['test', SEED, 0x704b81dc],
  ['Hello, world!', 0, 0xc0363e43],
  ['Hello, world!', SEED, 0x24884cba],
  ['The quick brown fox jumps over the lazy dog', 0, 0x2e4ff723],
  ['The quick brown fox jumps over the lazy dog', SEED, 0x2fa826cd],
  ['a', SEED, 0x7fa09ea6],
  ['aa', SEED, 0x5d211726],
  ['aaa', SEED, 0x283e0130],
  ['aaaa', SEED, 0x5a97808a],
  ['ab', SEED, 0x74875592],
  ['abc', SEED, 0xc84a62dd],
  ['abcd', SEED, 0xf0478627],
  ['\u03c0'.repeat(8), SEED, 0xd58063c1],
  ['a'.repeat(256), SEED, 0x37405bdc],
]

const BYTES: readonly (readonly [bytes: readonly number[], seed: number, hash: number])[] = [
  [[0xff, 0xff, 0xff, 0xff], 0, 0x76293b50],
  [[0x21, 0x43, 0x65, 0x87], 0, 0xf55b516b],
  [[0x21, 0x43, 0x65, 0x87], 0x5082edee, 0x2362f9de],
  [[0x21, 0x43, 0x65], 0, 0x7e4a8634],
  [[0x21, 0x43], 0, 0xa0f7b07a],
  [[0x21], 0, 0x72661cf4],
  [[0, 0, 0, 0], 0, 0x2362f9de],
  [[0, 0, 0], 0, 0x85f0b427],
  [[0, 0], 0, 0x30f4c306],
  [[0], 0, 0x514e28b7],
]

t.test('hash32 gives the published answers of MurmurHash3_x86_32', async (t) => {
  for (const [text, seed, hash] of TEXTS)
    t.equal(hash32(text, seed), hash, `${JSON.stringify(text.slice(0, 12))} ${seed}`)
  for (const [bytes, seed, hash] of BYTES)
    t.equal(hashBytes(Uint8Array.from(bytes), bytes.length, seed), hash, `${bytes} ${seed}`)
})

t.test("hashBytes gives SMHasher's verification value of MurmurHash3_x86_32", async (t) => {
  // SMHasher, VerificationTest: the keys {}, {0}, {0,1} ... with seeds 256, 255, 254 ..., then the hash of all the hashes.
  const key = Uint8Array.from({ length: 256 }, (_, i) => i)
  const hashes = new DataView(new ArrayBuffer(1024))
  for (let i = 0; i < 256; i++) hashes.setUint32(i * 4, hashBytes(key, i, 256 - i), true)
  t.equal(hashBytes(new Uint8Array(hashes.buffer), 1024, 0), 0xb0f57ee3)
})

t.test('hash32 hashes the UTF-8 bytes of any text, short or long, sound or not', async () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 80 }),
    fc.string({ unit: 'grapheme', minLength: 100, maxLength: 500, size: 'max' }),
  )
  fc.assert(
    fc.property(fc.oneof(text, fc.string({ maxLength: 20 })), fc.integer(), (given, seed) => {
      const bytes = new TextEncoder().encode(given)
      return hash32(given, seed) === hashBytes(bytes, bytes.length, seed)
    }),
    { numRuns: 2000 },
  )
  fc.assert(
    fc.property(fc.integer({ min: 335, max: 345 }), fc.constantFrom('a', 'é', '€', '😀', '\ud800'), (length, unit) => {
      const given = unit.repeat(length)
      const bytes = new TextEncoder().encode(given)
      return hash32(given) === hashBytes(bytes, bytes.length, 0)
    }),
  )
})

t.test('slots of device ids are spread evenly', async (t) => {
  const counts = new Uint32Array(SLOTS)
  const n = SLOTS * 64
  for (let i = 0; i < n; i++) counts[slotOf(`device-${i}`)] = (counts[slotOf(`device-${i}`)] as number) + 1
  // Chi-squared with 16,383 degrees of freedom: mean 16,383, standard deviation 181.
  const chi = counts.reduce((sum, count) => sum + (count - 64) ** 2 / 64, 0)
  t.ok(Math.abs(chi - SLOTS) < 5 * 181, `chi-squared is ${chi.toFixed(0)}`)
})

t.test('slotOf is fixed for ever: changing it would move every device', async (t) => {
  t.equal(SLOTS, 16384)
  t.equal(slotOf('test'), 0xba6bd213 & 16383)
  t.equal(slotOf('Hello, world!'), 0xc0363e43 & 16383)
})
