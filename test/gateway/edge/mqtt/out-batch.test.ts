import fc from 'fast-check'
import t from 'tap'
import { FlushQueue, OutBatch } from '../../../../gateway/edge/mqtt/out-batch.js'
import type { SharedBytes } from '../../../../gateway/edge/mqtt/shared-bytes.js'
import type { ByteTransport } from '../../../../gateway/edge/mqtt/transport.js'

class Sink implements ByteTransport {
  readonly remoteAddress = ''
  buffered = 0
  readonly writes: Uint8Array[] = []
  ended = false
  write(bytes: Uint8Array): boolean {
    // The batch may use its memory again; what is shared keeps its own.
    this.writes.push(bytes)
    return false
  }
  writeShared({ bytes }: SharedBytes): void {
    this.write(bytes)
  }
  end(): void {
    this.ended = true
  }
  destroy(): void {}
  pause(): void {}
  resume(): void {}
}

function setUp() {
  const turns: (() => void)[] = []
  const queue = new FlushQueue(
    (fn) => turns.push(fn),
    () => {},
  )
  const run = () => {
    while (turns.length > 0) turns.shift()?.()
  }
  return { queue, run }
}

t.test('a message for many is written to each without a copy, and copied where more comes behind it', async (t) => {
  const { queue, run } = setUp()
  const message = Buffer.from('..a message..')
  const sinks = [new Sink(), new Sink(), new Sink()]
  const batches = sinks.map((sink) => new OutBatch(sink, queue))
  for (const batch of batches) batch.share(message, 2, 11)
  batches[2]?.append(Buffer.from('!'))
  batches[1]?.end()
  run()
  t.same(
    sinks.map(({ writes }) => writes.map((bytes) => Buffer.from(bytes).toString())),
    [['a message'], ['a message'], ['a message!']],
  )
  t.equal(sinks[0]?.writes[0], sinks[1]?.writes[0], 'one view for all')
  t.equal(sinks[0]?.writes[0]?.buffer, message.buffer)
  t.not(sinks[2]?.writes[0]?.buffer, message.buffer, 'what is shared is never written to')
  t.ok(sinks[1]?.ended)
})

t.test('whatever is appended and shared leaves in its order, once a turn', async (t) => {
  const part = fc.record({ shared: fc.boolean(), size: fc.oneof(fc.integer({ min: 1, max: 200 }), fc.constant(5000)) })
  fc.assert(
    fc.property(fc.array(fc.array(part, { maxLength: 6 }), { maxLength: 5 }), (turnsOfParts) => {
      const { queue, run } = setUp()
      const sink = new Sink()
      const batch = new OutBatch(sink, queue)
      let next = 0
      const expected: Buffer[] = []
      for (const parts of turnsOfParts) {
        const bytes = parts.map(({ size }) => Buffer.alloc(size, next++ % 251))
        for (const [i, { shared }] of parts.entries()) {
          const whole = bytes[i] as Buffer
          if (shared) batch.share(Buffer.concat([Buffer.from('x'), whole]), 1, 1 + whole.length)
          else batch.append(whole)
        }
        run()
        if (parts.length > 0) expected.push(Buffer.concat(bytes))
      }
      return (
        sink.writes.length === expected.length &&
        expected.every((bytes, i) => bytes.equals(sink.writes[i] as Uint8Array))
      )
    }),
  )
  t.pass()
})

t.test('what a client that reads nothing leaves waiting keeps no more memory than it needs', async (t) => {
  const { queue, run } = setUp()
  const sink = new Sink()
  const batch = new OutBatch(sink, queue)
  for (let i = 0; i < 2000; i++) {
    batch.append(Uint8Array.of(i, i >> 8, 7))
    run()
    sink.buffered += 3
  }
  t.same(
    sink.writes.map((bytes) => (bytes[0] as number) | ((bytes[1] as number) << 8)),
    Array.from({ length: 2000 }, (_, i) => i),
    'nothing was written over',
  )
  const memory = [...new Set(sink.writes.map(({ buffer }) => buffer))].reduce(
    (sum, { byteLength }) => sum + byteLength,
    0,
  )
  t.ok(memory < 100_000, `${memory} bytes`)
})
