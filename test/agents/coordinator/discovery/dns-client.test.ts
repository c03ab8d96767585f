import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { createSystemClock } from '../../../../agents/coordinator/clock.js'
import { askSrv } from '../../../../agents/coordinator/discovery/dns-client.js'
import { type AnswerOptions, answerTo } from './dns-answer.js'
import { freePort } from './source-harness.js'

const NAME = '_sluice._tcp.test'
const RECORD = { name: 'a.test', port: 9000, priority: 0, weight: 1, ttl: 5 }
const NEVER = new AbortController().signal

/** A server; `udp` makes the datagrams that answer a question, `tcp` the answer on a connection. */
async function server(t: Test, udp: (question: Buffer) => Buffer[], tcp: AnswerOptions = {}): Promise<string> {
  for (let left = 20; ; left--) {
    const port = await freePort()
    const datagrams = createSocket('udp4')
    const streams = createServer((socket) => answerOn(socket, tcp))
    try {
      datagrams.bind(port, '127.0.0.1')
      await once(datagrams, 'listening')
      streams.listen(port, '127.0.0.1')
      await once(streams, 'listening')
    } catch (error) {
      if (left === 0) throw error
      continue
    }
    datagrams.on('message', (question, { port: to, address }) => {
      for (const answer of udp(question)) datagrams.send(answer, to, address)
    })
    t.teardown(() => {
      datagrams.close()
      streams.close()
    })
    return `127.0.0.1:${(datagrams.address() as AddressInfo).port}`
  }
}

/** In two pieces, as streams do it. */
function answerOn(socket: Socket, tcp: AnswerOptions): void {
  socket.once('data', (bytes: Buffer) => {
    const answer = answerTo(bytes.subarray(2), tcp)
    const head = Buffer.alloc(2)
    head.writeUInt16BE(answer.length)
    socket.write(Buffer.concat([head, answer.subarray(0, 5)]))
    setImmediate(() => socket.end(answer.subarray(5)))
  })
}

const ask = (...servers: string[]) => askSrv(NAME, servers, 150, createSystemClock(), NEVER)

t.test('an answer that does not fit is asked for again over TCP', async (t) => {
  const at = await server(t, (question) => [answerTo(question, { truncated: true })], { records: [RECORD, RECORD] })
  t.equal((await ask(at)).records.length, 2)
})

t.test('datagrams that are no answer to the question are passed over', async (t) => {
  const at = await server(t, (question) => {
    const forged = Buffer.from(question)
    forged[0] = (forged[0] ?? 0) ^ 1
    const lie = { ...RECORD, name: 'evil.test' }
    return [Buffer.from('nonsense'), answerTo(forged, { records: [lie] }), answerTo(question, { records: [RECORD] })]
  })
  t.equal((await ask(at)).records[0]?.name, 'a.test')
})

t.test('a server that fails, is silent or is not there is passed over for the next', async (t) => {
  const failing = await server(t, (question) => [answerTo(question, { code: 2 })])
  const silent = await server(t, () => [])
  const good = await server(t, (question) => [answerTo(question, { records: [RECORD] })])
  t.equal((await ask(failing, silent, '127.0.0.1:1', good)).records.length, 1)
  await t.rejects(ask(failing), { code: 'unavailable', message: /answers _sluice._tcp.test with failure 2/ })
  await t.rejects(ask(silent), { code: 'unavailable', message: /no answer within 150 ms/ })
  await t.rejects(ask('127.0.0.1:1'), /ECONNREFUSED/)
  await t.rejects(ask(), { message: /no DNS server is known/ })
})

t.test('a name that is not there is an answer, and says how long that holds', async (t) => {
  const at = await server(t, (question) => [answerTo(question, { code: 3, soa: [60, 7] })])
  t.same(await ask(at), { code: 3, truncated: false, records: [], ttl: 7 })
})

t.test('a signal ends it', async (t) => {
  const silent = await server(t, () => [])
  const stop = new AbortController()
  const asked = askSrv(NAME, [silent], 5000, createSystemClock(), stop.signal)
  stop.abort(new Error('closed'))
  await t.rejects(asked, { message: 'closed' })
})
