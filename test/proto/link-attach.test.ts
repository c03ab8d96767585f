import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import { Packr } from 'msgpackr'
import t from 'tap'
import { type Attach, LinkKind, RECORD_HEADER, RecordBatch, RecordReader } from '../../proto/link.js'
import { epochOnly, writeAttach, writeAttached } from '../../proto/link-attach.js'
import { packLinkControl, readAttach, readAttached, unpackLinkControl } from '../../proto/link-control.js'

/** What a worker in another language reads. */
const foreign = new Packr({ useRecords: false, int64AsNumber: true })

const attach: Attach = {
  session: 's',
  device: 'd',
  protocol: 'mqtt',
  attributes: { a: 'b' },
  epoch: 3,
  table: 9,
  acked: 4,
  redelivered: false,
}

function bodyOf(write: (batch: RecordBatch) => void): { kind: number; binding: number; body: Uint8Array } {
  const batch = new RecordBatch(64)
  write(batch)
  const found: { kind: number; binding: number; body: Uint8Array }[] = []
  new RecordReader((kind, binding, bytes, start, end) =>
    found.push({ kind, binding, body: bytes.slice(start, end) }),
  ).push(batch.take())
  const [record] = found
  if (record === undefined || found.length > 1) throw new Error(`${found.length} records`)
  return record
}

const written = (message: Attach) => bodyOf((batch) => writeAttach(batch, 7, message))

t.test('ATTACH is the very map that the library makes of it', async (t) => {
  const { kind, binding, body } = written(attach)
  t.same({ kind, binding }, { kind: LinkKind.ATTACH, binding: 7 })
  t.equal(Buffer.from(body).toString('hex'), Buffer.from(packLinkControl(attach)).toString('hex'))
})

t.test('ATTACH comes back as it went, whatever is in it', async () => {
  const text = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 300 }),
    fc.string({ unit: 'grapheme-ascii', maxLength: 300 }),
    fc.constantFrom(
      '',
      'x'.repeat(31),
      'x'.repeat(32),
      'x'.repeat(64),
      'x'.repeat(65),
      'x'.repeat(8192),
      '€'.repeat(90),
    ),
  )
  const count = fc.oneof(
    fc.nat(),
    fc.maxSafeNat(),
    fc.constantFrom(0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER),
  )
  const state = fc.oneof(
    fc.uint8Array({ maxLength: 600 }),
    fc.constantFrom(0, 255, 256, 65_535, 65_536).map((length) => new Uint8Array(length).fill(5)),
  )
  const message = fc.record(
    {
      session: text,
      device: text,
      protocol: fc.constantFrom('mqtt', 'websocket'),
      // The library reads this one under another name, so that it cannot do harm.
      attributes: fc.dictionary(
        text.filter((name) => name !== '__proto__'),
        text,
        { maxKeys: 20 },
      ),
      epoch: count,
      table: count,
      acked: count,
      redelivered: fc.boolean(),
      slot: count,
      state,
      sent: count,
    },
    {
      requiredKeys: ['session', 'device', 'protocol', 'attributes', 'epoch', 'table', 'acked', 'redelivered'],
    },
  )
  fc.assert(
    fc.property(message, (generated) => {
      const wanted = generated as Attach
      const { body } = written(wanted)
      // A dictionary of fast-check's has no prototype, or an own `__proto__`: compare what it holds.
      const plain = (found: Attach) => ({ ...found, attributes: Object.entries(found.attributes).sort() })
      deepStrictEqual(plain(readAttach(body)), plain(wanted))
      deepStrictEqual(Object.keys(foreign.unpack(body) as object).sort(), Object.keys(wanted).sort())
    }),
    { numRuns: 300 },
  )
})

t.test('several in one batch, with the same attributes and with others', async (t) => {
  const batch = new RecordBatch(64)
  const same = { 'user-agent': 'thermostat' }
  const messages = [same, same, { 'user-agent': 'lamp' }, same].map((attributes, epoch) => ({
    ...attach,
    attributes,
    epoch,
  }))
  for (const message of messages) writeAttach(batch, message.epoch + 1, message)
  const found: unknown[] = []
  new RecordReader((_kind, binding, bytes, start, end) => found.push([binding, readAttach(bytes, start, end)])).push(
    batch.take(),
  )
  t.match(
    found,
    messages.map((message) => [message.epoch + 1, { epoch: message.epoch, attributes: { ...message.attributes } }]),
  )
})

t.test('ATTACHED is short, and read both ways alike', async (t) => {
  const epochs = [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER]
  for (const epoch of epochs) {
    for (const resumed of [false, true]) {
      const { kind, body } = bodyOf((batch) => writeAttached(batch, 2, epoch, resumed))
      t.equal(kind, LinkKind.ATTACHED)
      t.match(unpackLinkControl(body), resumed ? { resumed: true } : {})
      t.same(readAttached(body), resumed ? { epoch, resumed } : { epoch })
      const padded = Uint8Array.of(...new Uint8Array(RECORD_HEADER), ...body, 0xff)
      t.same(readAttached(padded, RECORD_HEADER, padded.length - 1), resumed ? { epoch, resumed } : { epoch })
      t.equal(epochOnly(body, 0, body.length), resumed || epoch >= 2 ** 32 ? -1 : epoch)
    }
  }
})

t.test('what is not quite an epoch is left to the library, which says what is wrong', async (t) => {
  const { body } = bodyOf((batch) => writeAttached(batch, 2, 300, false))
  for (let length = 0; length < body.length; length++) {
    t.equal(epochOnly(body.subarray(0, length), 0, length), -1)
    t.throws(() => readAttached(body.subarray(0, length)), { code: 'bad_request' })
  }
  t.throws(() => readAttached(Uint8Array.of(...body, 0)), { code: 'bad_request' }, 'a byte too many')
  t.throws(() => readAttached(foreign.pack({ epocH: 3 })), { code: 'bad_request' })
  t.throws(() => readAttached(foreign.pack({ epoch: -1 })), { code: 'bad_request' })
  t.throws(() => readAttached(foreign.pack({ epoch: 'x' })), { code: 'bad_request' })
  t.same(readAttached(foreign.pack({ epoch: 5, resumed: null })), { epoch: 5 })
})
