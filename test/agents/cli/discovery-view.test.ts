import t from 'tap'
import { renderDiscovery } from '../../../agents/cli/discovery-view.js'

t.test('sources and workers are tables of 80 columns at most, and problems are told whole below them', async (t) => {
  const link = `tcp://${'very-long-name-'.repeat(8)}.example:9000`
  const problem = 'the HELLO names the pool "video", and no pool is called so in the routes that apply at the moment'
  const text = renderDiscovery(
    {
      sources: [
        { name: 'static', members: 2 },
        { name: 'srv:_sluice._tcp.workers.internal', problem: 'queryA ESERVFAIL' },
        { name: 'etcd:/sluice/' },
      ],
      workers: [
        { link: 'tcp://10.0.0.5:9000', id: 'worker-1', state: 'healthy' },
        { link, state: 'unhealthy', problem },
      ],
    },
    80,
  )
  const [sources, workers, problems] = text.split('\n\n')
  t.equal(
    sources,
    [
      'SOURCE                             LISTS  STATE',
      'static                                 2  answers',
      'srv:_sluice._tcp.workers.internal      -  away',
      'etcd:/sluice/                          -  not asked yet',
    ].join('\n'),
  )
  t.match(workers, /^LINK .*WORKER .*STATE\n.*worker-1 .*healthy\n.* - .*unhealthy$/)
  for (const line of `${sources}\n${workers}`.split('\n')) t.ok(line.length <= 80, line)
  t.equal(problems, `srv:_sluice._tcp.workers.internal: queryA ESERVFAIL\n${link}: ${problem}`)
})

t.test('what a source says cannot drive the terminal', async (t) => {
  const text = renderDiscovery({ sources: [{ name: 'static', problem: 'no\u001b[2Jway' }], workers: [] }, 80)
  t.notOk(text.includes('\u001b'))
})

t.test('a coordinator without sources says what that means', async (t) => {
  t.match(renderDiscovery({ sources: [], workers: [] }, 80), /they register themselves/)
})
