import { once } from 'node:events'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import {
  type HttpServer,
  type HttpStream,
  json,
  type ServerSocket,
  text,
  type WebSocketEndpoint,
} from '../../../../gateway/edge/server/server.js'
import { SluiceError } from '../../../../proto/errors.js'
import { clientFrame, RawClient, upgradeHead } from './raw-client.js'

/** What the recording endpoint saw, in order. */
export interface Seen {
  readonly opened: ServerSocket<string>[]
  readonly messages: { bytes: Buffer; isBinary: boolean }[]
  readonly closed: { code: number; reason: string }[]
  drains: number
}

const LIMIT = 4096

/** Waits until `fits`; the contract's own events end the wait long before the deadline does. */
export async function until(fits: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 5000
  while (!fits()) {
    if (Date.now() > deadline) throw new Error(`never: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

function recorder(overrides: Partial<WebSocketEndpoint<string>> = {}): [WebSocketEndpoint<string>, Seen] {
  const seen: Seen = { opened: [], messages: [], closed: [], drains: 0 }
  const endpoint: WebSocketEndpoint<string> = {
    maxPayload: LIMIT,
    maxBackpressure: 1 << 20,
    idleSeconds: 0,
    upgrade: (request) => ({ data: request.query.get('name') ?? '' }),
    open: (socket) => {
      seen.opened.push(socket)
    },
    message: (socket, bytes, isBinary) => {
      seen.messages.push({ bytes: Buffer.from(bytes), isBinary })
      socket.send(bytes)
    },
    drain: () => {
      seen.drains++
    },
    close: (_socket, code, reason) => {
      seen.closed.push({ code, reason })
    },
    ...overrides,
  }
  return [endpoint, seen]
}

type Make = () => Promise<HttpServer>

async function serve(
  t: Test,
  make: Make,
  set: (server: HttpServer) => void,
): Promise<{ server: HttpServer; port: number; http: string; ws: string }> {
  const server = await make()
  set(server)
  const port = await server.listen('127.0.0.1', 0)
  t.teardown(() => server.close())
  return { server, port, http: `http://127.0.0.1:${port}`, ws: `ws://127.0.0.1:${port}` }
}

async function dial(url: string, protocols: string[] = [], headers: Record<string, string> = {}): Promise<WebSocket> {
  const client = new WebSocket(url, protocols, { headers, perMessageDeflate: true })
  client.binaryType = 'nodebuffer'
  client.on('error', () => undefined)
  await once(client, 'open')
  return client
}

async function closeOf(client: WebSocket): Promise<{ code: number; reason: string }> {
  const [code, reason] = (await once(client, 'close')) as [number, Buffer]
  return { code, reason: reason.toString() }
}

async function refusalOf(url: string): Promise<{ status: number; headers: Record<string, unknown>; body: string }> {
  const client = new WebSocket(url)
  client.on('error', () => undefined)
  const [, response] = await once(client, 'unexpected-response')
  let body = ''
  for await (const chunk of response) body += chunk
  return { status: response.statusCode, headers: response.headers, body }
}

/** Everything that {@link HttpServer} promises, against one implementation. */
export function serverContract(t: Test, make: Make): void {
  httpContract(t, make)
  streamContract(t, make)
  upgradeContract(t, make)
  messageContract(t, make)
  backpressureContract(t, make)
  topicContract(t, make)
  hostileContract(t, make)
}

function httpContract(t: Test, make: Make): void {
  t.test('a route sees method, path, query, headers, address and body, sync or async', async (t) => {
    const { http } = await serve(t, make, (server) => {
      server.route('GET', '/sync', (request) =>
        json(200, {
          method: request.method,
          path: request.path,
          lat: request.query.get('lat'),
          x: request.header('X-Thing'),
          none: request.header('absent') ?? null,
          address: request.remoteAddress,
        }),
      )
      server.route('POST', '/async', async (request) => {
        await new Promise((resolve) => setImmediate(resolve))
        return { status: 201, headers: { 'x-path': request.path }, body: request.body }
      })
    })
    const sync = await fetch(`${http}/sync?lat=1%2e5&b=+`, { headers: { 'x-thing': 'yes' } })
    t.same(await sync.json(), { method: 'GET', path: '/sync', lat: '1.5', x: 'yes', none: null, address: '127.0.0.1' })
    const body = 'ü\n'.repeat(10_000)
    const posted = await fetch(`${http}/async`, { method: 'POST', body })
    t.equal(posted.status, 201)
    t.equal(posted.headers.get('x-path'), '/async')
    t.ok((await posted.text()) === body, 'the body comes back byte for byte')
    const empty = await fetch(`${http}/async`, { method: 'POST' })
    t.equal(await empty.text(), '')
  })

  t.test('HEAD answers like GET without a body', async (t) => {
    const { http } = await serve(t, make, (server) => server.route('GET', '/x', () => text(200, 'twelve bytes')))
    const head = await fetch(`${http}/x`, { method: 'HEAD' })
    t.equal(head.status, 200)
    t.equal(head.headers.get('content-length'), '12')
    t.equal(await head.text(), '')
  })

  t.test('an unknown path is 404, a wrong method 405 with Allow, and both say it in JSON', async (t) => {
    const { http } = await serve(t, make, (server) => {
      server.route('GET', '/x', () => text(200, ''))
      server.websocket('/ws', recorder()[0])
    })
    const missing = await fetch(`${http}/y`)
    t.equal(missing.status, 404)
    t.match(await missing.json(), { error: { code: 'not_found', message: /\/y/ } })
    const wrong = await fetch(`${http}/x`, { method: 'POST', body: 'z' })
    t.equal(wrong.status, 405)
    t.equal(wrong.headers.get('allow'), 'GET, HEAD')
    t.match(await wrong.json(), { error: { code: 'method_not_allowed' } })
    const odd = await fetch(`${http}/x`, { method: 'PROPFIND' })
    t.equal(odd.status, 405)
    t.equal((await fetch(`${http}/ws`)).status, 426, 'a WebSocket path wants an upgrade')
    t.equal((await fetch(`${http}/ws`, { method: 'POST' })).status, 405)
  })

  t.test('a handler that throws answers with its error, or with 500 and no details', async (t) => {
    const { http } = await serve(t, make, (server) => {
      server.route('GET', '/known', () => {
        throw new SluiceError('overloaded', 'come back later', { retryAfterMs: 1500 })
      })
      server.route('GET', '/defect', async () => {
        throw new Error('secret detail')
      })
    })
    const known = await fetch(`${http}/known`)
    t.equal(known.status, 503)
    t.equal(known.headers.get('retry-after'), '2')
    t.same(await known.json(), { error: { code: 'overloaded', message: 'come back later', retryAfterMs: 1500 } })
    const defect = await fetch(`${http}/defect`)
    t.equal(defect.status, 500)
    t.notMatch(await defect.text(), /secret/)
  })

  t.test('a body above the limit is 413, announced or not', async (t) => {
    let calls = 0
    const { http, port } = await serve(t, make, (server) => {
      server.route(
        'POST',
        '/small',
        () => {
          calls++
          return text(200, '')
        },
        { maxBody: 100 },
      )
    })
    t.equal((await fetch(`${http}/small`, { method: 'POST', body: 'x'.repeat(100) })).status, 200)
    const raw = await RawClient.connect(port)
    raw.socket.write('POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n')
    await raw.until((bytes) => bytes.includes('\r\n\r\n'))
    t.match(raw.text, /^HTTP\/1.1 413 /, 'before the body is sent')
    raw.socket.destroy()
    const chunked = await RawClient.connect(port)
    chunked.socket.write('POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n')
    chunked.socket.write(`c8\r\n${'y'.repeat(200)}\r\n0\r\n\r\n`)
    await chunked.until((bytes) => bytes.includes('\r\n\r\n'))
    t.match(chunked.text, /^HTTP\/1.1 413 /, 'with chunks of unknown sum')
    chunked.socket.destroy()
    t.equal(calls, 1)
  })

  t.test('a client that leaves before its answer harms nobody', async (t) => {
    let release: () => void = () => undefined
    let asked = false
    const { http, port } = await serve(t, make, (server) => {
      server.route('GET', '/slow', async () => {
        asked = true
        await new Promise<void>((resolve) => {
          release = resolve
        })
        return text(200, 'late')
      })
      server.route('POST', '/body', () => text(200, ''))
      server.route('GET', '/fine', () => text(200, 'fine'))
    })
    const client = await RawClient.connect(port)
    client.socket.write('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n')
    await until(() => asked, 'the handler is called')
    client.socket.resetAndDestroy()
    const half = await RawClient.connect(port)
    half.socket.write('POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc')
    half.socket.destroy()
    await client.untilClosed()
    await half.untilClosed()
    t.equal(await (await fetch(`${http}/fine`)).text(), 'fine')
    release()
    t.equal(await (await fetch(`${http}/fine`)).text(), 'fine')
  })
}

function streamContract(t: Test, make: Make): void {
  t.test('a stream reaches the client while it goes on, and ends', async (t) => {
    let out: HttpStream | undefined
    let left = 0
    const { http } = await serve(t, make, (server) =>
      server.route('GET', '/events', () => ({
        headers: { 'content-type': 'text/event-stream' },
        stream: (stream) => {
          out = stream
          stream.onClose(() => left++)
          stream.write('data: 1\n\n')
        },
      })),
    )
    const response = await fetch(`${http}/events`)
    t.equal(response.headers.get('content-type'), 'text/event-stream')
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    t.equal(Buffer.from((await reader.read()).value as Uint8Array).toString(), 'data: 1\n\n')
    t.equal(out?.write(Buffer.from('data: 2\n\n')), true)
    t.equal(Buffer.from((await reader.read()).value as Uint8Array).toString(), 'data: 2\n\n')
    out?.end()
    t.equal((await reader.read()).done, true)
    t.equal(out?.closed, true)
    t.equal(out?.write('more'), false, 'nothing goes out behind the end')
    t.equal(left, 1)
  })

  t.test('a stream learns that its client left, and one that lags is cut off', async (t) => {
    const streams: HttpStream[] = []
    let left = 0
    const { port } = await serve(t, make, (server) =>
      server.route('GET', '/events', () => ({
        stream: (stream) => {
          streams.push(stream)
          stream.write('first')
          stream.onClose(() => left++)
        },
      })),
    )
    const gone = await RawClient.connect(port)
    gone.socket.write('GET /events HTTP/1.1\r\nHost: x\r\n\r\n')
    await gone.until((bytes) => bytes.includes('\r\n\r\n'))
    gone.socket.destroy()
    await until(() => left === 1, 'the stream learns of it')
    const slow = await RawClient.connect(port)
    slow.socket.write('GET /events HTTP/1.1\r\nHost: x\r\n\r\n')
    await slow.until((bytes) => bytes.includes('\r\n\r\n'))
    slow.socket.pause()
    const chunk = Buffer.alloc(256 * 1024, 'x')
    let writes = 0
    while (!streams[1]?.closed && writes < 400) {
      streams[1]?.write(chunk)
      if (++writes % 8 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    t.equal(streams[1]?.closed, true, `cut off after ${writes} writes`)
    t.equal(left, 2)
  })
}

function upgradeContract(t: Test, make: Make): void {
  t.test('an endpoint accepts with data, sync or async, and picks a subprotocol', async (t) => {
    const [sync, seen] = recorder({
      upgrade: (request) => {
        const offered = request.header('sec-websocket-protocol')?.split(/,\s*/) ?? []
        const data = `${request.query.get('name')} ${request.header('x-a')}`
        return offered.includes('mqtt') ? { data, protocol: 'mqtt' } : { data }
      },
    })
    const [slow, seenSlow] = recorder({
      upgrade: async (request) => {
        await new Promise((resolve) => setImmediate(resolve))
        return { data: request.header('x-a') ?? '' }
      },
    })
    const { ws } = await serve(t, make, (server) => {
      server.websocket('/a', sync)
      server.websocket('/b', slow)
    })
    const one = await dial(`${ws}/a?name=d%201`, ['other', 'mqtt'], { 'x-a': '7' })
    t.equal(one.protocol, 'mqtt')
    t.equal(one.extensions, '', 'no per-message deflate')
    await until(() => seen.opened.length === 1, 'open')
    t.equal(seen.opened[0]?.data, 'd 1 7')
    t.equal(seen.opened[0]?.remoteAddress, '127.0.0.1')
    const two = await dial(`${ws}/b`, [], { 'x-a': '8' })
    t.equal(two.protocol, '')
    await until(() => seenSlow.opened.length === 1, 'open')
    t.equal(seenSlow.opened[0]?.data, '8')
    two.send('x')
    const [echo] = await once(two, 'message')
    t.equal(String(echo), 'x')
  })

  t.test('an endpoint refuses with status, headers and JSON before the upgrade', async (t) => {
    const refuse = {
      status: 503,
      headers: { 'retry-after': '3', 'content-type': 'application/json' },
      body: '{"error":{}}',
    }
    const { ws, http } = await serve(t, make, (server) => {
      server.websocket('/sync', recorder({ upgrade: () => refuse, plain: () => json(400, { plain: true }) })[0])
      server.websocket('/async', recorder({ upgrade: async () => refuse })[0])
      const thrown = () => {
        throw new SluiceError('no_device_id')
      }
      server.websocket('/throws', recorder({ upgrade: thrown })[0])
      server.websocket('/rejects', recorder({ upgrade: async () => thrown() })[0])
    })
    for (const path of ['sync', 'async']) {
      const refusal = await refusalOf(`${ws}/${path}`)
      t.equal(refusal.status, 503)
      t.equal(refusal.headers['retry-after'], '3')
      t.equal(refusal.body, '{"error":{}}')
    }
    for (const path of ['throws', 'rejects']) {
      const refusal = await refusalOf(`${ws}/${path}`)
      t.equal(refusal.status, 400)
      t.match(JSON.parse(refusal.body), { error: { code: 'no_device_id' } })
    }
    t.equal((await refusalOf(`${ws}/nowhere`)).status, 404)
    t.equal((await fetch(`${http}/sync`)).status, 400, 'a plain GET has its own answer')
  })

  t.test('a client that leaves before its upgrade was decided is never opened', async (t) => {
    let decide: () => void = () => undefined
    let asked = 0
    const [endpoint, seen] = recorder({
      upgrade: async () => {
        asked++
        await new Promise<void>((resolve) => {
          decide = resolve
        })
        return { data: '' }
      },
    })
    const { port, http } = await serve(t, make, (server) => {
      server.websocket('/ws', endpoint)
      server.route('GET', '/fine', () => text(200, 'fine'))
    })
    const client = await RawClient.connect(port)
    client.socket.write(upgradeHead('/ws'))
    await until(() => asked === 1, 'upgrade is asked')
    client.socket.resetAndDestroy()
    await client.untilClosed()
    t.equal(await (await fetch(`${http}/fine`)).text(), 'fine')
    decide()
    t.equal(await (await fetch(`${http}/fine`)).text(), 'fine')
    t.equal(seen.opened.length, 0)
    t.equal(seen.closed.length, 0)
  })
}

function messageContract(t: Test, make: Make): void {
  t.test('messages keep kind, bytes and order, empty and fragmented ones too', async (t) => {
    const [endpoint, seen] = recorder()
    const { port, ws } = await serve(t, make, (server) => server.websocket('/ws', endpoint))
    const client = await dial(`${ws}/ws`)
    client.send(Buffer.from([1, 2, 3]))
    client.send('tëxt')
    client.send(Buffer.alloc(0))
    client.send(Buffer.alloc(LIMIT, 9))
    await until(() => seen.messages.length === 4, 'four messages')
    t.same(
      seen.messages.map((m) => [m.bytes.length, m.isBinary]),
      [
        [3, true],
        [5, false],
        [0, true],
        [LIMIT, true],
      ],
    )
    const raw = await RawClient.upgrade(port, '/ws')
    raw.socket.write(clientFrame(2, Buffer.from('ab'), false))
    raw.socket.write(clientFrame(9, Buffer.from('ping in between')))
    raw.socket.write(clientFrame(0, Buffer.from('cd'), false))
    for (const byte of clientFrame(0, Buffer.from('ef'))) raw.socket.write(Buffer.from([byte]))
    await until(() => seen.messages.length === 5, 'the fragments')
    t.equal(seen.messages[4]?.bytes.toString(), 'abcdef')
    t.equal(seen.messages[4]?.isBinary, true)
  })

  t.test('a message above the limit closes with 1009, in one piece or in fragments', async (t) => {
    const [endpoint, seen] = recorder()
    const { port, ws } = await serve(t, make, (server) => server.websocket('/ws', endpoint))
    const client = await dial(`${ws}/ws`)
    client.send(Buffer.alloc(LIMIT + 1))
    t.equal((await closeOf(client)).code, 1009)
    const raw = await RawClient.upgrade(port, '/ws')
    for (let i = 0; i < 3; i++) raw.socket.write(clientFrame(i === 0 ? 2 : 0, Buffer.alloc(LIMIT / 2), i === 2))
    await raw.until((bytes) => bytes.length >= 4)
    t.equal(raw.received[0], 0x88)
    t.equal(raw.received.readUInt16BE(2), 1009)
    raw.socket.destroy()
    await until(() => seen.closed.length === 2, 'both closes')
    t.same(
      seen.closed.map(({ code }) => code),
      [1009, 1009],
    )
    t.equal(seen.messages.length, 0)
  })

  t.test('end says its code and reason, calls close once and at once, and later sends go nowhere', async (t) => {
    const [endpoint, seen] = recorder({
      message: (socket) => {
        socket.send(Buffer.from('before'))
        socket.end(4001, 'enough')
        seen.closed.push({ code: -1, reason: socket.send(Buffer.from('after')) })
        socket.end(4002, 'again')
        socket.terminate()
        socket.subscribe('t')
        seen.closed.push({ code: socket.buffered, reason: '' })
      },
    })
    const { ws } = await serve(t, make, (server) => server.websocket('/ws', endpoint))
    const client = await dial(`${ws}/ws`)
    const got: string[] = []
    client.on('message', (bytes) => got.push(String(bytes)))
    client.send('1')
    client.send('2')
    t.same(await closeOf(client), { code: 4001, reason: 'enough' })
    t.same(got, ['before'])
    t.same(seen.closed, [
      { code: 4001, reason: 'enough' },
      { code: -1, reason: 'dropped' },
      { code: 0, reason: '' },
    ])
  })

  t.test("close tells the peer's code and reason, or 1006 when it just left", async (t) => {
    const [endpoint, seen] = recorder()
    const { ws } = await serve(t, make, (server) => server.websocket('/ws', endpoint))
    const polite = await dial(`${ws}/ws`)
    polite.close(4010, 'bye')
    await until(() => seen.closed.length === 1, 'the close')
    t.same(seen.closed[0], { code: 4010, reason: 'bye' })
    const abrupt = await dial(`${ws}/ws`)
    abrupt.terminate()
    await until(() => seen.closed.length === 2, 'the second close')
    t.equal(seen.closed[1]?.code, 1006)
    const cut = await dial(`${ws}/ws`)
    await until(() => seen.opened.length === 3, 'open')
    seen.opened[2]?.terminate()
    t.equal(seen.closed.length, 3, 'terminate calls close at once')
    t.equal((await closeOf(cut)).code, 1006)
  })

  t.test('a handler that throws costs its own connection only', async (t) => {
    const [endpoint, seen] = recorder({
      message: (socket, bytes) => {
        if (bytes.length === 1) throw new Error('defect')
        socket.send(bytes)
      },
    })
    const { ws } = await serve(t, make, (server) => server.websocket('/ws', endpoint))
    const [bad, good] = [await dial(`${ws}/ws`), await dial(`${ws}/ws`)]
    bad.send('x')
    t.equal((await closeOf(bad)).code, 1011)
    good.send('fine')
    t.equal(String((await once(good, 'message'))[0]), 'fine')
    t.equal(seen.closed.length, 1)
  })

  t.test('a connection that cannot be opened is closed, whenever that was decided', async (t) => {
    const opened = (): never => {
      throw new Error('defect')
    }
    const [now] = recorder({ open: opened })
    const [later] = recorder({ open: opened, upgrade: async () => ({ data: '' }) })
    const [fine] = recorder({})
    const { ws } = await serve(t, make, (server) => {
      server.websocket('/now', now)
      server.websocket('/later', later)
      server.websocket('/fine', fine)
    })
    t.equal((await closeOf(await dial(`${ws}/now`))).code, 1011)
    t.equal((await closeOf(await dial(`${ws}/later`))).code, 1011)
    t.equal((await dial(`${ws}/fine`)).readyState, 1)
  })

  t.test('what is sent in a cork arrives in order, large and small', async (t) => {
    const sizes = [1, 70_000, 0, 126, 65_536, 125, 3]
    const [endpoint] = recorder({
      open: (socket) => {
        const shared = new Uint8Array(80_000)
        socket.cork(() => {
          for (const [i, size] of sizes.entries()) {
            // The same memory each time: send has to have copied it.
            shared.fill(i)
            socket.send(shared.subarray(0, size))
          }
        })
      },
    })
    const { ws } = await serve(t, make, (server) => server.websocket('/ws', endpoint))
    const client = new WebSocket(`${ws}/ws`)
    const got: Buffer[] = []
    client.on('message', (bytes) => got.push(bytes as Buffer))
    await until(() => got.length === sizes.length, 'all messages')
    for (const [i, size] of sizes.entries())
      t.ok(got[i]?.equals(Buffer.alloc(size, i)), `message ${i} of ${size} bytes`)
  })
}

function backpressureContract(t: Test, make: Make): void {
  t.test('a slow reader is buffered up to the limit, then dropped, and drains without a gap', async (t) => {
    const [endpoint, seen] = recorder({ maxBackpressure: 300_000 })
    const { ws } = await serve(t, make, (server) => server.websocket('/ws', endpoint))
    const client = await dial(`${ws}/ws`)
    await until(() => seen.opened.length === 1, 'open')
    client.pause()
    const socket = seen.opened[0] as ServerSocket<string>
    const message = Buffer.alloc(50_000)
    const outcomes = new Set<string>()
    let sent = 0
    for (let i = 0; i < 2000 && !outcomes.has('dropped'); i++) {
      message.writeUInt32BE(sent)
      const outcome = socket.send(message)
      outcomes.add(outcome)
      if (outcome !== 'dropped') sent++
      if (i % 10 === 9) await new Promise((resolve) => setImmediate(resolve))
    }
    t.ok(outcomes.has('ok') && outcomes.has('buffered') && outcomes.has('dropped'), 'all three outcomes')
    t.ok(socket.buffered > 200_000 && socket.buffered < 500_000, `${socket.buffered} bytes wait`)
    const got: number[] = []
    client.on('message', (bytes) => got.push((bytes as Buffer).readUInt32BE(0)))
    client.resume()
    await until(() => got.length === sent, 'everything that was not dropped')
    t.same(got, [...got.keys()])
    await until(() => socket.buffered === 0, 'nothing waits any more')
    t.ok(seen.drains > 0)
    t.equal(socket.send(message), 'ok')
  })

  t.test('a slow reader that is ended still gets the goodbye behind what waited', async (t) => {
    const [endpoint, seen] = recorder({ maxBackpressure: 100_000 })
    const { ws } = await serve(t, make, (server) => server.websocket('/ws', endpoint))
    const client = await dial(`${ws}/ws`)
    await until(() => seen.opened.length === 1, 'open')
    client.pause()
    const socket = seen.opened[0] as ServerSocket<string>
    let sent = 0
    while (socket.send(Buffer.alloc(LIMIT)) !== 'dropped') if (++sent % 50 === 0) await new Promise(setImmediate)
    socket.end(4029, 'too slow')
    let got = 0
    client.on('message', () => got++)
    client.resume()
    t.same(await closeOf(client), { code: 4029, reason: 'too slow' })
    t.equal(got, sent)
  })
}

function topicContract(t: Test, make: Make): void {
  t.test('publish reaches the subscribers of a topic, and no longer who left', async (t) => {
    const [endpoint, seen] = recorder({
      open: (socket) => {
        seen.opened.push(socket)
        for (const topic of socket.data.split(',')) if (topic) socket.subscribe(topic)
      },
    })
    const { server, ws } = await serve(t, make, (server) => {
      server.websocket('/a', endpoint)
      server.websocket('/b', endpoint)
    })
    const clients = [await dial(`${ws}/a?name=x`), await dial(`${ws}/b?name=x,y`), await dial(`${ws}/a?name=`)]
    const got: string[][] = clients.map(() => [])
    for (const [i, client] of clients.entries()) client.on('message', (bytes) => got[i]?.push(String(bytes)))
    await until(() => seen.opened.length === 3, 'all open')
    t.equal(server.subscribers('x'), 2)
    t.equal(server.publish('x', Buffer.from('1')), true)
    t.equal(server.publish('y', Buffer.from('2')), true)
    t.equal(server.publish('z', Buffer.from('3')), false)
    await until(() => got[0]?.length === 1 && got[1]?.length === 2, 'the messages')
    t.same(got, [['1'], ['1', '2'], []])
    seen.opened.find((socket) => socket.data === 'x')?.unsubscribe('x')
    clients[1]?.terminate()
    await until(() => seen.closed.length === 1, 'the close')
    t.equal(server.subscribers('x'), 0)
    t.equal(server.publish('x', Buffer.from('4')), false)
    seen.opened.find((socket) => socket.data === '')?.subscribe('x')
    const long = Buffer.alloc(70_000, 'l')
    server.publish('x', long)
    await until(() => got[2]?.length === 1, 'the long message')
    t.equal(got[2]?.[0], long.toString())
  })

  t.test('a send and a publish to one socket keep their order', async (t) => {
    const [endpoint, seen] = recorder()
    const { server, ws } = await serve(t, make, (server) => server.websocket('/a', endpoint))
    const client = await dial(`${ws}/a`)
    await until(() => seen.opened.length === 1, 'open')
    const socket = seen.opened[0] as ServerSocket<string>
    socket.subscribe('t')
    const got: string[] = []
    client.on('message', (bytes) => got.push(String(bytes)))
    for (let i = 0; i < 100; i++) {
      if (i % 3 === 0) server.publish('t', Buffer.from(String(i)))
      else socket.send(Buffer.from(String(i)))
    }
    await until(() => got.length === 100, 'all of them')
    t.same(got, [...Array(100).keys()].map(String))
  })
}

function hostileContract(t: Test, make: Make): void {
  t.test('garbage, endless headers and broken frames close that connection and no other', async (t) => {
    const [endpoint, seen] = recorder()
    const { port, ws } = await serve(t, make, (server) => server.websocket('/ws', endpoint))
    const bystander = await dial(`${ws}/ws`)
    const garbage = await RawClient.connect(port)
    garbage.socket.write(Buffer.from(Array.from({ length: 2000 }, (_, i) => (i * 7919) & 0xff)))
    garbage.socket.write('\r\n\r\n')
    await garbage.untilClosed()
    const headers = await RawClient.connect(port)
    headers.socket.write(`GET /ws HTTP/1.1\r\nHost: x\r\nX-Long: ${'y'.repeat(100_000)}\r\n\r\n`)
    await headers.until((bytes) => bytes.length > 0)
    t.notMatch(headers.text, /^HTTP\/1.1 (2|101)/, 'not served')
    headers.socket.destroy()
    const broken: [string, Buffer][] = [
      ['reserved bits', Buffer.from([0xf2, 0x80, 0, 0, 0, 0])],
      ['a reserved opcode', Buffer.from([0x83, 0x80, 0, 0, 0, 0])],
      ['a continuation of nothing', clientFrame(0, Buffer.from('x'))],
      ['a fragmented ping', clientFrame(9, Buffer.from('x'), false)],
      ['a length of 2^62', Buffer.from([0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
    ]
    for (const [what, bytes] of broken) {
      const closed = seen.closed.length
      const client = await RawClient.upgrade(port, '/ws')
      client.socket.write(bytes)
      await until(() => seen.closed.length === closed + 1, `closed for ${what}`)
      client.socket.destroy()
      t.pass(what)
    }
    bystander.send('still here')
    t.equal(String((await once(bystander, 'message'))[0]), 'still here')
  })
}
