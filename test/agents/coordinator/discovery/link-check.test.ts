import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { createSystemClock } from '../../../../agents/coordinator/clock.js'
import { checkLink, type LinkCheckOptions } from '../../../../agents/coordinator/discovery/link-check.js'
import { createWorker, type WorkerOptions } from '../../../../agents/worker/mod.js'
import { SluiceError } from '../../../../proto/errors.js'
import { LinkKind, RecordBatch, RecordReader } from '../../../../proto/link.js'
import { packLinkControl, readHello } from '../../../../proto/link-control.js'
import { GatewayEnd } from '../../worker/gateway-end.js'

const hasOpenssl = spawnSync('openssl', ['version']).status === 0
const HOW: LinkCheckOptions = { coordinator: 'c1', timeoutMs: 2000, clock: createSystemClock() }

async function worker(t: Test, more: Partial<WorkerOptions> = {}) {
  const log: string[] = []
  const line = (_fields: object, message: string): void => void log.push(message)
  const made = await createWorker({
    ...{ pool: 'p1', id: 'w-1', handler: { frame: () => {} }, log: { info: line, warn: line, error: line } },
    ...more,
  })
  t.teardown(() => made.close())
  return { worker: made, log }
}

/** Something that listens and answers as it is told. */
async function listener(t: Test, onSocket: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    onSocket(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function records(...list: [number, Uint8Array][]): Uint8Array {
  const batch = new RecordBatch()
  for (const [kind, body] of list) batch.add(kind, 0, body)
  return Uint8Array.from(batch.take())
}

const hello = (change: object = {}): Uint8Array =>
  packLinkControl({ protocol: 1, id: 'w-1', role: 'worker', pool: 'p1', sessions: 3, ...change })

t.test('a worker that runs without a coordinator says who it is, over TCP and a Unix socket', async (t) => {
  const { worker: one } = await worker(t)
  t.same(await checkLink(one.link, HOW), { id: 'w-1', pool: 'p1', sessions: 0, draining: false })
  const directory = mkdtempSync(join(tmpdir(), 'sluice-link-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const { worker: two } = await worker(t, { id: 'w-2', socketPath: join(directory, 's') })
  t.match(await checkLink(two.link, HOW), { id: 'w-2' })
})

t.test('a worker takes a check for no gateway: it logs nothing of it, and publishes nothing on it', async (t) => {
  const { worker: one, log } = await worker(t)
  await checkLink(one.link, HOW)
  t.same(log, [])
  const check = await GatewayEnd.open(one.link, 'health:c1')
  t.teardown(() => check.socket.destroy())
  t.equal(one.publish('news', 'x'), false)
  const gateway = await GatewayEnd.open(one.link, 'gw-1')
  t.teardown(() => gateway.socket.destroy())
  t.equal(one.publish('news', 'x'), true)
})

t.test(
  'the secret of the fleet is shown; without it, or with another, the worker refuses, and that is told',
  async (t) => {
    const { worker: one } = await worker(t, { token: 's3cret' })
    t.match(await checkLink(one.link, { ...HOW, token: 's3cret' }), { id: 'w-1' })
    await t.rejects(checkLink(one.link, HOW), { code: 'unavailable', message: /refused the link: unauthorized/ })
    await t.rejects(checkLink(one.link, { ...HOW, token: 'other' }), { message: /unauthorized/ })
  },
)

t.test(
  'a worker without a coordinator that drains says so in checks, and is done when it was left alone for a while',
  async (t) => {
    const system = createSystemClock()
    const clock = { now: system.now, after: (ms: number, fn: () => void) => system.after(ms / 20, fn) }
    const { worker: one } = await worker(t, { clock })
    const drained = one.drain()
    t.match(await checkLink(one.link, HOW), { draining: true })
    await drained
  },
)

t.test('what a check says is HELLO as a gateway with an id that marks it, and PING', async (t) => {
  const seen: unknown[] = []
  const link = await listener(t, (socket) => {
    const reader = new RecordReader((kind, binding, bytes, start, end) => {
      seen.push([kind, binding, kind === LinkKind.HELLO ? readHello(bytes, start, end) : end - start])
      if (kind === LinkKind.PING)
        socket.write(records([LinkKind.HELLO, hello()], [LinkKind.PONG, bytes.slice(start, end)]))
    })
    socket.on('data', (chunk) => reader.push(chunk))
  })
  t.match(await checkLink(link, HOW), { id: 'w-1', sessions: 3 })
  t.same(seen, [
    [LinkKind.HELLO, 0, { protocol: 1, id: 'health:c1', role: 'gateway' }],
    [LinkKind.PING, 0, 8],
  ])
})

t.test('what is no worker fails, saying why', async (t) => {
  const http = 'HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n'
  const answers: [string, Uint8Array | string | undefined, RegExp][] = [
    ['an HTTP server', http, /link record of|closed the connection/],
    ['a gateway', records([LinkKind.HELLO, hello({ role: 'gateway' })]), /is a gateway, not a worker/],
    ['another version', records([LinkKind.HELLO, hello({ protocol: 2 })]), /link protocol 2, not 1/],
    ['no id', records([LinkKind.HELLO, hello({ id: '' })]), /no usable id/],
    ['an id of control characters', records([LinkKind.HELLO, hello({ id: 'a\nb' })]), /no usable id/],
    ['PONG first', records([LinkKind.PONG, new Uint8Array(8)]), /did not say HELLO first/],
    ['garbage for HELLO', records([LinkKind.HELLO, new Uint8Array([0x93])]), /cannot be decoded/],
    ['a huge record', new Uint8Array([0xff, 0xff, 0xff, 0x7f, 1, 0, 0, 0, 0]), /link record of 2147483647 bytes/],
    ['nobody', undefined, /closed the connection|ECONNRESET/],
  ]
  for (const [name, answer, why] of answers) {
    const link = await listener(t, (socket) => {
      if (answer === undefined) socket.destroy()
      else if (typeof answer === 'string') socket.end(answer)
      else socket.write(answer)
    })
    await t.rejects(checkLink(link, HOW), { message: why }, name)
  }
  await t.rejects(checkLink('tcp://127.0.0.1:1', HOW), { code: 'unavailable', message: /ECONNREFUSED/ })
  await t.rejects(checkLink('unix:/nowhere/at.all', HOW), { code: 'unavailable', message: /ENOENT/ })
})

t.test('silence, a PONG of another PING, and HELLO without PONG end with the time', async (t) => {
  const how = { ...HOW, timeoutMs: 60 }
  for (const answer of [
    new Uint8Array(0),
    records([LinkKind.HELLO, hello()]),
    records([LinkKind.HELLO, hello()], [LinkKind.PONG, new Uint8Array(8)]),
  ]) {
    const link = await listener(t, (socket) => void socket.write(answer))
    await t.rejects(checkLink(link, how), { code: 'unavailable', message: /no answer within 60 ms/ })
  }
})

t.test('over TLS the certificate has to hold', { skip: hasOpenssl ? false : 'openssl is not installed' }, async (t) => {
  const { worker: one } = await worker(t)
  const directory = mkdtempSync(join(tmpdir(), 'sluice-tls-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const [key, cert] = [join(directory, 'key'), join(directory, 'cert')]
  const subject = ['-subj', '/CN=worker', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2', '-nodes']
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']
  spawnSync('openssl', ['req', '-x509', ...curve, ...subject, '-keyout', key, '-out', cert])
  const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (socket) => {
    const plain = connect(Number(new URL(one.link).port), '127.0.0.1')
    socket.pipe(plain).pipe(socket)
    socket.on('error', () => plain.destroy())
    plain.on('error', () => socket.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const link = `tls://127.0.0.1:${(server.address() as AddressInfo).port}`
  t.match(await checkLink(link, { ...HOW, tls: { ca: readFileSync(cert) } }), { id: 'w-1' })
  await t.rejects(checkLink(link, HOW), { code: 'unavailable', message: /self-signed certificate/ })
})

t.test('whatever bytes come, a check ends with a SluiceError', async (t) => {
  let bytes = new Uint8Array(0)
  const link = await listener(t, (socket) => void socket.end(bytes))
  const kind = fc.constantFrom(...Object.values(LinkKind))
  const record = fc.tuple(kind, fc.uint8Array({ maxLength: 40 })).map((one) => records(one))
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    record,
    fc.tuple(record, record).map((two) => Buffer.concat(two)),
  )
  await fc.assert(
    fc.asyncProperty(anything, async (answer) => {
      bytes = Uint8Array.from(answer)
      return checkLink(link, HOW).then(
        () => false,
        (error) => error instanceof SluiceError,
      )
    }),
    { numRuns: 200, seed: 7 },
  )
})
