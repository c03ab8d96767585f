import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { hold, isDirect, readDirectly, release } from '../../../../gateway/edge/mqtt/direct-socket.js'
import { SharedBytes } from '../../../../gateway/edge/mqtt/shared-bytes.js'
import { SocketTransport } from '../../../../gateway/edge/mqtt/transport.js'

/** Both ends of a TCP connection; the accepted one is read directly, into `got`. */
async function pair(
  t: Test,
): Promise<{ client: Socket; accepted: Socket; got: () => string; until: (n: number) => Promise<void> }> {
  let received = ''
  let heard = () => {}
  const server = createServer({ noDelay: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const arrival = once(server, 'connection')
  server.once('connection', (socket: Socket) => {
    readDirectly(socket, {
      receive: (bytes) => {
        received += bytes.toString('latin1')
        heard()
      },
    })
  })
  const client = connect(typeof address === 'object' && address !== null ? address.port : 0, '127.0.0.1')
  const [accepted] = (await arrival) as [Socket]
  t.teardown(() => {
    client.destroy()
    accepted.destroy()
    server.close()
  })
  const until = (length: number) =>
    new Promise<void>((resolve) => {
      heard = () => void (received.length >= length && resolve())
      heard()
    })
  return { client, accepted, got: () => received, until }
}

t.test('bytes reach the owner in order, and the end of the stream closes the socket', async (t) => {
  const { client, accepted, got, until } = await pair(t)
  t.ok(isDirect(accepted))
  client.write('one ')
  await until(4)
  client.end('two')
  await once(accepted, 'close')
  t.equal(got(), 'one two')
})

t.test('a held socket is not read, and reads on when it is released', async (t) => {
  const { client, accepted, got, until } = await pair(t)
  client.write('a')
  await until(1)
  hold(accepted)
  // What is under way when it is held still comes; after that nothing does, however much is sent.
  const burst = Buffer.alloc(8 * 1024 * 1024, 'b')
  let flushed = false
  client.write(burst, () => {
    flushed = true
  })
  await until(2)
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  t.ok(got().length < burst.length, `${got().length} bytes came`)
  t.notOk(flushed)
  release(accepted)
  await until(1 + burst.length)
  t.equal(got().length, 1 + burst.length)
})

t.test(
  'a write that the kernel does not take whole keeps its memory until drain, and nothing overtakes it',
  async (t) => {
    const { client, accepted } = await pair(t)
    client.pause()
    const transport = new SocketTransport(accepted)
    t.ok(transport.write(Buffer.from('first')), 'the kernel took it: the memory is free')
    t.equal(transport.buffered, 0)
    const large = Buffer.alloc(16 * 1024 * 1024, 'x')
    t.notOk(transport.write(large))
    t.notOk(transport.write(Buffer.from('last')))
    t.ok(transport.buffered > 0)
    const drained = once(accepted, 'drain')
    let size = 0
    let tail = ''
    client.on('data', (chunk: Buffer) => {
      size += chunk.length
      tail = (tail + chunk.toString('latin1')).slice(-6)
    })
    client.resume()
    await drained
    while (size < 5 + large.length + 4) await once(client, 'data')
    t.equal(tail, 'xxlast')
    t.equal(transport.buffered, 0)
  },
)

t.test('a write to a peer that is gone ends in close, not in an exception', async (t) => {
  const { client, accepted } = await pair(t)
  accepted.on('error', () => accepted.destroy())
  // Not once(): that rejects on the error, which is expected here.
  const closed = new Promise((resolve) => accepted.once('close', resolve))
  const transport = new SocketTransport(accepted)
  client.resetAndDestroy()
  for (let turn = 0; !accepted.destroyed && turn < 10_000; turn++) {
    transport.write(Buffer.from('hello'))
    await new Promise((resolve) => setImmediate(resolve))
  }
  await closed
  t.ok(accepted.destroyed)
})

t.test('what many get arrives byte for byte, taken at once or not, and in its order', async (t) => {
  const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
  const long = Buffer.alloc(20_000, every)
  const small = new SharedBytes(every)
  const large = new SharedBytes(long)
  const { client, accepted } = await pair(t)
  client.pause()
  const transport = new SocketTransport(accepted)
  const sent: Buffer[] = []
  // Until the kernel has no room left, and a while beyond.
  for (let behind = 0; behind < 100; behind += transport.buffered > 0 ? 1 : 0) {
    for (const shared of [small, large]) {
      transport.writeShared(shared)
      sent.push(shared.bytes)
    }
    const own = Buffer.from(`own ${sent.length}`)
    transport.write(own)
    sent.push(own)
  }
  const wanted = Buffer.concat(sent)
  const got: Buffer[] = []
  let size = 0
  const drained = once(accepted, 'drain')
  client.on('data', (chunk: Buffer) => {
    got.push(chunk)
    size += chunk.length
  })
  client.resume()
  await drained
  while (size < wanted.length) await once(client, 'data')
  t.ok(Buffer.concat(got).equals(wanted), `${wanted.length} bytes`)
  t.equal(transport.buffered, 0)
})

t.test('bytes for many are a text from the second socket on, if they are few', async (t) => {
  const few = new SharedBytes(Buffer.from([0, 127, 128, 255]))
  t.equal(few.text, undefined, 'one socket is not many')
  t.equal(few.text, '\u0000\u007f\u0080\u00ff')
  t.equal(few.text, few.text)
  const many = new SharedBytes(Buffer.alloc(16 * 1024 + 1))
  t.equal(many.text, undefined)
  t.equal(many.text, undefined)
})

/** Writes `size` bytes and ends; the client reads a little every 50 ms, for longer than anybody may be silent. */
async function readsSlowly(t: Test, client: Socket, accepted: Socket, size: number): Promise<void> {
  client.pause()
  const transport = new SocketTransport(accepted)
  transport.write(Buffer.alloc(size - 4, 'x'))
  transport.write(Buffer.from('last'))
  const begun = performance.now()
  transport.end()
  const ended = once(client, 'end')
  let got = 0
  let paused = 0
  let tail = ''
  const reading = setInterval(() => client.resume(), 50)
  client.on('data', (chunk: Buffer) => {
    got += chunk.length
    tail = (tail + chunk.toString('latin1')).slice(-4)
    if (got - paused < size / 24) return
    paused = got
    client.pause()
  })
  await ended
  clearInterval(reading)
  t.ok(performance.now() - begun > 1000, 'it took a while')
  t.equal(got, size)
  t.equal(tail, 'last')
}

t.test('after end() a client gets all that was written for as long as it reads, however slowly', async (t) => {
  const { client, accepted } = await pair(t)
  await readsSlowly(t, client, accepted, 24 * 1024 * 1024)
})

const openssl = spawnSync('openssl', ['version']).status === 0
t.test('the same over TLS', { skip: openssl ? false : 'no openssl' }, async (t) => {
  const dir = t.testdir()
  const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')]
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  const made = spawnSync('openssl', ['req', '-x509', ...kind, '-keyout', key, '-out', cert, '-subj', '/CN=localhost'])
  t.equal(made.status, 0)
  const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const arrival = once(server, 'secureConnection')
  const { port } = server.address() as AddressInfo
  const client = connectTls({ port, host: '127.0.0.1', ca: readFileSync(cert), servername: 'localhost' })
  const [accepted] = (await arrival) as [TLSSocket]
  t.teardown(() => {
    client.destroy()
    accepted.destroy()
    server.close()
  })
  await readsSlowly(t, client, accepted, 8 * 1024 * 1024)
})

t.test('after end() a client that reads nothing is cut off', async (t) => {
  const { client, accepted } = await pair(t)
  client.pause()
  const transport = new SocketTransport(accepted)
  transport.write(Buffer.alloc(24 * 1024 * 1024, 'x'))
  transport.end()
  // What it still sends is no reason to wait.
  const chatter = setInterval(() => client.write('?'), 100)
  client.on('error', () => {})
  await once(accepted, 'close')
  clearInterval(chatter)
  t.ok(accepted.destroyed)
})

t.test('a write that comes too late is no exception', async (t) => {
  const { client, accepted } = await pair(t)
  accepted.on('error', () => {})
  const transport = new SocketTransport(accepted)
  const closed = once(accepted, 'close')
  accepted.destroy()
  t.notOk(transport.write(Buffer.from('late')))
  await closed
  await new Promise((resolve) => setImmediate(resolve))
  t.notOk(transport.write(Buffer.from('later')))
  transport.writeShared(new SharedBytes(Buffer.from('latest')))
  client.destroy()
})
