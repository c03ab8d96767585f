import { createHash } from 'node:crypto'
import t from 'tap'
import { Reason } from '../../../../proto/mqtt/packet.js'
import { startBench } from './harness.js'

const LONG = 'a'.repeat(65_535)
const DEVICE = `${'a'.repeat(64)}~sha256:${createHash('sha256').update(LONG).digest('hex')}`

t.test(
  'a client id has up to 65,535 bytes, in every version; the rest of the gateway sees a shorter one',
  async (t) => {
    const bench = await startBench()
    for (const [protocolVersion, protocolId] of [
      [3, 'MQIsdp'],
      [4, 'MQTT'],
      [5, 'MQTT'],
    ] as const) {
      const client = await bench.client({ protocolVersion, protocolId, clientId: LONG })
      t.equal(client.connack?.returnCode ?? client.connack?.reasonCode, 0, `version ${protocolVersion}`)
      t.notOk(client.connack?.properties?.assignedClientIdentifier)
      t.same([...bench.host.sessions.keys()], [DEVICE])
      await client.disconnect()
    }
    await bench.close()
  },
)

t.test(
  'a session goes on with a long client id, and a client that spells its device id has no part in it',
  async (t) => {
    const bench = await startBench()
    const lasting = { clean: false, properties: { sessionExpiryInterval: 60 } }
    const first = await bench.client({ clientId: LONG, ...lasting })
    await first.subscribe('mail', 1)
    const spy = await bench.client({ clientId: DEVICE, ...lasting })
    t.equal(spy.connack?.sessionPresent, false)
    await first.nothing()
    await first.disconnect()
    spy.publish('mail', 'for the first', 1)
    await spy.next('puback')
    await spy.nothing()
    const back = await bench.client({ clientId: LONG, ...lasting })
    t.equal(back.connack?.sessionPresent, true)
    t.equal(String((await back.nextPublish()).payload), 'for the first')
    const again = await bench.client({ clientId: LONG, ...lasting })
    t.equal(await back.ended(), Reason.SESSION_TAKEN_OVER)
    await again.next('publish')
    await spy.nothing()
    t.equal(bench.host.sessions.size, 2)
    await bench.close()
  },
)

t.test(
  'who asks for credentials hears the whole client id, rules and response information the device id',
  async (t) => {
    let heard = ''
    const bench = await startBench({
      authenticate: ({ clientId }) => {
        heard = clientId
        return { accepted: true }
      },
      rules: { publish: { allow: ['own/%c'] } },
      options: { responseInformation: 'replies/%c' },
    })
    const client = await bench.client({ clientId: LONG, properties: { requestResponseInformation: true } })
    t.equal(heard, LONG)
    t.equal(client.connack?.properties?.responseInformation, `replies/${DEVICE}`)
    const reasons: (number | undefined)[] = []
    for (const topic of [`own/${DEVICE}`, `own/${'a'.repeat(64)}`]) {
      client.publish(topic, 'x', 1)
      reasons.push(((await client.next('puback')) as { reasonCode?: number }).reasonCode)
    }
    t.same(reasons, [Reason.NO_MATCHING_SUBSCRIBERS, Reason.NOT_AUTHORIZED])
    const nameless = await bench.client({ clientId: '' })
    t.equal(heard, nameless.connack?.properties?.assignedClientIdentifier)
    await bench.close()
  },
)
