import fc from 'fast-check'
import t from 'tap'
import { createMqttEdge } from '../../../../gateway/edge/mqtt/edge.js'
import type { SharedBytes } from '../../../../gateway/edge/mqtt/shared-bytes.js'
import type { ByteTransport } from '../../../../gateway/edge/mqtt/transport.js'
import { createFanout } from '../../../../gateway/fanout/fan-out.js'
import { ManualClock } from '../../../manual-clock.js'
import { FakeHost, quiet } from './harness.js'

class MemoryTransport implements ByteTransport {
  readonly remoteAddress = 'memory'
  readonly written: Buffer[] = []
  buffered = 0
  ended = false
  write(bytes: Uint8Array): boolean {
    this.written.push(Buffer.from(bytes))
    return true
  }
  writeShared({ bytes }: SharedBytes): void {
    this.write(bytes)
  }
  end(): void {
    this.ended = true
  }
  destroy(): void {
    this.ended = true
  }
  pause(): void {}
  resume(): void {}
}

/** An edge whose turns the test ends. */
function bench() {
  const turns: (() => void)[] = []
  const clock = new ManualClock()
  const log = {
    ...quiet,
    warn: (details: object, message: string) => warnings.push(`${message} ${JSON.stringify(details)}`),
  }
  const warnings: string[] = []
  const fanout = createFanout({ clock, log: quiet })
  const host = new FakeHost()
  const edge = createMqttEdge({ host, fanout, clock, log, newId: () => 'id', turn: (fn) => turns.push(fn) })
  const turn = (): void => {
    for (const fn of turns.splice(0)) fn()
  }
  return { edge, turn, clock, warnings, host }
}

const hex = (text: string): Buffer => Buffer.from(text.replace(/ /g, ''), 'hex')
const CONNECT = { 4: '100d 0004 4d515454 04 02 000a 0001 78', 5: '100e 0004 4d515454 05 02 000a 00 0001 78' }

t.test('everything for one client leaves in one write at the end of the turn', async (t) => {
  const { edge, turn } = bench()
  const transport = new MemoryTransport()
  const connection = edge.accept(transport)
  connection.receive(hex(`${CONNECT[4]} 8206 0001 0001 70 00 3003 0001 70 3003 0001 70 c000`))
  t.equal(transport.written.length, 0)
  turn()
  t.same(
    transport.written.map((bytes) => bytes.toString('hex')),
    ['20020000' + '9003000100' + '30030001703003000170' + 'd000'],
  )
  connection.receive(hex('e000'))
  turn()
  t.ok(transport.ended)
  await edge.close()
})

t.test('a slow client loses QoS 0 messages, and gets the others when it reads again', async (t) => {
  const { edge, turn } = bench()
  const transport = new MemoryTransport()
  const connection = edge.accept(transport)
  connection.receive(hex(`${CONNECT[4]} 8206 0001 0001 70 01`))
  turn()
  transport.written.length = 0
  transport.buffered = 100_000_000
  const other = edge.accept(new MemoryTransport())
  other.receive(hex('100d 0004 4d515454 04 02 000a 0001 79 3003 0001 70 3206 0001 70 0009 41'))
  turn()
  t.equal(edge.counters.droppedSlow, 1)
  t.same(transport.written, [])
  transport.buffered = 0
  connection.drained()
  turn()
  t.same(
    transport.written.map((bytes) => bytes.toString('hex')),
    ['320600017000' + '0141'],
  )
  await edge.close()
})

t.test('random packets behind a CONNECT never reach a defect, and a closed connection does nothing more', async (t) => {
  const { edge, turn, warnings, host, clock } = bench()
  host.outcome = 'routed'
  const packet = fc
    .tuple(fc.nat(255), fc.uint8Array({ maxLength: 40 }))
    .map(([first, body]) => Buffer.from([first, body.length, ...body]))
  const plausible = fc
    .constantFrom(
      '8206 0001 0001 70 02',
      '8207 0001 00 0001 70 02',
      '3406 0001 70 0009 41',
      '3407 0001 70 0009 00 41',
      '3006 0001 70 00 4142',
      '6202 0009',
      '5002 0001',
      '4002 0001',
      '7002 0001',
      'a205 0001 0001 70',
      'c000',
      'e000',
      '300b 0000 03 230001 4142434445',
      '300a 0001 70 03 230001 414243',
      'f000',
    )
    .map(hex)
  fc.assert(
    fc.property(
      fc.constantFrom(4 as const, 5 as const),
      fc.array(fc.oneof(packet, plausible, plausible), { maxLength: 12 }),
      fc.nat(64),
      (version, packets, cut) => {
        const transport = new MemoryTransport()
        const connection = edge.accept(transport)
        const stream = Buffer.concat([hex(CONNECT[version]), ...packets])
        connection.receive(stream.subarray(0, cut))
        connection.receive(stream.subarray(cut))
        host.sessions.get('x')?.processed(3)
        host.sessions.get('x')?.answer('p', 'answer', 1)
        turn()
        clock.advance(10)
        turn()
        connection.lost()
        const count = transport.written.length
        connection.receive(stream)
        turn()
        t.equal(transport.written.length, count)
      },
    ),
    { numRuns: 3000, seed: 20260102 },
  )
  t.same(warnings, [])
  t.equal(edge.counters.connections, 0)
  t.equal(edge.counters.sessions, 0)
  await edge.close()
})
