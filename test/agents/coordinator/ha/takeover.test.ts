/** Three coordinators as real processes on a real nats-server. `ten-kills.ts` does the same for longer. */

import t, { type Test } from 'tap'
import type { FleetStatus } from '../../../../agents/coordinator/status.js'
import { hasNatsServer, NatsServer } from '../../../gateway/fanout/nats-server.js'
import { FakeGateway, FakeWorker } from '../fake-fleet.js'
import {
  type CoordinatorProcess,
  history,
  inStep,
  killLeader,
  leaderOf,
  lostWrites,
  putRoutes,
  Returning,
  startCoordinators,
  startRole,
  until,
  Writer,
} from './coordinators.js'

const skip = hasNatsServer ? false : 'nats-server is not installed'

/** A fleet of three, and how it ends. */
async function fleet(t: Test): Promise<{ nats: NatsServer; coordinators: CoordinatorProcess[] }> {
  const nats = await NatsServer.start()
  t.teardown(() => nats.remove())
  const coordinators = await startCoordinators(nats, 3)
  t.teardown(() => Promise.all(coordinators.map((coordinator) => coordinator.kill())))
  return { nats, coordinators }
}

t.test(
  'a leader that is killed under writes is replaced within 3 s, and no acknowledged write is lost',
  { skip },
  async (t) => {
    const { coordinators } = await fleet(t)
    const writer = new Writer(coordinators)
    await until(async () => writer.acknowledged[5], 'writes')
    for (let kills = 0; kills < 3; kills++) {
      const from = Math.max(0, writer.acknowledged.length - 100)
      const { killed, tookMs } = await killLeader(coordinators, writer)
      t.ok(tookMs < 3000, `writes were taken again after ${Math.round(tookMs)} ms`)
      const survivors = coordinators.filter((coordinator) => coordinator !== killed)
      await inStep(survivors)
      for (const { url } of survivors) t.same(await lostWrites(url, writer, from), [])
      await killed.start()
      t.equal((await killed.describe()).role, 'follower', 'it comes back as a follower')
    }
    await writer.stop()
    const versions = writer.acknowledged.map(({ version }) => version)
    t.same(
      versions,
      [...new Set(versions)].sort((a, b) => a - b),
      'versions only grow, whoever led',
    )
    const histories = await Promise.all(coordinators.map(({ url }) => history(url)))
    t.same(histories[1], histories[0], 'all tell the same history')
    t.same(histories[2], histories[0])
  },
)

t.test('a leader that was stopped and wakes up writes nothing', { skip }, async (t) => {
  const { coordinators } = await fleet(t)
  const stopped = await leaderOf(coordinators)
  const others = coordinators.filter((coordinator) => coordinator !== stopped)
  t.equal((await putRoutes(stopped.url, 'before')).status, 200)
  const { epoch } = (await stopped.describe()).leader as { epoch: number }
  // Both know the leader first, and one other: what they hold is a connection to a process that says nothing.
  const told = [stopped, others[0] as CoordinatorProcess]
  const roles = await Promise.all([
    startRole(told, 'worker', 'echo', '--id', 'worker-1', '--port', '0'),
    startRole(told, 'gateway', '--id', 'gateway-1', '--port', '0', '--mqtt-port', '0'),
  ])
  t.teardown(() => roles.map((role) => role.kill('SIGKILL')))

  const at = performance.now()
  stopped.signal('SIGSTOP')
  // It reads these when it wakes, and must not take it for a leader's work.
  const asleep = putRoutes(stopped.url, 'asleep', 20_000)
  const gateway = new FakeGateway(stopped.url, 'gateway-asleep')
  t.teardown(() => gateway.kill())
  const next = await leaderOf(others)
  t.equal((await putRoutes(next.url, 'after')).status, 200)
  t.ok(performance.now() - at < 3000, `another led after ${Math.round(performance.now() - at)} ms`)
  t.ok(((await next.describe()).leader?.epoch ?? 0) > epoch, 'with a later epoch')
  await until(async () => {
    const answer = await fetch(`${next.url}/v1/status`, { signal: AbortSignal.timeout(1000) })
    const { gateways, workers } = (await answer.json()) as FleetStatus
    return gateways.find(({ id }) => id === 'gateway-1')?.connected && workers[0]?.connected ? true : undefined
  }, 'gateway and worker to come to the new leader')
  const before = await history(next.url)

  stopped.signal('SIGCONT')
  const { status } = await asleep
  await until(async () => ((await stopped.describe()).role === 'follower' ? true : undefined), 'it to follow')
  await until(
    async () => ((await stopped.describe()).leaderSeems === 'alive' ? true : undefined),
    'it to see the leader',
  )
  const names = (await history(next.url)).map(({ message }) => message)
  // The request may have been handed on to the new leader; then it was that one's write.
  t.same(names, [...before.map(({ message }) => message), ...(status === 200 ? ['asleep'] : [])])
  t.same(await history(stopped.url), await history(next.url), 'it answers what the leader answers')
  t.equal((await next.describe()).role, 'leader', 'the new leader stays')
  t.equal((await putRoutes(stopped.url, 'handed-on')).status, 200, 'and gets what the old one is asked')
})

t.test(
  'gateways and workers connect to any coordinator, and go on through a change of the leader',
  { skip },
  async (t) => {
    const { coordinators } = await fleet(t)
    const leader = await leaderOf(coordinators)
    const [one, two] = coordinators.filter((coordinator) => coordinator !== leader) as [
      CoordinatorProcess,
      CoordinatorProcess,
    ]
    // Two URLs each, as their command lines would have them.
    const urls = [one.url, two.url]
    const at = (turn: number): string => urls[turn % urls.length] as string
    const worker = new Returning((turn) => new FakeWorker(at(turn), 'worker-1', { incarnation: 'same' }))
    const gateway = new Returning((turn) => new FakeGateway(at(turn + 1), 'gateway-1', { incarnation: 'same' }))
    t.teardown(() => worker.end())
    t.teardown(() => gateway.end())
    const { version } = await gateway.current.tableWith('worker-1')
    t.match(await (await fetch(`${one.url}/v1/status`)).json(), {
      gateways: [{ id: 'gateway-1', connected: true }],
      workers: [{ id: 'worker-1', state: 'up', connected: true }],
    })
    await inStep(coordinators)

    const killedAt = performance.now()
    leader.signal('SIGKILL')
    await Promise.all([gateway.current.closed, worker.current.closed])
    const next = await leaderOf([one, two])
    t.equal((await putRoutes(next.url, 'at-once')).status, 200)
    const table = await until(async () => {
      const { table } = gateway.current
      return table.version > version ? table : undefined
    }, 'a table of the new leader')
    t.ok(performance.now() - killedAt < 3000, `the new leader's table came within ${performance.now() - killedAt} ms`)
    t.same([...table.workers.keys()], ['worker-1'], 'a worker that is coming back is in it')
    t.equal(table.routes[0]?.name, 'at-once', 'and what was written before it went out')
    await until(async () => {
      const status = await (await fetch(`${next.url}/v1/status`)).json()
      const { gateways, workers } = status as { gateways: { connected: boolean }[]; workers: { connected: boolean }[] }
      return gateways[0]?.connected && workers[0]?.connected ? true : undefined
    }, 'both to be connected again')
  },
)

t.test(
  'while NATS is away reads and feeds go on, writes answer 503 with Retry-After, and it heals',
  { skip },
  async (t) => {
    const { nats, coordinators } = await fleet(t)
    const leader = await leaderOf(coordinators)
    const followers = coordinators.filter((coordinator) => coordinator !== leader) as [
      CoordinatorProcess,
      CoordinatorProcess,
    ]
    const gateway = new FakeGateway(followers[0].url, 'gateway-1')
    t.teardown(() => gateway.kill())
    t.equal((await putRoutes(followers[1].url, 'before')).status, 200)
    await gateway.tableWhere((table) => table.routes[0]?.name === 'before')
    await inStep(coordinators)

    await nats.stop()
    await until(async () => ((await leader.describe()).store === 'away' ? true : undefined), 'the leader to notice')
    for (const { url } of coordinators) {
      const answer = await putRoutes(url, 'away')
      t.equal(answer.status, 503)
      t.ok(Number(answer.retryAfter) >= 1, 'with Retry-After')
      t.equal((await history(url)).at(-1)?.message, 'before', 'reads go on, and nothing changed')
      t.equal((await fetch(`${url}/readyz`)).status, 200)
    }
    const worker = new FakeWorker(followers[1].url, 'worker-1')
    t.teardown(() => worker.kill())
    await gateway.tableWith('worker-1')
    t.pass('a worker that joins meanwhile is in the next table')

    // Now the leader dies too: nobody can take over, and still the last state is there.
    await leader.kill()
    await until(
      async () => ((await followers[0].describe()).leaderSeems !== 'alive' ? true : undefined),
      'it to notice',
    )
    for (const { url } of followers) {
      t.equal((await history(url)).at(-1)?.message, 'before', 'a follower answers reads by itself')
      const answer = await putRoutes(url, 'away')
      t.equal(answer.status, 503)
      t.ok(Number(answer.retryAfter) >= 1)
    }
    const boot = new FakeGateway(followers[1].url, 'gateway-3')
    t.teardown(() => boot.kill())
    t.equal((await boot.tableWhere(({ version }) => version > 0)).routes[0]?.name, 'before', 'and feeds a new gateway')

    await nats.start()
    const at = performance.now()
    await until(
      async () => ((await putRoutes(followers[0].url, 'healed')).status === 200 ? true : undefined),
      'writes to be taken again',
    )
    await inStep(followers)
    t.comment(`healed after ${Math.round(performance.now() - at)} ms`)
    t.same(
      (await history(followers[1].url)).map(({ message }) => message).slice(-2),
      ['before', 'healed'],
      'what was refused is not there',
    )
  },
)
