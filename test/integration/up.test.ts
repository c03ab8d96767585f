/** What a user sees of `sluice up`: every promise of the contract, on real clients. */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import mqtt, { type IClientOptions } from 'mqtt'
import t from 'tap'
import { encodeFrame, FrameType } from '../../proto/frame.js'
import { PlainDevice } from './plain-device.js'
import { eventually, type Product, SLUICE, startProduct } from './product.js'

const run = promisify(execFile)

interface Status {
  version: number
  workers: { id: string; sessions: number; state: string; pid: number }[]
  gateways: { id: string; sessions: number }[]
}

async function connect(ws: string, device: string): Promise<PlainDevice> {
  const plain = new PlainDevice(`${ws}?device=${device}`)
  await plain.next(FrameType.WELCOME)
  return plain
}

/** Publishes with an MQTT client and resolves with what came back on TOPIC/reply. */
async function mqttEcho(url: string, options: IClientOptions, topic: string, qos: 0 | 1): Promise<string> {
  const client = await mqtt.connectAsync(url, { reconnectPeriod: 0, ...options })
  try {
    await client.subscribeAsync(`${topic}/reply`, { qos })
    const reply = new Promise<string>((resolve) =>
      client.once('message', (_topic, payload) => resolve(String(payload))),
    )
    await client.publishAsync(topic, `hello on ${topic}`, { qos })
    return await reply
  } finally {
    await client.endAsync(true)
  }
}

/** A mosquitto_sub for one message, once its SUBACK is here. */
async function subscribed(args: readonly string[]): Promise<{ message: Promise<string> }> {
  // -d prints the SUBACK, which is the event to wait for; unbuffered, or it stays in the pipe.
  const sub = spawn('stdbuf', ['-oL', 'mosquitto_sub', ...args, '-d', '-C', '1', '-W', '5', '-F', 'GOT %t %p'])
  const lines = createInterface({ input: sub.stdout })
  const message = new Promise<string>((resolve) => {
    lines.on('line', (line) => line.startsWith('GOT ') && resolve(line.slice(4)))
    lines.on('close', () => resolve('nothing came'))
  })
  await new Promise<void>((resolve, reject) => {
    lines.on('line', (line) => line.startsWith('Subscribed') && resolve())
    lines.on('close', () => reject(new Error('mosquitto_sub ended before its SUBACK')))
  })
  return { message }
}

const mqttPort = (gateway: number): string => new URL(product.gateways[gateway]?.mqtt ?? '').port

let product: Product

t.before(async () => {
  product = await startProduct()
})

t.teardown(async () => {
  await product.stop()
})

t.test('up prints one line that names everything, and everything is up', async (t) => {
  t.match(product, {
    coordinator: /^http:\/\/127\.0\.0\.1:\d+$/,
    gateways: [
      { id: String, pid: Number, http: /^http:/, ws: /^ws:.*\/v1\/connect$/, mqtt: /^mqtt:/ },
      { id: String, pid: Number },
    ],
    workers: [{ id: String, pid: Number, pool: 'default', link: String }, {}, {}],
  })
  const status = await product.get<Status>('/v1/status')
  t.equal(status.workers.length, 3)
  t.equal(status.gateways.length, 2)
  for (const { http } of product.gateways) {
    t.equal((await fetch(`${http}/healthz`)).status, 200)
    t.equal((await fetch(`${http}/readyz`)).status, 200)
    t.match(await (await fetch(`${http}/metrics`)).text(), /sluice_sessions/)
  }
  t.equal((await fetch(`${product.coordinator}/readyz`)).status, 200)
})

t.test('a hand-encoded DATA frame comes back with topic and payload intact, on either gateway', async (t) => {
  for (const [i, { ws }] of product.gateways.entries()) {
    const device = await connect(ws, `plain-${i}`)
    const payload = Buffer.from([0, 255, 1, 128, 10])
    device.send(encodeFrame({ type: FrameType.DATA, topic: 'any/topic/ü', payload, headers: { a: 'b' } }))
    const back = await device.next(FrameType.DATA)
    t.equal(back.topic(), 'any/topic/ü')
    t.same(Buffer.from(back.payload()), payload)
    device.close()
  }
})

t.test(
  '200 devices with 20 acknowledged frames each get them back in order, none twice, from even workers',
  async (t) => {
    const before = new Map((await product.get<Status>('/v1/status')).workers.map(({ id, sessions }) => [id, sessions]))
    const devices = await Promise.all(
      Array.from({ length: 200 }, (_, i) => connect(product.gateways[i % 2]?.ws ?? '', `even-${i}`)),
    )
    await Promise.all(
      devices.map(async (device, i) => {
        for (let seq = 1; seq <= 20; seq++)
          device.send(encodeFrame({ seq, topic: `even/${i}`, payload: Buffer.from(`${i}:${seq}`) }))
        const got: string[] = []
        for (let seq = 1; seq <= 20; seq++) {
          const frame = await device.next(FrameType.DATA)
          got.push(Buffer.from(frame.payload()).toString())
          device.send(encodeFrame({ type: FrameType.ACK, ack: frame.seq }))
        }
        const wanted = Array.from({ length: 20 }, (_, n) => `${i}:${n + 1}`)
        if (String(got) !== String(wanted)) t.same(got, wanted, `device even-${i}`)
      }),
    )
    const sessions = await eventually('200 more sessions', 5000, async () => {
      const { workers } = await product.get<Status>('/v1/status')
      const more = workers.map((worker) => worker.sessions - (before.get(worker.id) ?? 0))
      return more.reduce((a, b) => a + b, 0) >= 199 ? more : undefined
    })
    for (const count of sessions) t.ok(count > 45 && count < 90, `${sessions} sessions: about 67 each`)
    const found = await product.get<{ bindings: Record<string, { worker: string }> }>('/v1/sessions/even-7')
    t.match(found, { device: 'even-7', bindings: { default: { worker: String, slot: Number, epoch: Number } } })
    for (const device of devices) device.close()
  },
)

t.test('mqtt.js with 3.1.1 and 5, on TCP and on WebSocket, gets the answer on TOPIC/reply', async (t) => {
  for (const { mqtt: tcp, http } of product.gateways) {
    for (const protocolVersion of [4, 5] as const) {
      for (const url of [tcp, `${http.replace('http', 'ws')}/mqtt`]) {
        for (const qos of [0, 1] as const) {
          const topic = `echo/${protocolVersion}/${qos}`
          t.equal(
            await mqttEcho(url, { protocolVersion }, topic, qos),
            `hello on ${topic}`,
            `${url} v${protocolVersion}`,
          )
        }
      }
    }
  }
})

t.test('mosquitto_rr gets the answer on the response topic that it names', async (t) => {
  const rr = spawn('mosquitto_rr', [
    ...['-p', mqttPort(0), '-V', '5', '-t', 'rr/1'],
    ...['-e', 'rr/answer', '-m', 'request', '-W', '5'],
  ])
  t.equal(await output(rr), 'request\n')
})

t.test('mosquitto_sub hears on TOPIC/reply what a worker answers to a mosquitto_pub on TOPIC', async (t) => {
  for (const publishedAt of [0, 1]) {
    for (const qos of ['0', '1', '2']) {
      for (const version of ['mqttv311', 'mqttv5']) {
        const topic = `pub/${publishedAt}/${qos}/${version}`
        const heard = await subscribed(['-p', mqttPort(0), '-V', version, '-q', qos, '-t', `${topic}/reply`])
        await run('mosquitto_pub', ['-p', mqttPort(publishedAt), '-V', version, '-q', qos, '-t', topic, '-m', 'hello'])
        t.equal(await heard.message, `${topic}/reply hello`)
      }
    }
  }
})

t.test('MQTT publishes reach WebSocket subscribers on the other gateway, and the other way round', async (t) => {
  const [a, b] = product.gateways
  const socket = await connect(a?.ws ?? '', 'cross-ws')
  socket.send(encodeFrame({ type: FrameType.SUBSCRIBE, seq: 1, topic: 'cross/+/up' }))
  await socket.next(FrameType.ACK)
  const client = await mqtt.connectAsync(b?.mqtt ?? '', { clientId: 'cross-mqtt', reconnectPeriod: 0 })
  await client.publishAsync('cross/1/up', 'from mqtt', { qos: 1 })
  const published = await socket.next(FrameType.PUBLISH)
  t.equal(published.topic(), 'cross/1/up')
  t.equal(Buffer.from(published.payload()).toString(), 'from mqtt')

  await client.subscribeAsync('cross/#')
  const arrived = new Promise<string>((resolve) => client.once('message', (topic, text) => resolve(`${topic} ${text}`)))
  socket.send(encodeFrame({ type: FrameType.PUBLISH, topic: 'cross/2/down', payload: Buffer.from('from ws') }))
  t.equal(await arrived, 'cross/2/down from ws')
  await client.endAsync(true)
  socket.close()
})

t.test('what breaks the contract is refused with the code that the contract names', async (t) => {
  const { ws, http } = product.gateways[0] ?? { ws: '', http: '' }
  const undecodable = await connect(ws, 'bad-1')
  undecodable.send(Buffer.from([0xff, 0xff, 0xff]))
  t.equal(await undecodable.closed, 1007)
  const text = await connect(ws, 'bad-2')
  text.send('hello')
  t.equal(await text.closed, 1003)
  const large = await connect(ws, 'bad-3')
  large.send(encodeFrame({ payload: new Uint8Array(1024 * 1024 + 1) }))
  t.equal(await large.closed, 1009)
  const nameless = await fetch(`${http}/v1/connect`)
  t.equal(nameless.status, 400)
  t.match(await nameless.json(), { error: { code: 'no_device_id', message: String } })
})

t.test('a second up on the same ports says which port is taken and which flag changes it', async (t) => {
  const port = new URL(product.gateways[0]?.http ?? '').port
  const args = ['up', '--devices', '0', '--coordinator-port', '0', '--link-port', '0', '--mqtt-port', '0']
  const failed = await run(process.execPath, [SLUICE, ...args, '--gateway-port', port]).catch((error) => error)
  t.equal(failed.code, 1)
  t.match(String(failed.stderr), new RegExp(`${port}[^]*--gateway-port`))
})

t.test('SIGINT: exit 0 within 5 s and no process left', async (t) => {
  const other = await startProduct('--workers', '2')
  const pids = [...other.gateways, ...other.workers].map(({ pid }) => pid)
  const began = performance.now()
  t.equal(await other.stop(), 0, other.complaints())
  t.ok(performance.now() - began < 5000)
  t.same(pids.filter(alive), [])
})

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function output(child: ChildProcess): Promise<string> {
  let text = ''
  child.stdout?.on('data', (chunk) => {
    text += chunk
  })
  await new Promise((resolve) => child.once('close', resolve))
  return text
}
