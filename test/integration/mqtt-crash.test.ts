/**
 * kill -9 of a gateway: what it had taken over reaches every subscriber, and at QoS 2 none of it twice, if its sender's
 * session lasts.
 *
 *     SLUICE_SESSIONS=10000 node dist/test/integration/mqtt-crash.test.js     # more sessions that wait for their mail
 */

import mqtt from 'mqtt'
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

/** Sessions without a client, messages for each, and who sends them. */
const SESSIONS = Number(process.env.SLUICE_SESSIONS ?? 200)
const MAIL = 4
const SENDERS = 8
const AT_A_TIME = 100

/** Does `work` for 0 to `count` - 1, a hundred at a time. */
async function each(count: number, work: (i: number) => Promise<void>): Promise<void> {
  let next = 0
  const one = async (): Promise<void> => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: AT_A_TIME }, one))
}

t.test(
  `${SESSIONS} sessions get all that was acknowledged to its senders, though their gateway dies in between`,
  async (t) => {
    const product = await startProduct('--gateways', '1', '--workers', '1', '--data', t.testdir())
    t.teardown(() => product.stop())
    const mailbox = (i: number): Promise<RawClient> => client(product, { ...lasting, clientId: `box${i}` })
    await each(SESSIONS, async (i) => {
      const box = await mailbox(i)
      await box.subscribe(`mail/${i}`, 2)
      await box.disconnect()
    })

    const senders = await Promise.all(
      Array.from({ length: SENDERS }, async (_, i) => {
        const sender = mqtt.connect(product.gateways[0]?.mqtt ?? '', {
          ...{ clientId: `sender${i}`, clean: i % 2 === 0, protocolVersion: i % 4 < 2 ? 5 : 4, reconnectPeriod: 50 },
          ...(i % 4 < 2 && i % 2 === 1 ? { properties: { sessionExpiryInterval: 1000 } } : {}),
        })
        await new Promise((resolve) => sender.once('connect', resolve))
        return sender
      }),
    )
    let acknowledged = 0
    let killed = false
    const promised = new Set<string>()
    const half = (SESSIONS * MAIL) / 2
    await each(SESSIONS * MAIL, async (n) => {
      const [box, letter] = [n % SESSIONS, Math.floor(n / SESSIONS)]
      const sent = await senders[n % SENDERS]
        ?.publishAsync(`mail/${box}`, `${letter}`, { qos: letter % 2 === 0 ? 1 : 2 })
        // A client that does not know any more whether it arrived was promised nothing.
        .catch(() => undefined)
      if (sent === undefined) return
      promised.add(`${box}/${letter}`)
      if (++acknowledged < half || killed) return
      killed = process.kill(product.gateways[0]?.pid ?? 0, 'SIGKILL')
    })
    t.ok(killed, 'it died in the middle')
    await Promise.all(senders.map((sender) => sender.endAsync()))
    t.ok(promised.size > half, `${promised.size} of ${SESSIONS * MAIL} were acknowledged`)

    let missing = 0
    let twice = 0
    await each(SESSIONS, async (i) => {
      const box = await mailbox(i)
      const got: string[] = []
      box.send({ cmd: 'pingreq' })
      for (;;) {
        const packet = await box.take()
        if (packet.cmd === 'pingresp') break
        if (packet.cmd !== 'publish') continue
        got.push(`${packet.payload}`)
        if (packet.qos === 1) box.send({ cmd: 'puback', messageId: packet.messageId as number })
        else box.send({ cmd: 'pubrec', messageId: packet.messageId as number })
      }
      box.destroy()
      for (let letter = 0; letter < MAIL; letter++) {
        const times = got.filter((one) => one === `${letter}`).length
        if (times === 0 && promised.has(`${i}/${letter}`)) missing++
        const lasts = ((letter * SESSIONS + i) % SENDERS) % 2 === 1
        if (times > 1 && letter % 2 === 1 && lasts) twice++
      }
    })
    t.equal(missing, 0, 'none of them is missing')
    t.equal(twice, 0, 'none came twice')
  },
)
