import t from 'tap'
import { echo } from '../../../agents/worker/echo.js'
import { LINK_PROTOCOL, LinkKind } from '../../../proto/link.js'
import { seededRandom } from '../../seeded-random.js'
import { GatewayEnd } from './gateway-end.js'
import { startWorker } from './start-worker.js'

t.test('HELLO comes first, speaks the same protocol and shows the token', async (t) => {
  const { worker, log } = await startWorker(t, echo, { token: 'fleet secret' })
  const cases: [string, (end: GatewayEnd) => void, string][] = [
    ['no HELLO', (end) => end.attach(1, { session: 's', epoch: 1 }), 'protocol_mismatch'],
    ['another protocol', (end) => end.hello('gw', 'fleet secret', LINK_PROTOCOL + 1), 'protocol_mismatch'],
    ['no token', (end) => end.hello('gw'), 'unauthorized'],
    ['a wrong token', (end) => end.hello('gw', 'fleet secreT'), 'unauthorized'],
    ['not a map', (end) => end.raw(LinkKind.HELLO, 0, Uint8Array.of(0x90)), 'bad_request'],
  ]
  for (const [name, say, code] of cases) {
    const end = new GatewayEnd(worker.link)
    say(end)
    end.flush()
    t.match(await end.next(), ['CLOSE', 0, { code }], name)
    t.same(await end.next(), ['closed'], name)
  }
  t.notMatch(JSON.stringify(log), /secre/, 'tokens are not logged')
  t.ok(log.some(({ message }) => /run the same version/.test(message)))
  const fine = await GatewayEnd.open(worker.link, 'gw', 'fleet secret')
  fine.close()
})

t.test('a connection that says nothing is closed', async (t) => {
  const { worker } = await startWorker(t, echo, { limits: { helloMs: 20 } })
  const silent = new GatewayEnd(worker.link)
  t.match(await silent.next(), ['CLOSE', 0, { code: 'protocol_mismatch' }])
  t.same(await silent.next(), ['closed'])
})

t.test('PING is answered with its own body while handlers wait', async (t) => {
  const { worker } = await startWorker(t, { frame: () => new Promise(() => undefined) })
  const gateway = await GatewayEnd.open(worker.link)
  gateway.attach(1, { session: 's', epoch: 1 })
  gateway.frame(1, { seq: 1 })
  gateway.raw(LinkKind.PING, 0, Uint8Array.of(1, 2, 3))
  gateway.flush()
  t.same(await gateway.some(2), [
    ['ATTACHED', 1, { epoch: 1 }],
    ['PONG', 0, 1, 2, 3],
  ])
  gateway.close()
})

t.test('records that came in one chunk are answered in one write', async (t) => {
  const { worker } = await startWorker(t, echo)
  const gateway = await GatewayEnd.open(worker.link)
  for (let binding = 1; binding <= 50; binding++) {
    gateway.attach(binding, { session: `s${binding}`, epoch: 1 })
    gateway.frame(binding, { seq: 1, text: 'x' })
  }
  const before = gateway.chunks
  gateway.flush()
  const records = await gateway.some(150)
  t.equal(records.filter(([name]) => name === 'ACK').length, 50)
  t.ok(gateway.chunks - before <= 2, `${gateway.chunks - before} chunks for 150 records`)
  gateway.close()
})

t.test('records that break the rules close their own link and no other', async (t) => {
  const { worker } = await startWorker(t, echo)
  const witness = await GatewayEnd.open(worker.link, 'witness')
  witness.attach(1, { session: 'w', epoch: 1 })
  const cases: [string, (end: GatewayEnd) => void][] = [
    ['binding 0', (end) => end.attach(0, { session: 's', epoch: 1 })],
    [
      'a binding in use',
      (end) => {
        end.attach(1, { session: 'u1', epoch: 1 })
        end.attach(1, { session: 'u2', epoch: 1 })
      },
    ],
    [
      'a frame that is none',
      (end) => {
        end.attach(1, { session: 's', epoch: 9 })
        end.raw(LinkKind.FRAME, 1, Uint8Array.of(0x22, 0x7f))
      },
    ],
    [
      'an ACK that is cut off',
      (end) => {
        end.attach(1, { session: 's', epoch: 19 })
        end.raw(LinkKind.ACK, 1, Uint8Array.of(0x80))
      },
    ],
    ['a negative epoch', (end) => end.attach(1, { session: 's', epoch: -1 })],
    ['a second HELLO', (end) => end.hello('gw')],
    ['a length above the limit', (end) => void end.socket.write(Uint8Array.of(255, 255, 255, 255, 8, 1, 0, 0, 0))],
    ['a length below the header', (end) => void end.socket.write(Uint8Array.of(4, 0, 0, 0, 8, 1, 0, 0, 0))],
  ]
  for (const [name, say] of cases) {
    const end = await GatewayEnd.open(worker.link, 'gw')
    say(end)
    end.flush()
    let last: unknown[] = []
    for (let record = await end.next(); record[0] !== 'closed'; record = await end.next()) last = record
    t.match(last, ['CLOSE', 0, { code: /bad_request|bad_frame|protocol_mismatch/ }], name)
  }
  witness.frame(1, { text: 'still here' })
  t.same((await witness.settled()).at(-1), ['FRAME', 1, 0, '', 'still here'])
  witness.close()
})

t.test('unknown kinds, unknown bindings and unknown fields are passed over', async (t) => {
  const { worker } = await startWorker(t, echo)
  const gateway = await GatewayEnd.open(worker.link)
  gateway.raw(200, 3, Uint8Array.of(1, 2, 3))
  gateway.frame(77, { seq: 1, text: 'nobody' })
  gateway.ack(77, 3)
  gateway.detach(77, 1)
  gateway.control(LinkKind.CLOSE, 77, { code: 'closed' })
  gateway.attach(1, { session: 's', epoch: 1, ...{ future: [1, { a: 2 }] } })
  t.same(await gateway.settled(), [['ATTACHED', 1, { epoch: 1 }]])
  gateway.close()
})

t.test('no bytes that a peer sends take the worker down (seeded fuzz)', async (t) => {
  const { worker } = await startWorker(t, echo)
  const random = seededRandom(20_260)
  const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => Math.floor(random() * 256))
  const whole = (): number => Math.floor(random() * 6)
  for (let round = 0; round < 150; round++) {
    const end = await GatewayEnd.open(worker.link, `fuzz-${round}`)
    for (let record = 0; record < 30; record++) {
      const dice = random()
      if (dice < 0.25)
        end.attach(1 + record, { session: `s${whole()}`, epoch: round * 40 + record, acked: whole(), sent: whole() })
      else if (dice < 0.6) end.frame(1 + Math.floor(random() * 30), { seq: whole(), text: 'x', topic: 't' })
      else if (dice < 0.7) end.detach(1 + Math.floor(random() * 30), round * 40 + whole())
      else if (dice < 0.8) end.ack(1 + Math.floor(random() * 30), whole())
      else if (dice < 0.85) end.control(LinkKind.CLOSE, 1 + Math.floor(random() * 30), { code: 'closed' })
    }
    const sent = end.take()
    // Half of the rounds are broken somewhere: a flipped byte, a cut, or noise behind.
    if (random() < 0.5) sent[Math.floor(random() * sent.length)] = Math.floor(random() * 256)
    end.socket.write(random() < 0.3 ? sent.subarray(0, Math.floor(random() * sent.length)) : sent)
    if (random() < 0.3) end.socket.write(bytes(40))
    end.socket.end()
    while ((await end.next())[0] !== 'closed');
  }
  const gateway = await GatewayEnd.open(worker.link, 'after')
  gateway.attach(1, { session: 'fresh', epoch: 1 })
  gateway.frame(1, { text: 'alive' })
  t.same(await gateway.settled(), [
    ['ATTACHED', 1, { epoch: 1 }],
    ['FRAME', 1, 0, '', 'alive'],
  ])
  gateway.close()
})
