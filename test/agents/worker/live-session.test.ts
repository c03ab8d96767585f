import t from 'tap'
import { type Clock, systemClock } from '../../../agents/worker/clock.js'
import { echo } from '../../../agents/worker/echo.js'
import type { WorkerHandler, WorkerSession } from '../../../agents/worker/mod.js'
import { GatewayEnd } from './gateway-end.js'
import { deferred, startWorker } from './start-worker.js'

/** A wait that nothing else of the worker has. */
const GRACE_MS = 12_345

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

t.test('frames of one session wait for each other, sessions do not, and acks follow the handler', async (t) => {
  const gates = new Map<string, ReturnType<typeof deferred<void>>>()
  const order: string[] = []
  const handler: WorkerHandler = {
    async frame(session, frame) {
      const name = `${session.id}:${text(frame.payload)}`
      order.push(`begin ${name}`)
      const gate = deferred()
      gates.set(name, gate)
      await gate.promise
      order.push(`end ${name} ${text(frame.payload)}`)
    },
  }
  const { worker } = await startWorker(t, handler)
  const gateway = await GatewayEnd.open(worker.link)
  gateway.attach(1, { session: 'a', epoch: 1 })
  gateway.attach(2, { session: 'b', epoch: 1 })
  for (const seq of [1, 2, 3]) gateway.frame(1, { seq, text: String(seq) })
  gateway.frame(2, { seq: 1, text: '1' })
  t.same(
    (await gateway.settled()).map(([name]) => name),
    ['ATTACHED', 'ATTACHED'],
  )
  t.same(order, ['begin a:1', 'begin b:1'])
  gates.get('b:1')?.resolve()
  t.same(await gateway.next(), ['ACK', 2, 1])
  gates.get('a:1')?.resolve()
  t.same(await gateway.next(), ['ACK', 1, 1])
  t.equal(order.at(-1), 'begin a:2')
  gateway.frame(1, { seq: 2, text: '2' })
  t.same(await gateway.settled(), [['ACK', 1, 1]], 'a duplicate is acknowledged as far as things are processed')
  gates.get('a:2')?.resolve()
  t.same(await gateway.next(), ['ACK', 1, 2])
  gates.get('a:3')?.resolve()
  t.same(await gateway.next(), ['ACK', 1, 3])
  t.same(order.slice(2), ['end b:1 1', 'end a:1 1', 'begin a:2', 'end a:2 2', 'begin a:3', 'end a:3 3'])
  gateway.close()
})

t.test('an older or equal epoch is refused with the known one; a newer attach takes the session over', async (t) => {
  const opened: string[] = []
  const { worker } = await startWorker(t, { open: (session) => void opened.push(session.gateway), ...echo })
  const one = await GatewayEnd.open(worker.link, 'gw-1')
  const two = await GatewayEnd.open(worker.link, 'gw-2')
  one.attach(1, { session: 's', epoch: 5 })
  one.frame(1, { seq: 1, text: 'first' })
  await one.settled()
  two.attach(9, { session: 's', epoch: 5 })
  const [refusal] = await two.settled()
  t.match(refusal, ['REFUSED', 9, { epoch: 5, code: 'stale_epoch' }])
  two.attach(10, { session: 's', epoch: 6, redelivered: true })
  two.frame(10, { seq: 1, text: 'first', redelivered: true })
  two.frame(10, { seq: 2, text: 'second' })
  t.match(await two.settled(), [
    ['ATTACHED', 10, { epoch: 6 }],
    ['FRAME', 10, 1, '', 'first', 'again'],
    ['FRAME', 10, 2, '', 'second'],
    ['ACK', 10, 2],
  ])
  t.match(await one.settled(), [['CLOSE', 1, { code: 'taken_over' }]])
  t.same(opened, ['gw-1'], 'the session object goes on')
  two.control(7, 10, { code: 'closed' })
  one.attach(2, { session: 's', epoch: 6 })
  await two.settled()
  t.match(await one.settled(), [['REFUSED', 2, { epoch: 6 }]], 'the epoch outlives the session')
  one.close()
  two.close()
})

t.test('a session with a slot is a unit of its own', async (t) => {
  const { worker } = await startWorker(t, echo)
  const gateway = await GatewayEnd.open(worker.link)
  gateway.attach(1, { session: 's', slot: 7, epoch: 1 })
  gateway.attach(2, { session: 's', slot: 8, epoch: 1 })
  t.same(await gateway.settled(), [
    ['ATTACHED', 1, { epoch: 1 }],
    ['ATTACHED', 2, { epoch: 1 }],
  ])
  gateway.close()
})

t.test('a handoff finishes what came, hands out the state last, and the next owner goes on from it', async (t) => {
  const counter = (): WorkerHandler => ({
    open: (session) => {
      session.data = 0
    },
    async frame(session, frame) {
      await null
      session.data = (session.data as number) + 1
      session.send(`${text(frame.payload)}=${session.data}`, { acked: true })
    },
    detach: async (session) => Uint8Array.of(session.data as number),
    attach: (session, state) => {
      session.data = state[0]
    },
  })
  const a = await startWorker(t, counter())
  const b = await startWorker(t, counter(), { id: 'w-2' })
  const toA = await GatewayEnd.open(a.worker.link)
  toA.attach(1, { session: 's', epoch: 1 })
  for (const seq of [1, 2]) toA.frame(1, { seq, text: `f${seq}` })
  toA.detach(1, 1)
  toA.frame(1, { seq: 3, text: 'after detach' })
  toA.flush()
  const fromA = await toA.some(4)
  t.same(fromA.slice(0, 3), [
    ['ATTACHED', 1, { epoch: 1 }],
    ['FRAME', 1, 1, '', 'f1=1'],
    ['FRAME', 1, 2, '', 'f2=2'],
  ])
  const rest = [fromA[3], ...(await toA.settled())]
  const detached = rest.find((record) => record?.[0] === 'DETACHED')
  t.match(detached, ['DETACHED', 1, { epoch: 1 }])
  t.equal(rest.at(-1), detached, 'nothing of the binding comes behind it')
  const { acked, sent, state } = (detached as unknown[])[2] as { acked: number; sent: number; state: Uint8Array }
  const toB = await GatewayEnd.open(b.worker.link)
  toB.attach(1, { session: 's', epoch: 2, acked, sent, state })
  toB.frame(1, { seq: acked, text: 'seen already' })
  toB.frame(1, { seq: acked + 1, text: 'next' })
  toB.flush()
  const fromB = await toB.settled()
  t.match(
    fromB.find(([name]) => name === 'FRAME'),
    ['FRAME', 1, sent + 1, '', `next=${(state[0] as number) + 1}`],
  )
  toA.close()
  toB.close()
})

t.test('after a link breaks in the middle of a record the session goes on where it was', async (t) => {
  const closed: string[] = []
  const { worker } = await startWorker(t, { ...echo, close: (_, reason) => void closed.push(reason) })
  const one = await GatewayEnd.open(worker.link, 'gw-1')
  one.attach(1, { session: 's', epoch: 1 })
  for (const seq of [1, 2]) one.frame(1, { seq, text: `f${seq}` })
  await one.settled()
  one.ack(1, 1)
  one.frame(1, { seq: 3, text: 'cut in the middle' })
  const bytes = one.take()
  one.socket.end(bytes.subarray(0, bytes.length - 5))
  while ((await one.next())[0] !== 'closed') t.pass()
  const two = await GatewayEnd.open(worker.link, 'gw-2')
  two.attach(4, { session: 's', epoch: 2, acked: 1, redelivered: true })
  two.frame(4, { seq: 2, text: 'f2', redelivered: true })
  two.frame(4, { seq: 3, text: 'f3' })
  t.match(await two.settled(), [
    ['ATTACHED', 4, { epoch: 2 }],
    ['FRAME', 4, 2, '', 'f2', 'again'],
    ['FRAME', 4, 3, '', 'f3'],
    ['ACK', 4, 3],
  ])
  t.same(closed, [])
  two.close()
})

t.test('a session whose gateway does not come back is closed after the grace period', async (t) => {
  const lost = deferred<string>()
  const handler: WorkerHandler = { ...echo, close: (_, reason) => lost.resolve(reason) }
  const { worker } = await startWorker(t, handler, { limits: { graceMs: 20 } })
  const gateway = await GatewayEnd.open(worker.link)
  gateway.attach(1, { session: 's', epoch: 1 })
  await gateway.settled()
  gateway.close()
  t.equal(await lost.promise, 'gateway_lost')
})

t.test('the grace period begins anew when a session is lost by another gateway', async (t) => {
  const closed: string[] = []
  const handler: WorkerHandler = { ...echo, close: (_, reason) => void closed.push(reason) }
  const waits: (() => void)[] = []
  const clock: Clock = {
    ...systemClock,
    after: (ms, fn) => {
      if (ms !== GRACE_MS) return systemClock.after(ms, fn)
      waits.push(fn)
      return () => {}
    },
  }
  const { worker } = await startWorker(t, handler, { clock, limits: { graceMs: GRACE_MS } })
  for (const epoch of [1, 2]) {
    const gateway = await GatewayEnd.open(worker.link, `gw-${epoch}`)
    gateway.attach(1, { session: 's', epoch })
    await gateway.settled()
    gateway.socket.destroy()
    while (waits.length < epoch) await new Promise((resolve) => setImmediate(resolve))
  }
  waits[0]?.()
  const third = await GatewayEnd.open(worker.link, 'gw-3')
  third.attach(1, { session: 's', epoch: 3 })
  t.match(await third.settled(), [['ATTACHED', 1, { resumed: true }]], 'the end of the first wait is not for it')
  third.socket.destroy()
  while (waits.length < 3) await new Promise((resolve) => setImmediate(resolve))
  t.same(closed, [])
  for (const end of waits.slice(1)) end()
  t.same(closed, ['gateway_lost'], 'but that of its own is')
})

t.test('a stale object is not gone on with when another worker had the session in between', async (t) => {
  const events: string[] = []
  const handler: WorkerHandler = {
    ...echo,
    open: (session) => void events.push(`open ${session.redelivered}`),
    close: (_, reason) => void events.push(`close ${reason}`),
  }
  const { worker } = await startWorker(t, handler)
  const gateway = await GatewayEnd.open(worker.link)
  gateway.attach(1, { session: 's', epoch: 1 })
  await gateway.settled()
  gateway.attach(2, { session: 's', epoch: 3, acked: 8, sent: 4, redelivered: true })
  gateway.frame(2, { seq: 9, text: 'x' })
  const records = await gateway.settled()
  t.match(records, [
    ['CLOSE', 1],
    ['ATTACHED', 2],
    ['FRAME', 2, 5, '', 'x'],
    ['ACK', 2, 9],
  ])
  t.same(events, ['open false', 'close taken_over', 'open true'])
  gateway.close()
})

t.test('a failing handler: once is dropped, acked ends the session unacknowledged, open refuses', async (t) => {
  const closed: string[] = []
  const handler: WorkerHandler = {
    open(session) {
      if (session.device === 'unwanted') throw new Error('not this one')
    },
    frame(_, frame) {
      if (text(frame.payload) === 'bad') throw new Error('secret detail')
      if (text(frame.payload) === 'later') return Promise.reject(new Error('secret detail'))
    },
    close: (session, reason) => void closed.push(`${session.id} ${reason}`),
  }
  const { worker, log } = await startWorker(t, handler)
  const gateway = await GatewayEnd.open(worker.link)
  gateway.attach(1, { session: 'a', epoch: 1 })
  gateway.attach(2, { session: 'b', epoch: 1 })
  gateway.attach(3, { session: 'c', epoch: 1, device: 'unwanted' })
  await gateway.some(0)
  gateway.frame(1, { text: 'bad' })
  gateway.frame(1, { seq: 1, text: 'good' })
  gateway.frame(1, { seq: 2, text: 'bad' })
  gateway.frame(1, { seq: 3, text: 'good' })
  gateway.frame(2, { seq: 1, text: 'later' })
  const records = await gateway.settled()
  t.match(records.slice(0, 3), [
    ['ATTACHED', 1],
    ['ATTACHED', 2],
    ['REFUSED', 3, { code: 'worker_refused', message: 'not this one' }],
  ])
  t.match(records.slice(3), [
    ['CLOSE', 1, { code: 'worker_failed' }],
    ['CLOSE', 2, { code: 'worker_failed' }],
  ])
  t.notMatch(JSON.stringify(records), /secret detail/)
  t.same(closed, ['a worker_failed', 'b worker_failed'])
  t.equal(log.filter(({ level }) => level === 'error').length, 4)
  gateway.close()
})

t.test('what is sent while a session opens follows ATTACHED; frames wait until it is open', async (t) => {
  const gate = deferred()
  const { worker } = await startWorker(t, {
    async open(session) {
      session.send('welcome', { topic: 'w' })
      session.send('kept', { acked: true })
      await gate.promise
    },
    frame: echo.frame,
  })
  const gateway = await GatewayEnd.open(worker.link)
  gateway.attach(1, { session: 's', epoch: 1 })
  gateway.frame(1, { text: 'early' })
  t.same(await gateway.settled(), [])
  gate.resolve()
  t.same(await gateway.some(4), [
    ['ATTACHED', 1, { epoch: 1 }],
    ['FRAME', 1, 1, '', 'kept'],
    ['FRAME', 1, 0, 'w', 'welcome'],
    ['FRAME', 1, 0, '', 'early'],
  ])
  gateway.close()
})

t.test('session.close ends the session from inside the handler, and is heard once', async (t) => {
  const closed: string[] = []
  const { worker } = await startWorker(t, {
    frame(session) {
      session.close('enough')
      session.close('again')
      closed.push(`open ${session.open}`, `sent ${session.send('x')}`)
    },
    close: (_, reason) => void closed.push(reason),
  })
  const gateway = await GatewayEnd.open(worker.link)
  gateway.attach(1, { session: 's', epoch: 1 })
  gateway.frame(1, { seq: 1 })
  gateway.frame(1, { seq: 2 })
  t.same(await gateway.settled(), [
    ['ATTACHED', 1, { epoch: 1 }],
    ['CLOSE', 1, { code: 'closed', message: 'enough' }],
  ])
  t.same(closed, ['open false', 'sent false', 'enough'])
  gateway.close()
})

t.test('a slow handler bounds its queue: fire-and-forget is dropped, acked ends the session', async (t) => {
  const gate = deferred()
  const seen: string[] = []
  const handler: WorkerHandler = {
    async frame(_, frame) {
      seen.push(text(frame.payload))
      await gate.promise
    },
  }
  const { worker } = await startWorker(t, handler, { limits: { queuedFrames: 2 } })
  const gateway = await GatewayEnd.open(worker.link)
  gateway.attach(1, { session: 'a', epoch: 1 })
  gateway.attach(2, { session: 'b', epoch: 1 })
  for (const word of ['1', '2', '3', '4']) gateway.frame(1, { text: word })
  for (const seq of [1, 2, 3, 4]) gateway.frame(2, { seq, text: `b${seq}` })
  t.match((await gateway.settled()).slice(2), [['CLOSE', 2, { code: 'overloaded' }]])
  gate.resolve()
  await gateway.settled()
  t.same(seen, ['1', 'b1', '2', '3'])
  gateway.close()
})

t.test('a full window makes send return false until the device confirms; echo waits for it', async (t) => {
  const { worker } = await startWorker(t, echo, { limits: { windowFrames: 2 } })
  const gateway = await GatewayEnd.open(worker.link)
  gateway.attach(1, { session: 's', epoch: 1 })
  for (const seq of [1, 2, 3, 4]) gateway.frame(1, { seq, text: `f${seq}` })
  t.same((await gateway.settled()).slice(1), [
    ['FRAME', 1, 1, '', 'f1'],
    ['FRAME', 1, 2, '', 'f2'],
    ['ACK', 1, 2],
  ])
  gateway.ack(1, 1)
  t.same(await gateway.settled(), [
    ['FRAME', 1, 3, '', 'f3'],
    ['ACK', 1, 3],
  ])
  gateway.ack(1, 3)
  t.same(await gateway.settled(), [
    ['FRAME', 1, 4, '', 'f4'],
    ['ACK', 1, 4],
  ])
  gateway.close()
})

t.test('a handoff that is given up does not lose the session object of the next attach', async (t) => {
  const gate = deferred()
  const sessions: WorkerSession[] = []
  const { worker } = await startWorker(t, {
    open: (session) => void sessions.push(session),
    frame: echo.frame,
    async detach() {
      await gate.promise
      return Uint8Array.of(1)
    },
  })
  const gateway = await GatewayEnd.open(worker.link)
  gateway.attach(1, { session: 's', epoch: 1 })
  gateway.detach(1, 1)
  gateway.control(7, 1, { code: 'stale_epoch', message: 'did not let go in time' })
  gateway.attach(2, { session: 's', epoch: 2, redelivered: true })
  gateway.frame(2, { text: 'again' })
  gate.resolve()
  t.same(await gateway.settled(), [
    ['ATTACHED', 1, { epoch: 1 }],
    ['ATTACHED', 2, { epoch: 2 }],
    ['FRAME', 2, 0, '', 'again'],
  ])
  t.equal(sessions.length, 2)
  t.equal(sessions[1]?.open, true)
  gateway.close()
})
