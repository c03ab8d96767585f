/** A device's session goes where the device goes: resume and takeover on the same gateway, another one, and after kill -9. */

import { fileURLToPath } from 'node:url'
import t from 'tap'
import { encodeFrame, FrameType } from '../../proto/frame.js'
import type { Counted } from './counting-handler.js'
import { PlainDevice } from './plain-device.js'
import { eventually, type Product, startProduct } from './product.js'

const HANDLER = fileURLToPath(new URL('counting-handler.js', import.meta.url))

let product: Product

t.before(async () => {
  product = await startProduct('--handler', HANDLER)
})

t.teardown(async () => {
  await product.stop()
})

const count = (seq: number) => encodeFrame({ seq, topic: 'count', payload: Buffer.from(String(seq)) })

/** Sends `from` to `to`, each answered, and resolves with the answers. Confirms them unless told not to. */
async function exchange(device: PlainDevice, from: number, to: number, confirm = true): Promise<Counted[]> {
  const answers: Counted[] = []
  for (let seq = from; seq <= to; seq++) device.send(count(seq))
  for (let seq = from; seq <= to; seq++) {
    const frame = await device.next(FrameType.DATA)
    answers.push(JSON.parse(Buffer.from(frame.payload()).toString()) as Counted)
    if (confirm) device.send(encodeFrame({ type: FrameType.ACK, ack: frame.seq }))
  }
  return answers
}

interface Welcome {
  session: string
  gateway: string
  resumed: string
}

async function welcome(device: PlainDevice): Promise<Welcome & { ack: number }> {
  const frame = await device.next(FrameType.WELCOME)
  return { ...(frame.headers() as unknown as Welcome), ack: frame.ack }
}

t.test('a session goes on at the other gateway, with its worker, its seqs and its state', async (t) => {
  const [a, b] = product.gateways
  const first = new PlainDevice(`${a?.ws}?device=roam`)
  const { session } = await welcome(first)
  const before = await exchange(first, 1, 5)
  first.close()
  const second = new PlainDevice(`${b?.ws}?device=roam&resume=${session}&ack=5`)
  t.match(await welcome(second), { session, gateway: b?.id, resumed: 'true', ack: 5 })
  const after = await exchange(second, 6, 8)
  t.equal(after[0]?.pid, before[0]?.pid, 'the same worker')
  t.same(
    after.map(({ n, count }) => [n, count]),
    [
      [6, 5],
      [7, 6],
      [8, 7],
    ],
  )
  second.close()
})

t.test(
  'answers that the device has not confirmed are sent again by the gateway it went to, marked and in order',
  async (t) => {
    const [a, b] = product.gateways
    const first = new PlainDevice(`${a?.ws}?device=unconfirmed`)
    const { session } = await welcome(first)
    await exchange(first, 1, 4, false)
    const second = new PlainDevice(`${b?.ws}?device=unconfirmed&resume=${session}&ack=2`)
    t.match(await welcome(second), { resumed: 'true' })
    for (const seq of [3, 4]) {
      const frame = await second.next(FrameType.DATA)
      t.equal(frame.seq, seq)
      t.ok(frame.redelivered)
      t.equal((JSON.parse(Buffer.from(frame.payload()).toString()) as Counted).n, seq)
    }
    t.equal(await first.closed, 4028, 'the first connection was taken over')
    second.close()
  },
)

t.test('a new session of the same device ends the old one, wherever it is', async (t) => {
  const [a, b] = product.gateways
  const first = new PlainDevice(`${a?.ws}?device=twice`)
  const { session } = await welcome(first)
  const second = new PlainDevice(`${b?.ws}?device=twice`)
  const fresh = await welcome(second)
  t.not(fresh.session, session)
  t.equal(fresh.resumed, 'false')
  t.match((await first.next(FrameType.GOAWAY)).headers(), { code: 'taken_over' })
  t.equal(await first.closed, 4028)
  t.equal((await exchange(second, 1, 1))[0]?.n, 1, 'seqs begin at 1 again')
  second.close()
})

t.test('a session that nobody knows begins anew', async (t) => {
  const device = new PlainDevice(`${product.gateways[0]?.ws}?device=stranger&resume=no-such-session&ack=7`)
  t.match(await welcome(device), { resumed: 'false', ack: 0 })
  t.equal((await exchange(device, 1, 1))[0]?.n, 1)
  device.close()
})

t.test('nobody takes over a session by its id with another device', async (t) => {
  const [a, b] = product.gateways
  const owner = new PlainDevice(`${a?.ws}?device=owner`)
  const { session } = await welcome(owner)
  await exchange(owner, 1, 2)
  const thief = new PlainDevice(`${b?.ws}?device=thief&resume=${session}&ack=0`)
  const got = await welcome(thief)
  t.equal(got.resumed, 'false')
  t.not(got.session, session)
  t.equal((await exchange(owner, 3, 3))[0]?.n, 3, 'the owner goes on undisturbed')
  owner.close()
  thief.close()
})

t.test('kill -9 of the gateway: the device goes on at the other one where it was', async (t) => {
  const [a, b] = product.gateways
  const first = new PlainDevice(`${a?.ws}?device=survivor`)
  const { session } = await welcome(first)
  const before = await exchange(first, 1, 5)
  process.kill(a?.pid ?? 0, 'SIGKILL')
  await first.closed
  const second = new PlainDevice(`${b?.ws}?device=survivor&resume=${session}&ack=5`)
  t.match(await welcome(second), { session, resumed: 'true' })
  const after = await exchange(second, 6, 7)
  t.equal(after[0]?.pid, before[0]?.pid, 'the same worker')
  t.same(
    after.map(({ n, count }) => [n, count]),
    [
      [6, 5],
      [7, 6],
    ],
  )
  second.close()
  await eventually('the gateway is back', 10_000, async () => {
    const { gateways } = await product.get<{ gateways: { id: string; state: string }[] }>('/v1/status')
    return gateways.filter(({ state }) => state === 'up').length === 2 ? true : undefined
  })
})
