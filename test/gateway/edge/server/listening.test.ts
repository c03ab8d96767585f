import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import t from 'tap'
import { sharedPort } from '../../../../gateway/edge/server/listening.js'

t.test('a port is shared where that is wanted and the system can, and listening succeeds', async (t) => {
  t.same(sharedPort(false), {})
  t.same(sharedPort(true), process.platform === 'linux' ? { reusePort: true } : sharedPort(true))
  const server = createServer()
  t.teardown(() => server.close())
  server.listen({ host: '127.0.0.1', port: 0, ...sharedPort(true) })
  await once(server, 'listening')
  t.ok((server.address() as AddressInfo).port > 0)
})
