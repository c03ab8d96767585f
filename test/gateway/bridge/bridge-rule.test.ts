import t from 'tap'
import { type BridgeOptions, checkBridges } from '../../../gateway/bridge/bridge-options.js'
import { BridgeRule } from '../../../gateway/bridge/bridge-rule.js'
import { runnerOf } from '../../../gateway/bridge/bridge-set.js'
import { EchoMemory } from '../../../gateway/bridge/echo-memory.js'
import { EMPTY_TABLE, type GatewayEntry } from '../../../proto/table.js'

t.test('a rule renames by its prefixes, and only what it matches in its direction', async (t) => {
  const both = new BridgeRule({ topic: 'a/#', localPrefix: 'l/', remotePrefix: 'r/x/' })
  t.equal(both.outwardTopic('l/a/b'), 'r/x/a/b')
  t.equal(both.inwardTopic('r/x/a'), 'l/a')
  t.equal(both.outwardTopic('r/x/a/b'), undefined)
  const out = new BridgeRule({ topic: '#', direction: 'out', localPrefix: 'l/' })
  t.equal(out.outwardTopic('l/q'), 'q')
  t.equal(out.outwardTopic('l'), undefined, 'l/# matches l, which has no name without the prefix')
  t.equal(out.inwardTopic('q'), undefined)
})

t.test('mistakes are named with their path', async (t) => {
  const good: BridgeOptions = { name: 'a', url: 'mqtt://h', rules: [{ topic: 'x' }] }
  const wrong: [Partial<BridgeOptions>, string][] = [
    [{ name: 'a b' }, 'bridges[0].name'],
    [{ url: 'http://h' }, 'bridges[0].url'],
    [{ rules: [] }, 'bridges[0].rules'],
    [{ rules: [{ topic: 'a#' }] }, 'bridges[0].rules[0].topic'],
    [{ rules: [{ topic: '#', localPrefix: 'a' }] }, 'bridges[0].rules[0].localPrefix'],
    [{ rules: [{ topic: 'x', remotePrefix: '+/' }] }, 'bridges[0].rules[0].remotePrefix'],
    [{ rules: [{ topic: 'x', qos: 3 as 2 }] }, 'bridges[0].rules[0].qos'],
    [{ tls: { certFile: 'x' } }, 'bridges[0].tls'],
    [{ maxQueued: -1 }, 'bridges[0].maxQueued'],
  ]
  t.doesNotThrow(() => checkBridges([good]))
  for (const [part, path] of wrong)
    t.throws(() => checkBridges([{ ...good, ...part }]), { code: 'bad_request', path }, path)
  t.throws(() => checkBridges([good, good]), { code: 'bad_request', path: 'bridges[1].name' })
})

t.test('each message that was sent strikes off one echo, for a while', async (t) => {
  let now = 0
  const memory = new EchoMemory(() => now)
  const bytes = Buffer.from('x')
  memory.remember('a', bytes)
  memory.remember('a', bytes)
  t.notOk(memory.isEcho('b', bytes))
  t.same(
    [1, 2, 3].map(() => memory.isEcho('a', bytes)),
    [true, true, false],
  )
  memory.remember('a', bytes)
  now = 31_000
  t.notOk(memory.isEcho('a', bytes))
})

t.test('the gateway with the lowest id that is up runs the bridges', async (t) => {
  const gateway = (id: string, state: GatewayEntry['state']): [string, GatewayEntry] => [
    id,
    { id, region: '', http: '', ws: '', mqtt: '', state, capacity: 0 },
  ]
  const runs = (...gateways: [string, GatewayEntry][]) => runnerOf({ ...EMPTY_TABLE, gateways: new Map(gateways) })
  t.equal(runs(gateway('b', 'up'), gateway('a', 'up')), 'a')
  t.equal(runs(gateway('b', 'up'), gateway('a', 'draining')), 'b')
  t.equal(runs(gateway('b', 'draining'), gateway('a', 'draining')), 'a')
  t.equal(runs(), undefined)
})
