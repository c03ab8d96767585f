import t from 'tap'
import { ControlRelay } from '../../../gateway/threads/control-relay.js'
import {
  CONTROL_PROTOCOL,
  type FromCoordinator,
  packControl,
  type ToCoordinator,
  unpackControl,
} from '../../../proto/control.js'
import { EMPTY_TABLE, type RoutingTable } from '../../../proto/table.js'
import { applyDelta, unpackTable } from '../../../proto/table-delta.js'

/** A thread that speaks by hand. */
class Thread {
  readonly heard: FromCoordinator[] = []
  opened = 0
  lostBy: string | undefined
  readonly #relay: ControlRelay
  readonly #index: number

  constructor(relay: ControlRelay, index: number) {
    this.#relay = relay
    this.#index = index
  }

  dial(): this {
    this.#relay.dialed(this.#index, {
      open: () => this.opened++,
      receive: (bytes) => this.heard.push(unpackControl(bytes) as FromCoordinator),
      lost: (reason) => {
        this.lostBy = reason
      },
    })
    return this
  }

  say(message: ToCoordinator): void {
    this.#relay.message(this.#index, packControl(message))
  }

  register(tableVersion = 0): this {
    const nowhere = { http: 'http://h:1', ws: 'ws://h:1', mqtt: '' }
    this.say({
      ...{ t: 'register_gateway', protocol: CONTROL_PROTOCOL, id: 'g', region: 'r', ...nowhere, capacity: 0 },
      ...{ pid: 1, incarnation: 'i', tableVersion },
    } as ToCoordinator)
    return this
  }

  /** The last message of this kind, and forgets all that were heard. */
  last<T extends FromCoordinator['t']>(kind: T): Extract<FromCoordinator, { t: T }> | undefined {
    const found = this.heard.splice(0).findLast(({ t }) => t === kind)
    return found as Extract<FromCoordinator, { t: T }> | undefined
  }

  beat(sessions: number, framesUp = 0, p99Ms = 0): void {
    const counters = { connects: sessions, disconnects: 0, errors: 0, framesUp, framesDown: 0 }
    const pools = { p: { workers: { w: sessions }, slots: [7, sessions] } }
    this.say({ t: 'gateway_heartbeat', sessions, lagMs: sessions, pools, counters, p99Ms })
  }
}

function table(version: number): RoutingTable {
  return { ...EMPTY_TABLE, version }
}

function relayOf(threads: number) {
  const reported: ToCoordinator[] = []
  const relay = new ControlRelay({ id: 'g', threads, report: (message) => reported.push(message), connected: () => {} })
  return { relay, reported, threads: Array.from({ length: threads }, (_, index) => new Thread(relay, index)) }
}

/** A relay that is connected, with threads that have registered. */
function running(count: number) {
  const all = relayOf(count)
  for (const thread of all.threads) thread.dial()
  all.relay.connected(true, 'here')
  for (const thread of all.threads) thread.register()
  return all
}

/** What became of a promise by now. */
async function outcome(promise: Promise<unknown>): Promise<string> {
  const pending = new Promise<string>((resolve) => setImmediate(() => resolve('pending')))
  return Promise.race([
    promise.then(
      () => 'taken',
      (error: Error) => error.message,
    ),
    pending,
  ])
}

t.test('a thread is not heard before there is a coordinator, and is let go with it', async (t) => {
  const { relay, threads } = relayOf(1)
  const [thread] = threads as [Thread]
  thread.dial()
  t.equal(thread.opened, 0)
  relay.connected(true, 'here')
  t.equal(thread.opened, 1)
  relay.connected(false, 'it is gone')
  t.equal(thread.lostBy, 'it is gone')
})

t.test('a table is taken when every thread took it', async (t) => {
  const { relay, threads } = running(2)
  const [a, b] = threads as [Thread, Thread]
  const taken = relay.useTable(table(1))
  for (const thread of threads) t.equal(unpackTable(thread.last('snapshot')?.table as Uint8Array).version, 1)
  a.say({ t: 'ack', version: 1 })
  t.equal(await outcome(taken), 'pending')
  b.say({ t: 'ack', version: 1 })
  t.equal(await outcome(taken), 'taken')
  const next = relay.useTable(table(2))
  for (const thread of threads) {
    const delta = thread.last('delta')
    t.equal(applyDelta(table(1), delta?.delta as Uint8Array).version, 2, 'those that have the one before get a delta')
    thread.say({ t: 'ack', version: 2 })
  }
  t.equal(await outcome(next), 'taken')
})

t.test('a thread that dies keeps no table waiting, and its successor gets it whole', async (t) => {
  const { relay, threads } = running(2)
  const [a, b] = threads as [Thread, Thread]
  const taken = relay.useTable(table(1))
  a.say({ t: 'ack', version: 1 })
  relay.closed(1, true)
  t.equal(await outcome(taken), 'taken')
  // It names the version that its predecessor's disk had: nobody knows whose that was.
  b.dial().register(1)
  t.equal(b.last('snapshot')?.version, 1)
})

t.test('with no thread at all nothing is taken', async (t) => {
  const { relay } = relayOf(2)
  relay.connected(true, 'here')
  t.equal(await outcome(relay.useTable(table(1))), 'pending')
})

t.test("one thread's refusal is the gateway's, and all go back to the last table that all took", async (t) => {
  const { relay, threads } = running(2)
  const [a, b] = threads as [Thread, Thread]
  const first = relay.useTable(table(1))
  for (const thread of threads) thread.say({ t: 'ack', version: 1 })
  t.equal(await outcome(first), 'taken')
  const second = relay.useTable(table(2))
  a.say({ t: 'ack', version: 2 })
  a.heard.length = 0
  b.say({ t: 'nack', version: 2, serving: 1, code: 'table_rejected', message: 'no such pool' })
  t.match(await outcome(second), /no such pool/)
  t.equal(relay.table.version, 1)
  t.equal(a.last('snapshot')?.version, 1)
})

t.test('heartbeats are summed, and what a thread counted outlives it', async (t) => {
  const { relay, threads } = running(2)
  const [a, b] = threads as [Thread, Thread]
  a.beat(3, 100, 5)
  a.beat(3, 100, 1)
  b.beat(4, 50)
  const beat = relay.heartbeat()
  t.match(beat, { sessions: 7, lagMs: 4, p99Ms: 5, counters: { framesUp: 150, connects: 7 } })
  t.same(beat.pools, { p: { workers: { w: 7 }, slots: [7, 7] } })
  t.equal(relay.heartbeat().p99Ms, 0, 'the worst is told once')
  relay.closed(0, true)
  t.match(relay.heartbeat(), { sessions: 4, counters: { framesUp: 150 } })
})

t.test('a question goes to all threads, and the newest session is the answer', async (t) => {
  const { relay, threads } = running(2)
  const answer = relay.answer({ t: 'query', id: 9, what: 'session', device: 'd' })
  for (const [i, thread] of threads.entries()) {
    const query = thread.last('query')
    t.equal(query?.device, 'd')
    thread.say({ t: 'answer', id: query?.id ?? 0, body: { device: 'd', session: `s${i}`, since: `2026-01-0${i + 1}` } })
  }
  t.match(await answer, { session: 's1' })
  const unknown = relay.answer({ t: 'query', id: 10, what: 'session', device: 'd' })
  const query = threads[0]?.last('query')
  threads[0]?.say({ t: 'answer', id: query?.id ?? 0, body: undefined })
  relay.closed(1, true)
  t.equal(await unknown, undefined, 'a thread that died says nothing')
})

t.test('a link is down when no thread has it', async (t) => {
  const { threads, reported } = running(2)
  const [a, b] = threads as [Thread, Thread]
  a.say({ t: 'link_report', worker: 'w', event: 'up' })
  b.say({ t: 'link_report', worker: 'w', event: 'up' })
  a.say({ t: 'link_report', worker: 'w', event: 'down' })
  t.same(
    reported.map((message) => 'event' in message && message.event),
    ['up'],
  )
  b.say({ t: 'link_report', worker: 'w', event: 'down' })
  t.same(
    reported.map((message) => 'event' in message && message.event),
    ['up', 'down'],
  )
})

t.test('orders reach all threads, later ones too, and a budget is shared out', async (t) => {
  const { relay, threads } = running(2)
  const [a, b] = threads as [Thread, Thread]
  relay.budget({ t: 'move_budget', perSecond: 101, inFlight: 1, paused: false })
  t.match(a.last('move_budget'), { perSecond: 50, inFlight: 1 })
  relay.drain({ t: 'drain_gateway', draining: true, windowMs: 5 })
  t.match(a.last('drain_gateway'), { draining: true })
  relay.closed(1, true)
  b.heard.length = 0
  b.dial().register()
  t.ok(b.heard.some((message) => message.t === 'drain_gateway'))
  t.ok(b.heard.some((message) => message.t === 'move_budget'))
})
