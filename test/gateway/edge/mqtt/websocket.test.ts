import { randomUUID } from 'node:crypto'
import mqtt from 'mqtt'
import t from 'tap'
import { WebSocket } from 'ws'
import { createMqttEdge } from '../../../../gateway/edge/mqtt/edge.js'
import { createMqttEndpoint } from '../../../../gateway/edge/mqtt/websocket.js'
import { createHttpServer } from '../../../../gateway/edge/server/create-server.js'
import { createFanout } from '../../../../gateway/fanout/fan-out.js'
import { encodePublish } from '../../../../proto/mqtt/encode.js'
import { ManualClock } from '../../../manual-clock.js'
import { FakeHost, quiet } from './harness.js'

for (const prefer of ['auto', 'node'] as const) {
  t.test(`MQTT over WebSocket on the ${prefer} server`, async (t) => {
    const clock = new ManualClock()
    const fanout = createFanout({ clock, log: quiet })
    const edge = createMqttEdge({ host: new FakeHost(), fanout, clock, log: quiet, newId: randomUUID })
    const server = await createHttpServer({ prefer, log: quiet, clock })
    server.websocket('/mqtt', createMqttEndpoint(edge))
    const url = `ws://127.0.0.1:${await server.listen('127.0.0.1', 0)}/mqtt`

    t.test('clients of both versions exchange messages, also large ones', async (t) => {
      for (const protocolVersion of [4, 5] as const) {
        const client = await mqtt.connectAsync(url, { protocolVersion, reconnectPeriod: 0 })
        await client.subscribeAsync('ws/#', { qos: 1 })
        const came = new Promise<number>((resolve) =>
          client.once('message', (_topic, payload) => resolve(payload.length)),
        )
        await client.publishAsync('ws/x', Buffer.alloc(300_000), { qos: 1 })
        t.equal(await came, 300_000)
        await client.endAsync()
      }
    })

    t.test('packets may be split over messages, several answers are one message', async (t) => {
      const socket = new WebSocket(url, 'mqtt')
      const answers: Buffer[] = []
      let wake: () => void = () => {}
      socket.on('message', (data: Buffer) => {
        answers.push(data)
        wake()
      })
      await new Promise((resolve) => socket.once('open', resolve))
      const connect = Buffer.from('100d00044d5154540402000a000178', 'hex').subarray(0, 15)
      connect[1] = 13
      socket.send(connect.subarray(0, 5))
      socket.send(connect.subarray(5))
      while (answers.length < 1)
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      t.equal(answers[0]?.toString('hex'), '20020000')
      const publish = (id: number): Buffer => {
        const { bytes, idAt } = encodePublish(false, {
          topic: 'a',
          payload: Buffer.from('x'),
          qos: 1,
          retain: false,
          properties: {},
        })
        bytes.writeUInt16BE(id, idAt)
        return bytes
      }
      socket.send(Buffer.concat([publish(1), publish(2), Buffer.from('c000', 'hex')]))
      while (answers.length < 2)
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      t.equal(answers[1]?.toString('hex'), '4002000140020002d000')
      const closed = new Promise<number>((resolve) => socket.once('close', resolve))
      socket.send('text')
      t.equal(await closed, 1003)
    })

    t.test('a client that does not offer the subprotocol is refused', async (t) => {
      const socket = new WebSocket(url)
      const status = await new Promise((resolve) => {
        socket.once('unexpected-response', (_request, response) => resolve(response.statusCode))
        socket.on('error', () => {})
      })
      t.equal(status, 400)
    })

    t.teardown(async () => {
      await edge.close()
      await server.close()
      await fanout.close()
    })
  })
}
