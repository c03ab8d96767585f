/** kill -9 of a gateway between PUBREC and PUBREL: what it had taken over reaches every subscriber, and none of it twice. */

import t from 'tap'
import { RawClient } from '../gateway/edge/mqtt/harness.js'
import { completeQos2, connectPacket } from '../gateway/edge/mqtt/interop.js'
import { eventually, type Product, startProduct } from './product.js'

const lasting = { clean: false, properties: { sessionExpiryInterval: 1000 } }
const PUBLISHERS = 50
const EACH = 10

/** A client that has read its CONNACK; tried again while the gateway is not there, or its kernel still takes connections for it. */
function client({ gateways }: Product, options: object): Promise<RawClient> {
  const port = Number(new URL(gateways[0]?.mqtt ?? '').port)
  return eventually('a connection', 20_000, async () => {
    const raw = await RawClient.open(port, 5).catch(() => undefined)
    raw?.send(connectPacket(5, options))
    const connack = await raw?.next('connack').catch(() => undefined)
    if (raw === undefined || connack?.cmd !== 'connack') return undefined
    raw.connack = connack
    return raw
  })
}

const optionsOf = (i: number): object => ({ clientId: `pub${i}`, ...(i % 2 === 0 && lasting) })

t.test('messages between PUBREC and PUBREL outlive a kill -9, of publishers that last and of others', async (t) => {
  const product = await startProduct('--gateways', '1', '--workers', '1', '--data', t.testdir())
  t.teardown(() => product.stop())
  const listener = await client(product, { ...lasting, clientId: 'listener' })
  await listener.subscribe('crash/+', 1)
  await listener.disconnect()

  const publishers = await Promise.all(Array.from({ length: PUBLISHERS }, (_, i) => client(product, optionsOf(i))))
  await Promise.all(
    publishers.map(async (pub, i) => {
      for (let n = 1; n <= EACH; n++) pub.publish(`crash/${i}`, `${n}`, 2, { messageId: n })
      for (let n = 1; n <= EACH; n++) await pub.next('pubrec')
      // One exchange of each is complete, and of one the process may see no more than the PUBREL.
      pub.send({ cmd: 'pubrel', messageId: 1 })
      await pub.next('pubcomp')
      pub.send({ cmd: 'pubrel', messageId: 2 })
    }),
  )
  process.kill(product.gateways[0]?.pid ?? 0, 'SIGKILL')
  await Promise.all(publishers.map((pub) => pub.ended()))

  // Half of those that last are back before the gateway publishes by itself, and go on where they were.
  for (let i = 0; i < PUBLISHERS; i += 4) {
    const pub = await client(product, optionsOf(i))
    t.ok(pub.connack?.sessionPresent)
    pub.publish(`crash/${i}`, `${EACH}`, 2, { messageId: EACH, dup: true })
    await completeQos2(pub, EACH)
    for (let n = 2; n < EACH; n++) {
      pub.send({ cmd: 'pubrel', messageId: n })
      await pub.next('pubcomp')
    }
    pub.destroy()
  }

  const back = await client(product, { ...lasting, clientId: 'listener' })
  const heard = new Map<string, number[]>()
  for (let i = 0; i < PUBLISHERS * EACH; i++) {
    const { topic, payload, messageId } = await back.nextPublish()
    heard.set(topic, [...(heard.get(topic) ?? []), Number(payload)])
    back.send({ cmd: 'puback', messageId: messageId as number })
  }
  await back.nothing()
  const all = Array.from({ length: EACH }, (_, n) => n + 1)
  for (let i = 0; i < PUBLISHERS; i++) t.same(heard.get(`crash/${i}`), all, `crash/${i}`)
  back.destroy()
})
