import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { type WebSocket, WebSocketServer } from 'ws'
import { createFanoutCounters, type FanoutCounters } from '../../../gateway/fanout/counters.js'
import { InterestLedger } from '../../../gateway/fanout/interest-ledger.js'
import { OctetWriter } from '../../../gateway/fanout/octets.js'
import { PeerLink } from '../../../gateway/fanout/peer-link.js'
import { type PeerSink, readRecords, writeAnswer, writeHello } from '../../../gateway/fanout/peer-wire.js'
import { ManualTurns, systemClock, until } from './fixtures.js'

/** The other gateway: what it was asked, in which WebSocket messages, and a way to answer. */
interface Host {
  link: PeerLink
  counters: FanoutCounters
  turns: ManualTurns
  /** Bodies by WebSocket message. */
  asked: { number: number; body: number[] }[][]
  say(write: (out: OctetWriter) => void): void
  cut(): void
}

async function startHost(t: Test): Promise<Host> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await once(server, 'listening')
  const counters = createFanoutCounters()
  const turns = new ManualTurns()
  const ledger = new InterestLedger({
    clock: systemClock,
    turn: turns.turn,
    announce: () => {},
    acknowledged: () => Number.POSITIVE_INFINITY,
  })
  const nothing = () => {}
  const handlers = { message: nothing, retained: nothing, members: nothing }
  const connected = once(server, 'connection')
  const link = new PeerLink('b', `http://127.0.0.1:${(server.address() as AddressInfo).port}`, {
    id: 'a',
    clock: systemClock,
    random: () => 0,
    token: undefined,
    tls: undefined,
    handlers: { ...handlers, newestRetained: () => undefined, retainedSet: () => [] },
    counters,
    ledger: () => ledger,
    turn: turns.turn,
    changed: nothing,
  })
  const [socket] = (await connected) as [WebSocket]
  const asked: Host['asked'] = []
  socket.on('message', (data: Buffer) => {
    const of: Host['asked'][number] = []
    const sink = { hello: nothing, interest: nothing, mark: nothing, ack: nothing, message: nothing, retained: nothing }
    const ask = (number: number, body: Uint8Array) => void of.push({ number, body: [...body] })
    readRecords(data, { ...sink, synced: nothing, answer: nothing, ask } satisfies PeerSink)
    if (of.length > 0) asked.push(of)
  })
  t.teardown(() => {
    link.close()
    socket.terminate()
    server.close()
  })
  const say = (write: (out: OctetWriter) => void) => {
    const out = new OctetWriter()
    write(out)
    socket.send(out.take())
  }
  say((out) => writeHello(out, 'b'))
  await until(() => link.connected, 'the greeting')
  return { link, counters, turns, asked, say, cut: () => socket.terminate() }
}

t.test('the first question leaves at once, those of the same turn leave together when the turn ends', async (t) => {
  const { link, turns, asked, say } = await startHost(t)
  const answers: (number[] | undefined)[] = []
  for (let i = 1; i <= 4; i++) link.question(Uint8Array.of(i), (answer) => answers.push(answer && [...answer]))
  await until(() => asked.length === 1, 'the first one')
  t.same(asked, [[{ number: 1, body: [1] }]])
  turns.run()
  await until(() => asked.length === 2, 'the rest')
  t.same(
    asked[1]?.map(({ number, body }) => [number, ...body]),
    [
      [2, 2],
      [3, 3],
      [4, 4],
    ],
  )
  say((out) => {
    writeAnswer(out, 3, Uint8Array.of(30))
    writeAnswer(out, 1, new Uint8Array(0))
    writeAnswer(out, 3, Uint8Array.of(31))
    writeAnswer(out, 99, Uint8Array.of(99))
    writeAnswer(out, 2, Uint8Array.of(20))
  })
  await until(() => answers.length >= 3, 'three answers')
  t.same(
    answers,
    [[30], [], [20]],
    'each question is answered once, by its number, and unknown numbers are passed over',
  )
})

t.test('questions of a lost connection are answered with undefined, and so are those after it', async (t) => {
  const { link, counters, turns, cut } = await startHost(t)
  const answers: unknown[] = []
  link.question(Uint8Array.of(1), (answer) => answers.push(answer))
  link.question(Uint8Array.of(2), (answer) => answers.push(answer))
  turns.run()
  cut()
  await until(() => !link.connected, 'the loss')
  t.same(answers, [undefined, undefined])
  link.question(Uint8Array.of(3), (answer) => answers.push(answer))
  t.equal(answers.length, 3, 'at once')
  t.equal(counters.busMalformed, 0)
})

t.test('a gateway whose records cannot be read is cut off, and counted', async (t) => {
  const { link, counters, say } = await startHost(t)
  const answered = new Promise((resolve) => link.question(Uint8Array.of(1), resolve))
  say((out) => out.raw(Uint8Array.of(9, 200, 1)))
  t.equal(await answered, undefined)
  t.equal(counters.busMalformed, 1)
})
