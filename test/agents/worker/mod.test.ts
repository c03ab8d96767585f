import t, { type Test } from 'tap'
import { echo } from '../../../agents/worker/echo.js'
import { createWorker, type Worker, type WorkerHandler, type WorkerOptions } from '../../../agents/worker/mod.js'
import { CoordinatorEnd } from './coordinator-end.js'
import { GatewayEnd } from './gateway-end.js'

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }

async function start(
  t: Test,
  handler: WorkerHandler,
  more: Partial<WorkerOptions> = {},
): Promise<{ worker: Worker; coordinator: CoordinatorEnd }> {
  const coordinator = await CoordinatorEnd.start()
  const worker = await createWorker({
    coordinator: coordinator.url,
    pool: 'default',
    id: 'w-1',
    handler,
    log: quiet,
    ...more,
  })
  t.teardown(async () => {
    await worker.close()
    await coordinator.close()
  })
  return { worker, coordinator }
}

t.test('a worker registers its address and answers heartbeats', async (t) => {
  const { worker, coordinator } = await start(t, echo, { weight: 2 })
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
  const { worker } = await start(t, echo)
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
