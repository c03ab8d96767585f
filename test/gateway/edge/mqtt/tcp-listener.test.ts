import { once } from 'node:events'
import { type AddressInfo, connect, type Server, Socket } from 'node:net'
import t, { type Test } from 'tap'
import { listenTcp } from '../../../../gateway/edge/mqtt/tcp-listener.js'
import { SluiceError } from '../../../../proto/errors.js'

async function listening(t: Test): Promise<{ server: Server; port: number; next: () => Promise<Socket> }> {
  const taken: Socket[] = []
  let came = (): void => {}
  const take = (socket: Socket): void => {
    taken.push(socket)
    came()
  }
  const server = await listenTcp('127.0.0.1', 0, take, { shared: false, failed: (error) => t.error(error) })
  t.teardown(() => server.close())
  const next = async (): Promise<Socket> => {
    while (taken.length === 0)
      await new Promise<void>((resolve) => {
        came = resolve
      })
    return taken.shift() as Socket
  }
  return { server, port: (server.address() as AddressInfo).port, next }
}

t.test('a socket carries bytes both ways and knows its peer', async (t) => {
  const { port, next } = await listening(t)
  const client = connect(port, '127.0.0.1')
  client.write('to you')
  const socket = await next()
  t.ok(socket instanceof Socket)
  t.equal(socket.remoteAddress, '127.0.0.1')
  const [heard] = await once(socket, 'data')
  t.equal(String(heard), 'to you')
  socket.write('and back')
  const [answer] = await once(client, 'data')
  t.equal(String(answer), 'and back')
  client.end()
  await once(socket, 'close')
})

t.test('what our side ends is said to the peer, and the peer that only closes its half is closed', async (t) => {
  const { port, next } = await listening(t)
  const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const socket = await next()
  socket.end('bye')
  const [last] = await once(client, 'data')
  t.equal(String(last), 'bye')
  await once(client, 'end')
  client.end()
  await once(socket, 'close')

  const other = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const half = await next()
  other.end()
  half.resume()
  await once(half, 'close')
  await once(other.resume(), 'close')
})

t.test('a peer that is reset is an error and a close, as with any socket', async (t) => {
  const { port, next } = await listening(t)
  const client = connect(port, '127.0.0.1')
  const socket = await next()
  const failed = once(socket, 'error')
  const closed = new Promise((resolve) => socket.once('close', resolve))
  client.resetAndDestroy()
  const [error] = await failed
  t.equal((error as NodeJS.ErrnoException).code, 'ECONNRESET')
  await closed
})

t.test('the port that is taken is named', async (t) => {
  const { port } = await listening(t)
  const failure = await listenTcp('127.0.0.1', port, () => {}, { shared: false, failed: () => {} }).then(
    () => undefined,
    (error: unknown) => error,
  )
  t.ok(failure instanceof SluiceError)
  t.match(failure, { code: 'conflict', path: 'port', message: `MQTT port ${port} on 127.0.0.1 is taken` })
})

t.test('a connection that cannot be taken is told of, each time, and the next ones are taken', async (t) => {
  const failures: string[] = []
  const take = (socket: Socket): void => void socket.destroy()
  const server = await listenTcp('127.0.0.1', 0, take, {
    shared: false,
    failed: (error) => failures.push(error.message),
  })
  t.teardown(() => server.close())
  server.emit('error', new Error('one'))
  server.emit('error', new Error('two'))
  t.same(failures, ['one', 'two'])
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  await once(client.resume(), 'close')
})
