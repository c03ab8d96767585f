import t from 'tap'
import { SessionTransfer } from '../../gateway/session-transfer.js'
import { packControl, unpackControl } from '../../proto/control.js'
import { startBench } from './edge/mqtt/harness.js'

const lasting = { clean: false, properties: { sessionExpiryInterval: 1000 } }

async function start() {
  const [former, next] = [await startBench(), await startBench()]
  let deaf = false
  const asked: string[] = []
  const giver = new SessionTransfer('g1', { ask: () => undefined }, () => former.edge.travel, former.clock)
  const ask = (question: Uint8Array) => {
    const read = unpackControl(question) as { want: string }
    asked.push(read.want)
    const answer = deaf ? undefined : giver.answer(read)
    return Promise.resolve(answer === undefined || answer.length === 0 ? [] : [answer])
  }
  const taker = new SessionTransfer('g2', { ask }, () => next.edge.travel, next.clock)
  const client = await former.client({ ...lasting, clientId: 'roamer' })
  await client.subscribe('q', 1)
  await client.disconnect()
  const pub = await former.client({ clientId: 'pub' })
  pub.publish('q', 'x'.repeat(600_000), 1, { messageId: 1 })
  await pub.next('puback')
  return {
    former,
    next,
    giver,
    taker,
    asked,
    fail: () => (deaf = true),
    stop: () => Promise.all([former.close(), next.close()]),
  }
}

t.test('a session travels in pieces, and is forgotten where it was when all of it arrived', async (t) => {
  const { former, next, giver, taker, asked, stop } = await start()
  const offer = giver.offer('roamer')
  await taker.take('roamer', offer === undefined ? [] : [offer])
  t.same(asked, ['queue', 'queue', 'queue', 'done'])
  t.equal(former.edge.counters.sessions, 1, 'the publisher')
  const back = await next.client({ ...lasting, clientId: 'roamer' })
  t.ok(back.connack?.sessionPresent)
  t.equal((await back.nextPublish()).payload.length, 600_000)
  await stop()
})

t.test('a gateway that stops answering keeps its session, and the client has to come again', async (t) => {
  const { former, next, giver, taker, fail, stop } = await start()
  const offer = giver.offer('roamer')
  fail()
  await t.rejects(taker.take('roamer', offer === undefined ? [] : [offer]), { code: 'unavailable' })
  t.equal(next.edge.counters.sessions, 0)
  t.equal(former.edge.counters.sessions, 2)
  t.equal(giver.answer({ t: 'mqtt', from: 'other', device: 'roamer', want: 'done', offset: 0 })?.length, 0)
  t.equal(giver.answer(unpackControl(packControl({ device: 'roamer', gateway: 'g2' }))), undefined)
  await stop()
})
