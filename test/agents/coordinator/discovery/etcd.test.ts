/** Against a real etcd, and against a small server for what a real one does not do on request. */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { EtcdDiscovery, type EtcdOptions } from '../../../../agents/coordinator/discovery/etcd.js'
import { b64, Etcd, hasEtcd } from './etcd-server.js'
import { fasterClock, SourceHarness } from './source-harness.js'

const real = { skip: hasEtcd ? false : 'etcd is not installed' }

function follow(t: Test, urls: readonly string[], options: Partial<EtcdOptions> = {}, speed = 1): SourceHarness {
  const harness = new SourceHarness(fasterClock(speed))
  harness.run(t, new EtcdDiscovery({ urls, prefix: '/workers/', ...options }, harness.context))
  return harness
}

t.test('keys under the prefix are members, and puts, deletes and leases that end are followed', real, async (t) => {
  const etcd = await Etcd.start(t)
  await etcd.put('/workers/a', '{"link":"tcp://10.0.0.1:1","pool":"p","weight":2}')
  await etcd.put('/workers0', '{"link":"tcp://10.0.0.9:9"}')
  await etcd.put('/worker', '{"link":"tcp://10.0.0.9:9"}')
  const harness = follow(t, [etcd.url], { pool: 'fallback' })
  t.same(await harness.untilLinks('tcp://10.0.0.1:1'), [{ link: 'tcp://10.0.0.1:1', pool: 'p', weight: 2 }])
  await etcd.put('/workers/b', '{"link":"tcp://10.0.0.2:2","extra":true}')
  const both = await harness.untilLinks('tcp://10.0.0.1:1', 'tcp://10.0.0.2:2')
  t.same(both[1], { link: 'tcp://10.0.0.2:2', pool: 'fallback' })
  await etcd.put('/workers/b', '{"link":"tcp://10.0.0.3:3"}')
  await harness.untilLinks('tcp://10.0.0.1:1', 'tcp://10.0.0.3:3')
  await etcd.delete('/workers/a')
  await harness.untilLinks('tcp://10.0.0.3:3')
  const { ID } = await etcd.call('/v3/lease/grant', { TTL: '60' })
  await etcd.put('/workers/c', '{"link":"tcp://10.0.0.4:4"}', { lease: ID })
  await harness.untilLinks('tcp://10.0.0.3:3', 'tcp://10.0.0.4:4')
  await etcd.call('/v3/lease/revoke', { ID })
  await harness.untilLinks('tcp://10.0.0.3:3')
  t.same(harness.warnings, [])
})

t.test('a value that is no worker is left out with a warning, and the others stay', real, async (t) => {
  const etcd = await Etcd.start(t)
  await etcd.put('/workers/a', '{"link":"tcp://10.0.0.1:1"}')
  await etcd.put('/workers/b', 'nonsense')
  const harness = follow(t, [etcd.url])
  await harness.untilLinks('tcp://10.0.0.1:1')
  const garbage = [
    '',
    '[]',
    'null',
    '{"link":5}',
    '{"link":"http://x"}',
    '{"link":"tcp://h:1","weight":-4}',
    '\u0000\ufffd',
  ]
  for (const [i, value] of garbage.entries()) await etcd.put(`/workers/x${i}`, value)
  await etcd.put('/workers/c', '{"link":"tcp://10.0.0.2:2"}')
  await harness.untilLinks('tcp://10.0.0.1:1', 'tcp://10.0.0.2:2')
  t.equal(harness.warnings.length, garbage.length + 1)
  t.match(harness.warnings[0], /key \/workers\/b is no worker and is left out: its value is not JSON/)
  await etcd.put('/workers/b', '{"link":"tcp://10.0.0.3:3"}')
  await harness.untilLinks('tcp://10.0.0.1:1', 'tcp://10.0.0.2:2', 'tcp://10.0.0.3:3')
})

t.test(
  'a server that is killed leaves the list as it is, and what changed meanwhile is seen when it is back',
  real,
  async (t) => {
    const etcd = await Etcd.start(t)
    await etcd.put('/workers/a', '{"link":"tcp://10.0.0.1:1"}')
    const harness = follow(t, [etcd.url], {}, 10)
    await harness.untilLinks('tcp://10.0.0.1:1')
    await etcd.stop()
    await harness.untilLogged(/no usable answer; the workers known from it stay/)
    t.same(harness.links, ['tcp://10.0.0.1:1'])
    await etcd.start()
    await etcd.put('/workers/b', '{"link":"tcp://10.0.0.2:2"}')
    await harness.untilLinks('tcp://10.0.0.1:1', 'tcp://10.0.0.2:2')
    t.equal(harness.lists.length, 2)
    t.same(harness.warnings.length, 1)
  },
)

t.test('a cluster that wants a user is logged in to, and a wrong password is said', real, async (t) => {
  const etcd = await Etcd.start(t)
  await etcd.put('/workers/a', '{"link":"tcp://10.0.0.1:1"}')
  await etcd.call('/v3/auth/user/add', { name: 'root', password: 'pass:word' })
  await etcd.call('/v3/auth/role/add', { name: 'root' })
  await etcd.call('/v3/auth/user/grant', { user: 'root', role: 'root' })
  await etcd.call('/v3/auth/enable', {})
  const harness = follow(t, [etcd.url], { user: 'root:pass:word' })
  await harness.untilLinks('tcp://10.0.0.1:1')
  const { token } = await etcd.call('/v3/auth/authenticate', { name: 'root', password: 'pass:word' })
  const body = { key: b64('/workers/b'), value: b64('{"link":"tcp://10.0.0.2:2"}') }
  await etcd.call('/v3/kv/put', body, String(token))
  await harness.untilLinks('tcp://10.0.0.1:1', 'tcp://10.0.0.2:2')
  const wrong = follow(t, [etcd.url], { user: 'root:nonsense' })
  await wrong.untilLogged(/no usable answer/)
  t.match(wrong.logged[0]?.fields, { reason: /authentication failed/ })
  t.notMatch(JSON.stringify(wrong.logged), /nonsense/)
})

/** Answers range and watch as a script says. */
class FakeGateway {
  readonly starts: string[] = []
  ranges = 0
  range: (response: ServerResponse) => void = (response) => void response.end('{"header":{"revision":"7"}}')
  watch: (response: ServerResponse) => void = () => {}
  readonly #server = createServer((request, response) => void this.#on(request, response))

  static async start(t: Test): Promise<FakeGateway> {
    const fake = new FakeGateway()
    fake.#server.listen(0, '127.0.0.1')
    await once(fake.#server, 'listening')
    t.teardown(() => {
      fake.#server.close()
      fake.#server.closeAllConnections()
    })
    return fake
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async #on(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = ''
    for await (const chunk of request) text += chunk
    if (request.url === '/v3/kv/range') {
      this.ranges++
      this.range(response)
      return
    }
    this.starts.push(JSON.parse(text).create_request.start_revision)
    response.write('{"result":{"header":{"revision":"7"},"created":true}}\n')
    this.watch(response)
  }
}

const member = (n: number): string => b64(JSON.stringify({ link: `tcp://10.0.0.${n}:1` }))

t.test(
  'a watch begins behind the revision that was read; one that was compacted away begins with reading',
  async (t) => {
    const fake = await FakeGateway.start(t)
    fake.watch = (response) => {
      fake.range = (later) =>
        void later.end(`{"header":{"revision":"90"},"kvs":[{"key":"YQ==","value":"${member(1)}"}]}`)
      fake.watch = () => {}
      response.write('{"result":{"header":{},"canceled":true,"compact_revision":"80"}}\n')
    }
    const harness = follow(t, [fake.url])
    await harness.untilLinks('tcp://10.0.0.1:1')
    await harness.until(
      () => fake.starts.length === 2,
      () => 'a second watch',
    )
    t.same(fake.starts, ['8', '91'])
    t.same(harness.warnings, [])
  },
)

t.test(
  'events that come in pieces, or many at once, are read; everything is read again when a watch is old',
  async (t) => {
    const fake = await FakeGateway.start(t)
    const put = (key: string, n: number): string =>
      `{"result":{"events":[{"kv":{"key":"${b64(key)}","value":"${member(n)}"}}]}}\n`
    fake.watch = (response) => {
      fake.watch = () => {}
      const text = `${put('a', 1) + put('b', 2)}{"result":{"events":[{"type":"DELETE","kv":{"key":"${b64('a')}"}}]}}\n`
      response.write(text.slice(0, 40))
      setTimeout(() => response.write(text.slice(40)), 20)
    }
    const harness = follow(t, [fake.url], { watchMs: 300 })
    await harness.untilLinks('tcp://10.0.0.2:1')
    await harness.untilLinks()
    t.ok(fake.ranges >= 2)
    t.same(harness.warnings, [])
  },
)

t.test('a server that answers nonsense is left for the next, and the list stays', async (t) => {
  const [broken, good] = [await FakeGateway.start(t), await FakeGateway.start(t)]
  good.range = (response) =>
    void response.end(`{"header":{"revision":"7"},"kvs":[{"key":"YQ==","value":"${member(1)}"}]}`)
  const answers = ['<html>', '{"header":{}}', '{"kvs":[]}', '{"header":{"revision":"7"},"kvs":{}}', '[]']
  for (const answer of answers) {
    broken.range = (response) => void response.end(answer)
    const harness = follow(t, [broken.url, good.url], {}, 50)
    await harness.untilLinks('tcp://10.0.0.1:1')
    t.equal(harness.warnings.length, 1, answer)
  }
})

t.test('a watch that breaks off, fails or sends nonsense is backed off from, and loses nothing', async (t) => {
  const fake = await FakeGateway.start(t)
  fake.range = (response) =>
    void response.end(`{"header":{"revision":"7"},"kvs":[{"key":"YQ==","value":"${member(1)}"}]}`)
  const harness = follow(t, [fake.url], {}, 50)
  const ends: ((response: ServerResponse) => void)[] = [
    (response) => response.destroy(),
    (response) => void response.end(),
    (response) => void response.write('{"error":{"grpc_code":14,"message":"etcdserver: no leader"}}\n'),
    (response) => void response.write('nonsense\n'),
    (response) => void response.write('{"result":{"canceled":true,"cancel_reason":"permission denied"}}\n'),
    (response) => void response.write('{"result":{"events":[{"kv":7}]}}\n'),
  ]
  for (const end of ends) {
    const asked = fake.starts.length
    fake.watch = end
    await harness.until(
      () => fake.starts.length >= asked + 2,
      () => 'two more watches',
    )
  }
  t.same(harness.links, ['tcp://10.0.0.1:1'])
  t.equal(harness.lists.length, 1)
})
