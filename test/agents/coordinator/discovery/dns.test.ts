/** Against a real DNS server, dnsmasq, and against a resolver by hand for what it does not do on request. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { DnsDiscovery, type DnsOptions, type DnsResolver } from '../../../../agents/coordinator/discovery/dns.js'
import { fasterClock, freePort, SourceHarness } from './source-harness.js'

const hasDnsmasq = spawnSync('dnsmasq', ['--version']).status === 0
const real = { skip: hasDnsmasq ? false : 'dnsmasq is not installed' }

/** Knows the zone `test` from its flags and nothing else. */
class Dnsmasq {
  port = 0
  #process: ChildProcess | undefined

  static async start(t: Test, records: readonly string[]): Promise<Dnsmasq> {
    const server = new Dnsmasq()
    t.teardown(() => server.stop())
    // It wants the port for TCP and UDP; one that is free for the one may be taken for the other.
    for (let left = 20; ; left--) {
      server.port = await freePort()
      if (await server.#starts(records)) return server
      if (left === 0) throw new Error('dnsmasq does not start')
    }
  }

  /** Again, on the same port. */
  async start(records: readonly string[]): Promise<void> {
    for (let left = 100; !(await this.#starts(records)); left--) {
      if (left === 0) throw new Error('dnsmasq does not start again')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  async #starts(records: readonly string[]): Promise<boolean> {
    const fixed = ['--no-daemon', '--no-resolv', '--no-hosts', '--conf-file=/dev/null', '--user=']
    const where = ['--listen-address=127.0.0.1', '--bind-interfaces', `--port=${this.port}`, '--local=/test/']
    const child = spawn('dnsmasq', [...fixed, ...where, ...records], { stdio: 'ignore' })
    this.#process = child
    const resolver = new Resolver({ timeout: 100, tries: 1 })
    resolver.setServers([`127.0.0.1:${this.port}`])
    while (child.exitCode === null) {
      const answered = await resolver.resolve4('nobody.test').catch((error) => error.code === 'ENOTFOUND')
      if (answered) return true
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    return false
  }

  async stop(): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
}

function follow(t: Test, server: Dnsmasq, options: Partial<DnsOptions>, speed = 1): SourceHarness {
  const harness = new SourceHarness(fasterClock(speed))
  const servers = [`127.0.0.1:${server.port}`]
  harness.run(
    t,
    new DnsDiscovery(
      { name: 'workers.test', servers, ...options },
      harness.context,
      new Resolver({ timeout: 200, tries: 1 }),
    ),
  )
  return harness
}

t.test(
  'the addresses of a name are members, both families, and a change is seen when the TTL is over',
  real,
  async (t) => {
    const server = await Dnsmasq.start(t, [
      '--host-record=workers.test,10.0.0.1,fd00::1,1',
      '--address=/workers.test/10.0.0.2',
    ])
    const harness = follow(t, server, { port: 9000, pool: 'p', weight: 2 })
    const members = await harness.untilLinks('tcp://10.0.0.1:9000', 'tcp://[fd00::1]:9000')
    t.same(members[0], { link: 'tcp://10.0.0.1:9000', pool: 'p', weight: 2 })
    await server.stop()
    await server.start(['--host-record=workers.test,10.0.0.3,1'])
    await harness.untilLinks('tcp://10.0.0.3:9000')
  },
)

t.test('SRV records are members with port, priority and weight, at the addresses of their targets', real, async (t) => {
  const server = await Dnsmasq.start(t, [
    '--host-record=a.test,10.0.0.1,60',
    '--host-record=b.test,10.0.0.2,60',
    '--srv-host=_sluice._tcp.workers.test,a.test,9001,0,3',
    '--srv-host=_sluice._tcp.workers.test,b.test,9002,0,1',
    '--srv-host=_sluice._tcp.workers.test,b.test,9003,10,0',
    '--srv-host=_sluice._tcp.workers.test,gone.test,9004,0,1',
  ])
  const harness = follow(t, server, { name: '_sluice._tcp.workers.test', tls: true })
  const members = await harness.untilLinks('tls://10.0.0.1:9001', 'tls://10.0.0.2:9002', 'tls://10.0.0.2:9003')
  t.same(
    members.map(({ priority, weight }) => [priority, weight]),
    [
      [0, 3],
      [0, 1],
      [10, 0],
    ],
  )
})

t.test('a server that is away leaves the list as it is; a name that is gone is an empty list', real, async (t) => {
  const server = await Dnsmasq.start(t, ['--host-record=workers.test,10.0.0.1,1'])
  const harness = follow(t, server, { port: 1 }, 20)
  await harness.untilLinks('tcp://10.0.0.1:1')
  await server.stop()
  await harness.untilLogged(/no usable answer; the workers known from it stay/)
  t.same(harness.links, ['tcp://10.0.0.1:1'])
  await server.start([])
  await harness.untilLinks()
  await harness.untilLogged(/answers again/)
  t.equal(harness.warnings.length, 1)
})

t.test('SRV weights are scaled to those of workers, all 0 is all alike, and "." is nobody', real, async (t) => {
  const srv = (service: string, ...records: string[]): string[] =>
    records.map((one) => `--srv-host=${service}.test,${one}`)
  const server = await Dnsmasq.start(t, [
    '--host-record=h.test,10.0.0.1,60',
    ...srv('_heavy._tcp', 'h.test,1,0,65535', 'h.test,2,0,13107', 'h.test,3,0,0'),
    ...srv('_even._tcp', 'h.test,1,0,0', 'h.test,2,0,0'),
    '--srv-host=_none._tcp.test',
  ])
  const weights = async (service: string): Promise<(number | undefined)[] | undefined> => {
    const harness = follow(t, server, { name: `${service}.test` })
    await harness.until(
      () => harness.lists.length > 0,
      () => 'a list',
    )
    return harness.lists[0]?.map(({ weight }) => weight)
  }
  t.same(await weights('_heavy._tcp'), [1000, 200, 0])
  t.same(await weights('_even._tcp'), [1, 1])
  t.same(await weights('_none._tcp'), [])
})

t.test(
  'SRV records that change are seen when their own TTL is over, however long that of the targets is',
  real,
  async (t) => {
    const records = (port: number): string[] => [
      '--host-record=h.test,10.0.0.1,86400',
      `--srv-host=_sluice._tcp.test,h.test,${port}`,
      '--local-ttl=1',
    ]
    const server = await Dnsmasq.start(t, records(1))
    const harness = follow(t, server, { name: '_sluice._tcp.test' })
    await harness.untilLinks('tcp://10.0.0.1:1')
    await server.stop()
    await server.start(records(2))
    await harness.untilLinks('tcp://10.0.0.1:2')
  },
)

interface Answers {
  a?: { address: string; ttl: number }[]
  fails?: string
}

/** Answers from an object. */
function byHand(answers: Answers): DnsResolver {
  const given = async <T>(records: T[] | undefined): Promise<T[]> => {
    const code = answers.fails ?? (records === undefined ? 'ENODATA' : undefined)
    if (code !== undefined) throw Object.assign(new Error(`query ${code}`), { code })
    return records ?? []
  }
  return {
    setServers: () => {},
    getServers: () => [],
    cancel: () => {},
    resolve4: (async () => given(answers.a)) as unknown as DnsResolver['resolve4'],
    resolve6: (async () => given(undefined)) as unknown as DnsResolver['resolve6'],
  }
}

/** Asks once: what it waits for then, and what it listed. */
async function ask(t: Test, answers: Answers): Promise<{ waits: number[]; harness: SourceHarness }> {
  const waits: number[] = []
  const harness = new SourceHarness({
    now: () => 0,
    wall: () => 0,
    after: (ms) => {
      waits.push(ms)
      return () => {}
    },
  })
  harness.run(t, new DnsDiscovery({ name: 'x', port: 1 }, harness.context, byHand(answers)))
  await harness.until(
    () => waits.length > 0,
    () => 'the next question',
  )
  return { waits, harness }
}

t.test('the next question is asked when the shortest TTL is over, within bounds', async (t) => {
  const cases: [number[], number][] = [
    [[30, 7, 60], 7000],
    [[0], 1000],
    [[86_400], 300_000],
    [[], 5000],
  ]
  for (const [ttls, expected] of cases) {
    const a = ttls.map((ttl, i) => ({ address: `10.0.0.${i}`, ttl }))
    t.same((await ask(t, { a })).waits, [expected])
  }
})

t.test('a server failure is no answer', async (t) => {
  for (const code of ['ESERVFAIL', 'ETIMEOUT', 'EREFUSED', 'EBADRESP', 'ECONNREFUSED']) {
    const { harness } = await ask(t, { fails: code })
    t.equal(harness.lists.length, 0, code)
    t.equal(harness.warnings.length, 1)
  }
})
