/** A gateway whose listeners are all encrypted, with one thread and with two. */

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { get } from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import mqtt from 'mqtt'
import t, { type Test } from 'tap'
import WebSocket from 'ws'
import { encodeFrame, FrameType, FrameView } from '../../proto/frame.js'
import { eventually, type Product, SLUICE, startProduct } from './product.js'

const skip = spawnSync('openssl', ['version']).status === 0 ? false : 'no openssl'

function certificate(dir: string): { cert: string; key: string } {
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  execFileSync('openssl', ['req', '-x509', ...kind, '-keyout', key, '-out', cert, ...subject], { stdio: 'ignore' })
  return { cert, key }
}

interface Ready {
  http: string
  ws: string
  mqtt: string
}

/** Starts a gateway beside those of `product`, and ends it with the test. */
async function startGateway(t: Test, product: Product, cert: string, ...args: string[]): Promise<Ready> {
  const flags = ['--port', '0', '--mqtt-port', '0', '--coordinator', product.coordinator, '--json']
  const child = spawn(process.execPath, [SLUICE, 'gateway', ...flags, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    // Its threads dial each other, and check who they are.
    env: { ...process.env, NODE_EXTRA_CA_CERTS: cert },
  })
  t.teardown(async () => {
    child.kill('SIGINT')
    await once(child, 'exit')
  })
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  const ready = JSON.parse(line) as Ready
  // It serves already; what is published on one thread reaches the other once the two are connected.
  await eventually('a gateway that is ready', 10_000, async () =>
    (await statusOf(`${ready.http}/readyz`, readFileSync(cert))) === 200 ? true : undefined,
  )
  return ready
}

function statusOf(url: string, ca: Buffer): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get(url, { ca, agent: false }, (answer) => {
      answer.resume()
      resolve(answer.statusCode)
    }).once('error', reject)
  })
}

/** The first frame of this type. */
function next(socket: WebSocket, type: number): Promise<FrameView> {
  return new Promise((resolve) => {
    const take = (data: Buffer) => {
      const view = new FrameView()
      if (!view.read(data) || view.type !== type) return
      socket.off('message', take)
      resolve(view)
    }
    socket.on('message', take)
  })
}

t.test('devices of both protocols are served over TLS, and over nothing else', { skip }, async (t) => {
  const { cert, key } = certificate(t.testdir())
  const ca = readFileSync(cert)
  const product = await startProduct('--gateways', '1', '--workers', '1')
  t.teardown(() => product.stop())
  for (const threads of ['1', '2']) {
    const files = ['--tls-cert', cert, '--tls-key', key]
    const gateway = await startGateway(t, product, cert, '--id', `tls-${threads}`, '--threads', threads, ...files)
    t.match(gateway, { http: /^https:/, ws: /^wss:/, mqtt: /^mqtts:/ })
    const stranger = new WebSocket(`${gateway.ws}?device=stranger`)
    const [refused] = (await once(stranger, 'error')) as [Error]
    t.match(refused.message, /self.signed/, 'it shows its certificate')
    const socket = new WebSocket(`${gateway.ws}?device=ws-${threads}`, { ca })
    await next(socket, FrameType.WELCOME)
    socket.send(encodeFrame({ topic: 'x', payload: Buffer.from('hello') }))
    t.equal(Buffer.from((await next(socket, FrameType.DATA)).payload()).toString(), 'hello')
    socket.send(encodeFrame({ type: FrameType.SUBSCRIBE, seq: 1, topic: 'both', payload: new Uint8Array(0) }))
    await next(socket, FrameType.ACK)
    const heard = next(socket, FrameType.PUBLISH)
    const client = await mqtt.connectAsync(gateway.mqtt, { ca, clientId: `mqtt-${threads}` })
    await client.publishAsync('both', 'from mqtt', { qos: 1 })
    t.equal(Buffer.from((await heard).payload()).toString(), 'from mqtt')
    await client.endAsync()
    socket.close()
    t.not((await plainAnswer(Number(new URL(gateway.mqtt).port)))[0], 0x20, 'no CONNACK in the clear')
  }
})

/** What comes back to an MQTT CONNECT that is not encrypted, until the gateway hangs up. */
async function plainAnswer(port: number): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1')
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.on('error', () => {})
  socket.write(Buffer.from('100d00044d51545404020000000161', 'hex'))
  await new Promise<void>((resolve) => socket.once('close', () => resolve()))
  return Buffer.concat(chunks)
}

t.test('a certificate that cannot be used is said, and so is one half of the two flags', { skip }, async (t) => {
  const dir = t.testdir({ 'broken.pem': 'no certificate' })
  const broken = join(dir, 'broken.pem')
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [SLUICE, 'gateway', '--port', '0', '--mqtt-port', '0', ...args])
  const both = run('--tls-cert', broken, '--tls-key', broken)
  t.not(both.status, 0)
  t.match(`${both.stderr}`, /the TLS certificate cannot be used/)
  const half = run('--tls-cert', broken)
  t.equal(half.status, 2)
  t.match(`${half.stderr}`, /--tls-cert and --tls-key go together/)
})
