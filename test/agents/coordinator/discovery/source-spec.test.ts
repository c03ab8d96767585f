import fc from 'fast-check'
import t from 'tap'
import type { DiscoveredMember } from '../../../../agents/coordinator/discovery/discovery.js'
import { createSource } from '../../../../agents/coordinator/discovery/source-spec.js'
import { SluiceError } from '../../../../proto/errors.js'
import { SourceHarness } from './source-harness.js'

const { context } = new SourceHarness()

t.test('a static list is what was written', async (t) => {
  let members: readonly DiscoveredMember[] = []
  createSource('static:tcp://10.0.0.5:9000?pool=a&weight=2, unix:/run/w.sock ,tls://[::1]:1?priority=3', context).start(
    (list) => {
      members = list
    },
  )
  t.same(members, [
    { link: 'tcp://10.0.0.5:9000', pool: 'a', weight: 2 },
    { link: 'unix:/run/w.sock' },
    { link: 'tls://[::1]:1', priority: 3 },
  ])
})

t.test('each kind is named after what it follows, without secrets', async (t) => {
  const names = [
    'dns:workers.example:9000?pool=p&weight=2&server=127.0.0.1:5353&tls=true',
    'srv:_sluice._tcp.workers.example?server=[::1]:53',
    'consul:http://127.0.0.1:8500/telemetry?dc=dc1&tag=v2',
    'consul:https://proxy.example/consul/tele%20metry',
    'etcd:http://10.0.0.1:2379,http://10.0.0.2:2379/sluice/workers/?pool=p',
  ].map((text) => createSource(text, context, { consulToken: 'secret', etcdUser: 'root:secret' }).name)
  t.same(names, [
    'dns:workers.example',
    'srv:_sluice._tcp.workers.example',
    'consul:telemetry',
    'consul:tele metry',
    'etcd:/sluice/workers/',
  ])
})

t.test('a text that is wrong says what is wrong and how it should be', async (t) => {
  const cases: [string, RegExp][] = [
    ['', /has to begin with static:, dns:, srv:, consul: or etcd:/],
    ['tcp://10.0.0.5:9000', /has to begin with/],
    ['__proto__:x', /has to begin with/],
    ['static:', /nothing follows static:/],
    ['static:tcp://a:1,', /an entry: its link/],
    ['static:10.0.0.5:9000', /none of tcp:/],
    ['static:tcp://a:1?wieght=2', /there is no "wieght"; known here: pool, weight, priority/],
    ['static:tcp://a:1?weight=2000', /weight must be a number from 0 to 1000/],
    ['dns:name', /it is dns:NAME:PORT/],
    ['dns:name:70000', /its link/],
    ['dns:name:9000?weight=x', /weight is not a number/],
    ['dns:name:9000?server=resolver.example', /is not IP or IP:PORT/],
    ['dns:name:9000?tls=yes', /tls is true or false/],
    ['srv:a:1', /it is srv:/],
    ['srv:a?weight=1', /there is no "weight"/],
    ['consul:127.0.0.1:8500/x', /it is consul:http/],
    ['consul:http://127.0.0.1:8500/', /it is consul:http/],
    ['consul:http://u:p@127.0.0.1:8500/x', /it is consul:http/],
    ['etcd:http://127.0.0.1:2379', /it is etcd:http/],
    ['etcd:http://127.0.0.1:2379/', /it is etcd:http/],
    ['etcd:ftp://a,http://127.0.0.1:2379/x', /"ftp:\/\/a" is not http/],
  ]
  for (const [text, why] of cases) {
    t.throws(() => createSource(text, context), { code: 'bad_request', path: 'discover', message: why }, text)
  }
  t.throws(() => createSource('etcd:http://h:1/x', context, { etcdUser: 'root' }), { message: /not NAME:PASSWORD/ })
})

t.test('a password that somebody wrote into a URL is not repeated', async (t) => {
  try {
    createSource('consul:http://admin:hunter2@127.0.0.1:8500/x', context)
    t.fail('it was taken')
  } catch (error) {
    t.notMatch((error as Error).message, /hunter2/)
  }
})

t.test('any text makes a source or a SluiceError', async () => {
  const kind = fc.constantFrom(
    'static:',
    'dns:',
    'srv:',
    'consul:',
    'etcd:',
    'consul:http://h:1/',
    'etcd:http://h:1/',
    '',
  )
  fc.assert(
    fc.property(kind, fc.string({ unit: 'binary' }), (prefix, rest) => {
      try {
        return createSource(prefix + rest, context).name.length > 0
      } catch (error) {
        return error instanceof SluiceError
      }
    }),
    { numRuns: 500 },
  )
})
