import t from 'tap'
import { SharedGroup } from '../../../gateway/fanout/shared-group.js'
import { Target } from '../../../gateway/fanout/target.js'
import { TopicTree } from '../../../gateway/fanout/topic-tree.js'
import { options, Recorder } from './fixtures.js'

function groupOf(...members: Recorder[]): SharedGroup<Recorder> {
  const group = new SharedGroup<Recorder>('$share/g/f')
  for (const member of members) group.set(Target.of(member, options()))
  return group
}

function picks(group: SharedGroup<Recorder>, count: number): string[] {
  return Array.from({ length: count }, () => {
    const pick = group.pick()
    return pick === undefined ? '-' : typeof pick === 'string' ? pick : pick.subscriber.device
  })
}

t.test('members take turns', async (t) => {
  t.same(picks(groupOf(new Recorder('a'), new Recorder('b'), new Recorder('c')), 6), ['a', 'b', 'c', 'a', 'b', 'c'])
})

t.test('offline members are passed over while somebody is online, and serve when nobody is', async (t) => {
  const [a, b] = [new Recorder('a'), new Recorder('b')]
  const group = groupOf(a, b)
  a.available = false
  t.same(picks(group, 3), ['b', 'b', 'b'])
  b.available = false
  t.same(picks(group, 4).sort(), ['a', 'a', 'b', 'b'])
})

t.test('other gateways get their share by their members', async (t) => {
  const group = groupOf(new Recorder('a'), new Recorder('b'), new Recorder('c'))
  group.setRemote('G2', 2)
  group.setRemote('G3', 5)
  const all = picks(group, 100)
  t.equal(all.filter((name) => name === 'G2').length, 20)
  t.equal(all.filter((name) => name === 'G3').length, 50)
  t.equal(all.filter((name) => name === 'a').length, 10)
  group.setRemote('G3', 0)
  t.equal(picks(group, 100).filter((name) => name === 'G2').length, 40)
})

t.test('another gateway is preferred to members here that are all offline', async (t) => {
  const a = new Recorder('a')
  const group = groupOf(a)
  a.available = false
  group.setRemote('G2', 1)
  t.same(new Set(picks(group, 6)), new Set(['G2']))
})

t.test('a gateway without members of its own sends everything to those that have some', async (t) => {
  const tree = new TopicTree<Recorder>()
  tree.setRemoteMembers('G2', '$share/g/a/+', 2)
  t.same(
    tree.match('a/b').groups.map((group) => group.pick()),
    ['G2'],
  )
  tree.setRemoteMembers('G2', '$share/g/a/+', 0)
  t.same(tree.match('a/b').groups, [])
})

t.test('the tree keeps shared and plain subscriptions of one filter apart', async (t) => {
  const tree = new TopicTree<Recorder>()
  const a = new Recorder('a')
  t.equal(tree.subscribe(a, '$share/g/x', options()), false)
  t.equal(tree.subscribe(a, 'x', options()), false)
  t.equal(tree.subscribe(a, '$share/h/x', options()), false)
  t.equal(tree.subscribe(a, '$share/g/x', options({ qos: 1 })), true)
  t.equal(tree.match('x').direct.length, 1)
  t.equal(tree.match('x').groups.length, 2)
  t.equal(tree.countOf('$share/g/x'), 1)
  t.ok(tree.unsubscribe(a, '$share/g/x'))
  t.notOk(tree.unsubscribe(a, '$share/g/x'))
  t.equal(tree.match('x').groups.length, 1)
  tree.unsubscribe(a, 'x')
  tree.unsubscribe(a, '$share/h/x')
  t.same(tree.match('x'), { direct: [], rooms: [], groups: [] })
})
