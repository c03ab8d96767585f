import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { echo } from '../../../agents/worker/echo.js'
import { createWorker } from '../../../agents/worker/mod.js'
import { CoordinatorEnd } from './coordinator-end.js'
import { GatewayEnd } from './gateway-end.js'
import { startWorker } from './start-worker.js'

t.test('a worker registers its address and answers heartbeats', async (t) => {
  const { worker, coordinator } = await startWorker(t, echo, { weight: 2 })
  const register = await coordinator.next('register_worker')
  t.match(register, {
    t: 'register_worker',
    protocol: 1,
    id: 'w-1',
    pool: 'default',
    weight: 2,
    pid: process.pid,
    sessions: 0,
  })
  t.equal(register.link, worker.link)
  t.match(worker.link, /^tcp:\/\/127\.0\.0\.1:\d+$/)
  const beat = await coordinator.next('worker_heartbeat')
  t.ok(beat.lagMs >= 0)
  coordinator.cut()
  const again = await coordinator.next('register_worker')
  t.equal(again.incarnation, register.incarnation, 'a reconnect is the same incarnation')
})

t.test('echo answers on the same topic, acknowledges in one record per tick, and counts its own seq', async (t) => {
  const { worker } = await startWorker(t, echo)
  const gateway = await GatewayEnd.open(worker.link)
  gateway.attach(1, { session: 's', epoch: 1 })
  gateway.frame(1, { topic: 'a/b', text: 'once' })
  for (let seq = 1; seq <= 3; seq++) gateway.frame(1, { topic: 'a/b', text: `n${seq}`, seq })
  gateway.frame(1, { type: 1, topic: 'a/b', text: 'for the subscribers' })
  gateway.flush()
  t.same(await gateway.settled(), [
    ['ATTACHED', 1, { epoch: 1 }],
    ['FRAME', 1, 0, 'a/b', 'once'],
    ['FRAME', 1, 1, 'a/b', 'n1'],
    ['FRAME', 1, 2, 'a/b', 'n2'],
    ['FRAME', 1, 3, 'a/b', 'n3'],
    ['ACK', 1, 3],
  ])
  gateway.attach(2, { session: 'm', epoch: 1, protocol: 'mqtt' })
  gateway.frame(2, { type: 1, topic: 'm/t', text: 'mqtt', seq: 1 })
  t.same(await gateway.settled(), [
    ['ATTACHED', 2, { epoch: 1 }],
    ['FRAME', 2, 1, 'm/t', 'mqtt'],
    ['ACK', 2, 1],
  ])
  gateway.close()
})

t.test('a worker listens on a Unix socket, and takes over one that a killed process left', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const socketPath = join(dir, 'w.sock')
  const { worker } = await startWorker(t, echo, { socketPath })
  t.equal(worker.link, `unix:${socketPath}`)
  const gateway = await GatewayEnd.open(worker.link)
  gateway.attach(1, { session: 's', epoch: 1 })
  gateway.frame(1, { topic: 'x', text: 'over unix' })
  t.same((await gateway.settled())[1], ['FRAME', 1, 0, 'x', 'over unix'])
  await t.rejects(startWorker(t, echo, { socketPath }), { code: 'conflict' }, 'a live one is not taken over')
  gateway.close()
})

t.test('drain asks the coordinator and resolves when nothing is bound any more', async (t) => {
  const { worker, coordinator } = await startWorker(t, echo)
  const drained = worker.drain()
  t.same(await coordinator.next('drain'), { t: 'drain', id: 'w-1' })
  coordinator.send({ t: 'drained', id: 'w-1' })
  await drained
})

t.test('a worker publishes by a gateway, and tells the gateways its load', async (t) => {
  const { worker } = await startWorker(t, echo)
  t.equal(worker.publish('news', 'nobody there'), false)
  const gateway = await GatewayEnd.open(worker.link)
  const other = await GatewayEnd.open(worker.link, 'gw-2')
  t.equal(worker.publish('news', 'hello'), true)
  t.same(await gateway.settled(), [['PUBLISH', 0, 0, 'news', 'hello']])
  for (const binding of [1, 2, 3]) gateway.attach(binding, { session: `s${binding}`, epoch: 1 })
  gateway.flush()
  while ((await other.load()) !== 3) t.pass('an earlier load')
  t.equal(worker.sessions, 3)
  gateway.close()
  while ((await other.load()) !== 0) t.pass('an earlier load')
  other.close()
})

t.test('wrong options and a refusal of the coordinator are told by name', async (t) => {
  const base = { coordinator: 'http://127.0.0.1:1', pool: 'p', handler: echo }
  await t.rejects(createWorker({ ...base, coordinator: 'nowhere' }), {
    code: 'bad_request',
    message: /coordinator nowhere/,
  })
  await t.rejects(createWorker({ ...base, pool: 'a b' }), { code: 'bad_request', path: 'pool' })
  await t.rejects(createWorker({ ...base, weight: -1 }), { code: 'bad_request', path: 'weight' })
  await t.rejects(createWorker({ ...base, port: 70_000 }), { code: 'bad_request', path: 'port' })
  await t.rejects(createWorker({ ...base, handler: {} as never }), { code: 'bad_request', path: 'handler' })
  const coordinator = await CoordinatorEnd.start()
  coordinator.answer = { t: 'refused', code: 'conflict', message: 'worker w-1 is registered by another process' }
  const refused = createWorker({ ...base, coordinator: coordinator.url, id: 'w-1', log: pinoLike })
  await t.rejects(refused, { code: 'conflict', message: /another process/ })
  await coordinator.close()
})

t.test('a token that the coordinator refuses is told at once', async (t) => {
  const server = createServer()
  server.on('upgrade', (_, socket) => socket.end('HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\n'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const coordinator = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const refused = createWorker({ coordinator, pool: 'p', handler: echo, token: 'wrong', log: pinoLike })
  await t.rejects(refused, { code: 'unauthorized', message: /token/ })
})

const pinoLike = { info: () => undefined, warn: () => undefined, error: () => undefined }
