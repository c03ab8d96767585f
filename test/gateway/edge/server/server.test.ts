import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { WebSocket } from 'ws'
import { createHttpServer, type HttpServerOptions } from '../../../../gateway/edge/server/create-server.js'
import type { ServerLog } from '../../../../gateway/edge/server/server.js'
import type { Clock } from '../../../../gateway/ports.js'
import { RawClient } from './raw-client.js'
import { serverContract, until } from './server.contract.js'

const clock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after: (ms, fn) => {
    const timer = setTimeout(fn, ms)
    return () => clearTimeout(timer)
  },
}
const quiet: ServerLog = { warn: () => undefined, error: () => undefined }

/** A server, or undefined where its native part does not load. */
async function make(prefer: 'uws' | 'node', more: Partial<HttpServerOptions> = {}) {
  return createHttpServer({ prefer, log: quiet, clock, ...more })
}

const kinds: ('uws' | 'node')[] = ['node']
try {
  await (await make('uws')).close()
  kinds.unshift('uws')
} catch (error) {
  t.comment(`uWebSockets.js does not load here, its half is not run: ${error}`)
}

for (const kind of kinds) {
  t.test(`${kind} keeps the server contract`, async (t) => serverContract(t, () => make(kind)))

  t.test(`${kind} says which port is taken`, async (t) => {
    const [one, two] = [await make(kind), await make(kind)]
    t.teardown(() => Promise.all([one.close(), two.close()]))
    const port = await one.listen('127.0.0.1', 0)
    t.ok(port > 0)
    await t.rejects(two.listen('127.0.0.1', port), {
      code: 'conflict',
      path: 'port',
      message: new RegExp(`${port}.*taken`),
    })
  })

  t.test(`${kind} says that a certificate cannot be used`, async (t) => {
    const file = join(t.testdir({ 'broken.pem': 'no certificate' }), 'broken.pem')
    await t.rejects(make(kind, { tls: { cert: file, key: file } }), {
      code: 'bad_request',
      path: 'tls',
      message: /certificate cannot be used/,
    })
  })

  t.test(`${kind} sees a port that another program holds, and refuses what is no port or no address`, async (t) => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    t.teardown(() => other.close())
    const server = await make(kind)
    t.teardown(() => server.close())
    const { port } = other.address() as { port: number }
    await t.rejects(server.listen('127.0.0.1', port), { code: 'conflict', path: 'port' })
    await t.rejects((await make(kind)).listen('203.0.113.1', 0), { code: 'bad_request', path: 'host' })
    await t.rejects(async () => (await make(kind)).listen('127.0.0.1', 70000), { code: 'bad_request', path: 'port' })
  })

  t.test(`${kind} refuses TLS files that are not there`, async (t) => {
    await t.rejects(make(kind, { tls: { cert: '/nowhere/cert.pem', key: '/nowhere/key.pem' } }), {
      code: 'bad_request',
      path: 'tls',
    })
  })

  t.test(`${kind} stops listening without cutting who is there`, async (t) => {
    const server = await make(kind)
    t.teardown(() => server.close())
    let asked = false
    let release: () => void = () => undefined
    server.route('GET', '/x', async () => {
      asked = true
      await new Promise<void>((resolve) => {
        release = resolve
      })
      return { body: 'served' }
    })
    const port = await server.listen('127.0.0.1', 0)
    const pending = fetch(`http://127.0.0.1:${port}/x`)
    await until(() => asked, 'the handler is called')
    server.stopListening()
    await t.rejects(fetch(`http://127.0.0.1:${port}/x`))
    release()
    t.equal(await (await pending).text(), 'served')
  })
}

t.test('node cuts a silent peer after the idle time, and not one that answers pings', async (t) => {
  const timers: { ms: number; fn: () => void }[] = []
  const after = (ms: number, fn: () => void) => {
    timers.push({ ms, fn })
    return () => undefined
  }
  const manual: Clock = { ...clock, after }
  const server = await make('node', { clock: manual })
  t.teardown(() => server.close())
  let [opened, closed] = [0, 0]
  server.websocket('/ws', {
    maxPayload: 100,
    maxBackpressure: 100,
    idleSeconds: 8,
    upgrade: () => ({ data: '' }),
    open: () => opened++,
    message: () => undefined,
    drain: () => undefined,
    close: () => closed++,
  })
  const port = await server.listen('127.0.0.1', 0)
  const alive = new WebSocket(`ws://127.0.0.1:${port}/ws`)
  await once(alive, 'open')
  const silent = await RawClient.upgrade(port, '/ws')
  await until(() => opened === 2, 'both are open')
  let quarters = 0
  while (closed === 0 && quarters < 9) {
    alive.ping()
    await once(alive, 'pong')
    const timer = timers.shift()
    t.equal(timer?.ms, 2000)
    timer?.fn()
    quarters++
  }
  await silent.untilClosed()
  t.equal(quarters, 5, 'the last quarter is for the answer')
  t.equal(closed, 1)
  t.ok(silent.received.includes(0x89), 'it was pinged')
  t.equal(alive.readyState, WebSocket.OPEN)
  alive.terminate()
})

t.test('auto falls back to ws with one warning line that says why', async (t) => {
  const lines: string[] = []
  const log: ServerLog = { ...quiet, warn: (_fields, message) => lines.push(message) }
  const load = () => Promise.reject(new Error("only Node 16.\n\nError: /lib/libc.so.6: version `GLIBC_2.38' not found"))
  const server = await createHttpServer({ log, clock, load })
  t.teardown(() => server.close())
  t.equal(server.kind, 'node')
  t.equal(lines.length, 1)
  t.match(lines[0], /GLIBC_2\.38' not found.*ws, which is slower/)
  t.notMatch(lines[0], /\n/)
  await t.rejects(createHttpServer({ log, clock, load, prefer: 'uws' }), {
    code: 'unavailable',
    message: /GLIBC_2\.38/,
  })
  t.equal((await createHttpServer({ log, clock, load, prefer: 'node' })).kind, 'node')
  t.equal(lines.length, 1, 'a forced choice does not warn')
})
