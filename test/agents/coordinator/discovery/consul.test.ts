/** Against a small server that answers `/v1/health/service/NAME` as Consul documents it. */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { ConsulDiscovery, type ConsulOptions } from '../../../../agents/coordinator/discovery/consul.js'
import { fasterClock, SourceHarness } from './source-harness.js'

type Answer = (request: IncomingMessage, response: ServerResponse) => void

/** One service with an index; a question with the present index waits until it changes, or its time is over. */
class FakeConsul {
  readonly questions: { path: string; query: URLSearchParams; token: string | undefined; at: number }[] = []
  instances: unknown = []
  index: string | undefined = '10'
  /** Answers instead, while it is set. */
  override: Answer | undefined
  readonly #server = createServer((request, response) => this.#onQuestion(request, response))
  readonly #waiting = new Set<() => void>()

  static async start(t: Test): Promise<FakeConsul> {
    const consul = new FakeConsul()
    consul.#server.listen(0, '127.0.0.1')
    await once(consul.#server, 'listening')
    t.teardown(() => {
      consul.#server.close()
      consul.#server.closeAllConnections()
    })
    return consul
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get waiting(): number {
    return this.#waiting.size
  }

  change(instances: unknown, index: string | undefined): void {
    this.instances = instances
    this.index = index
    this.wake()
  }

  wake(): void {
    for (const wake of [...this.#waiting]) wake()
  }

  #onQuestion(request: IncomingMessage, response: ServerResponse): void {
    const { pathname, searchParams: query } = new URL(request.url ?? '', 'http://consul')
    const token = request.headers['x-consul-token']
    this.questions.push({ path: pathname, query, token: token?.toString(), at: performance.now() })
    if (this.override !== undefined) this.override(request, response)
    else if (query.get('index') === this.index) this.#later(query.get('wait') ?? '', response)
    else this.#answer(response)
  }

  #later(wait: string, response: ServerResponse): void {
    const answer = (): void => {
      clearTimeout(timer)
      this.#waiting.delete(answer)
      if (this.override !== undefined) response.destroy()
      else this.#answer(response)
    }
    const timer = setTimeout(answer, Number.parseInt(wait, 10))
    this.#waiting.add(answer)
    response.on('close', () => {
      clearTimeout(timer)
      this.#waiting.delete(answer)
    })
  }

  #answer(response: ServerResponse): void {
    response.setHeader('content-type', 'application/json')
    if (this.index !== undefined) response.setHeader('x-consul-index', this.index)
    response.end(JSON.stringify(this.instances))
  }
}

const instance = (id: string, port: number, meta: Record<string, string> = {}, more: object = {}) => ({
  Node: { Node: 'n1', Address: '10.0.0.1' },
  Service: {
    ID: id,
    Service: 'telemetry',
    Address: '',
    Port: port,
    Meta: meta,
    Weights: { Passing: 1, Warning: 1 },
    ...more,
  },
  Checks: [],
})

async function start(t: Test, options: Partial<ConsulOptions> = {}, speed = 1) {
  const consul = await FakeConsul.start(t)
  const harness = new SourceHarness(fasterClock(speed))
  const source = new ConsulDiscovery({ url: consul.url, service: 'telemetry', ...options }, harness.context)
  const follow = (): void => harness.run(t, source)
  const untilWaiting = (): Promise<void> =>
    harness.until(
      () => consul.waiting === 1,
      () => 'a blocking query',
    )
  return { consul, harness, source, follow, untilWaiting }
}

t.test(
  'instances are members: address and port, metadata before weights, the node for an address that is empty',
  async (t) => {
    const { consul, harness, follow } = await start(t, { pool: 'fallback' })
    consul.instances = [
      instance('a', 9000, { pool: 'p1', weight: '2' }, { Address: '10.0.0.7' }),
      instance('b', 9000, {}, { Weights: { Passing: 5000, Warning: 1 } }),
      instance('c', 9001, { link: 'tls://c.example:9443', priority: '1' }, { Weights: null, Address: 'fd00::1' }),
      instance('d', 9002, {}, { Address: 'fd00::2', Meta: null }),
    ]
    follow()
    await harness.until(
      () => harness.lists.length > 0,
      () => 'a list',
    )
    t.same(harness.lists[0], [
      { link: 'tcp://10.0.0.1:9000', pool: 'fallback', weight: 1000 },
      { link: 'tcp://10.0.0.7:9000', pool: 'p1', weight: 2 },
      { link: 'tcp://[fd00::2]:9002', pool: 'fallback', weight: 1 },
      { link: 'tls://c.example:9443', pool: 'fallback', priority: 1 },
    ])
    t.same(harness.warnings, [])
  },
)

t.test(
  'only passing instances are asked for, with datacenter, tag and token; the second question blocks',
  async (t) => {
    const { consul, follow, untilWaiting } = await start(t, {
      datacenter: 'dc 2',
      tag: 'v2',
      token: 's3cret',
      waitMs: 4000,
    })
    consul.instances = [instance('a', 1)]
    follow()
    await untilWaiting()
    const [first, second] = consul.questions
    t.equal(first?.path, '/v1/health/service/telemetry')
    t.same(Object.fromEntries(first?.query ?? []), { passing: '1', dc: 'dc 2', tag: 'v2' })
    t.equal(first?.token, 's3cret')
    t.match(Object.fromEntries(second?.query ?? []), { index: '10', wait: '4000ms' })
  },
)

t.test('a change is known as soon as Consul answers, and an answer without one is no news', async (t) => {
  const { consul, harness, follow, untilWaiting } = await start(t)
  consul.instances = [instance('a', 1)]
  follow()
  await untilWaiting()
  consul.change([instance('a', 1), instance('b', 2)], '11')
  await harness.untilLinks('tcp://10.0.0.1:1', 'tcp://10.0.0.1:2')
  await untilWaiting()
  consul.change([instance('b', 2), instance('a', 1)], '12')
  await harness.until(
    () => consul.questions.at(-1)?.query.get('index') === '12',
    () => 'a question with index 12',
  )
  t.equal(harness.lists.length, 2)
})

t.test('an index that goes backwards, is 0, is missing or is no number is begun anew', async (t) => {
  for (const index of ['3', '0', undefined, 'soon', '-5']) {
    const { consul, harness, follow, untilWaiting } = await start(t, {}, 20)
    consul.instances = [instance('a', 1)]
    follow()
    await untilWaiting()
    consul.change([instance('a', 2)], index)
    await harness.untilLinks('tcp://10.0.0.1:2')
    const asked = consul.questions.length
    await harness.until(
      () => consul.questions.length > asked,
      () => `a question after index ${index}`,
    )
    t.equal(consul.questions[asked]?.query.get('index'), null, `after ${index}`)
    // And it goes on from there.
    consul.change([instance('a', 3)], '40')
    await harness.untilLinks('tcp://10.0.0.1:3')
    await untilWaiting()
    t.equal(consul.questions.at(-1)?.query.get('index'), '40')
  }
})

t.test(
  'a server that answers at once all the time is asked once a second, one with news all the time ten times',
  async (t) => {
    const { consul, harness, follow } = await start(t, {}, 10)
    consul.override = (_request, response) => {
      response.setHeader('x-consul-index', consul.index ?? '')
      response.end('[]')
    }
    follow()
    await harness.until(
      () => consul.questions.length >= 4,
      () => 'four questions',
    )
    // The clock is ten times as fast: a second is 100 ms, and 100 ms are 10.
    const gaps = (): number[] => consul.questions.slice(1).map(({ at }, i) => at - (consul.questions[i]?.at ?? 0))
    // The first answer brought an index, which is news.
    t.ok(
      gaps()
        .slice(1, 3)
        .every((gap) => gap >= 80),
      `${gaps()}`,
    )
    let index = 100
    consul.override = (_request, response) => {
      response.setHeader('x-consul-index', String(index++))
      response.end('[]')
    }
    const before = consul.questions.length
    await harness.until(
      () => consul.questions.length >= before + 5,
      () => 'five questions',
    )
    t.ok(
      gaps()
        .slice(-3)
        .every((gap) => gap >= 7),
      `${gaps()}`,
    )
  },
)

t.test(
  'errors, garbage and silence leave the list as it is, are logged once, and end with a fresh question',
  async (t) => {
    const { consul, harness, follow, untilWaiting } = await start(t, { waitMs: 100 }, 100)
    consul.instances = [instance('a', 1)]
    follow()
    await harness.untilLinks('tcp://10.0.0.1:1')
    const troubles: [string, Answer][] = [
      ['a 500', (_, response) => response.writeHead(500).end('rpc error: No cluster leader')],
      ['a 403', (_, response) => response.writeHead(403).end('Permission denied')],
      ['garbage', (_, response) => response.setHeader('x-consul-index', '11').end('<html>')],
      ['another shape', (_, response) => response.setHeader('x-consul-index', '11').end('{"a":1}')],
      ['a redirect', (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()],
      [
        'an end in the middle',
        (_, response) => void response.setHeader('content-length', '99').write('[', () => response.destroy()),
      ],
      ['silence', () => {}],
    ]
    for (const [name, answer] of troubles) {
      const warned = harness.warnings.length
      consul.override = answer
      consul.wake()
      await harness.until(
        () => harness.warnings.length > warned,
        () => `a warning about ${name}`,
      )
      const asked = consul.questions.length
      await harness.until(
        () => consul.questions.length > asked + 1,
        () => `two more questions after ${name}`,
      )
      t.equal(harness.warnings.length, warned + 1, `${name} is logged once`)
      t.equal(consul.questions.at(-1)?.query.get('index'), null)
      consul.override = undefined
      await untilWaiting()
      await harness.untilLogged(/answers again/)
    }
    t.equal(harness.lists.length, 1)
    t.match(harness.logged.find(({ level }) => level === 'warn')?.fields, {
      reason: /500: rpc error: No cluster leader/,
    })
    consul.change([], '50')
    await harness.untilLinks()
  },
)

t.test('instances that cannot be used are left out, and named once', async (t) => {
  const { consul, harness, follow, untilWaiting } = await start(t)
  const bad = [
    null,
    7,
    {},
    { Service: null },
    instance('zero', 0),
    instance('heavy', 1, { weight: 'lots' }),
    instance('odd', 1, {}, { Meta: [] }),
  ]
  consul.instances = [...bad, instance('a', 1)]
  follow()
  await harness.untilLinks('tcp://10.0.0.1:1')
  t.equal(harness.warnings.length, 1)
  t.match(harness.logged.find(({ level }) => level === 'warn')?.fields, { count: bad.length })
  await untilWaiting()
  consul.change([...bad, instance('a', 1)], '11')
  await harness.until(
    () => consul.questions.at(-1)?.query.get('index') === '11',
    () => 'the next question',
  )
  t.equal(harness.warnings.length, 1)
})

t.test('closing ends a question that blocks', async (t) => {
  const { consul, harness, source, follow, untilWaiting } = await start(t)
  follow()
  await untilWaiting()
  await source.close()
  consul.change([instance('a', 1)], '11')
  await harness.until(
    () => consul.waiting === 0,
    () => 'the end of the question',
  )
  t.equal(harness.lists.length, 1)
})
