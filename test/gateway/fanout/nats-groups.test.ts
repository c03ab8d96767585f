import t from 'tap'
import { BEAT_MS, NatsGroups, SILENCE_MS } from '../../../gateway/fanout/nats-groups.js'
import { ManualClock } from '../../manual-clock.js'

/** Gateways on a medium that the test can make lossy. */
class Medium {
  readonly clock = new ManualClock()
  readonly groups = new Map<string, NatsGroups>()
  readonly known = new Map<string, Record<string, number>>()
  cut = false
  words = 0

  join(id: string): NatsGroups {
    const seen: Record<string, number> = {}
    this.known.set(id, seen)
    const handlers = {
      members: (gateway: string, filter: string, members: number) => {
        if (members === 0) delete seen[`${gateway} ${filter}`]
        else seen[`${gateway} ${filter}`] = members
      },
    }
    const groups = new NatsGroups({ id, clock: this.clock, handlers, tell: (news) => this.tell(id, news) })
    this.groups.set(id, groups)
    groups.connected()
    return groups
  }

  tell(from: string, news: Uint8Array): void {
    this.words++
    if (!this.cut) for (const [id, groups] of this.groups) if (id !== from) groups.heard(news)
  }
}

t.test('gateways learn of each other, of changes, and of what was there before', async (t) => {
  const medium = new Medium()
  const a = medium.join('a')
  a.change([['$share/g/x', 2]])
  const b = medium.join('b')
  t.same(medium.known.get('b'), { 'a $share/g/x': 2 })
  b.change([['$share/g/x', 1]])
  a.change([
    ['$share/g/x', 0],
    ['$share/h/y', 1],
  ])
  t.same(medium.known.get('b'), { 'a $share/h/y': 1 })
  t.same(medium.known.get('a'), { 'b $share/g/x': 1 })
  t.same([...a.neighbours], ['b'])
})

t.test('what was lost is asked for after the next beat, and then it is quiet', async (t) => {
  const medium = new Medium()
  const [a] = [medium.join('a'), medium.join('b')]
  const many = Array.from({ length: 9000 }, (_, i) => [`$share/g/${i}/long-enough-to-need-several-pieces`, 1] as const)
  medium.cut = true
  a.change(many)
  a.change([['$share/g/x', 1]])
  medium.cut = false
  a.change([['$share/g/y', 1]])
  t.equal(Object.keys(medium.known.get('b') ?? {}).length, 1)
  medium.clock.advance(BEAT_MS)
  t.equal(Object.keys(medium.known.get('b') ?? {}).length, 9002)
  const before = medium.words
  medium.clock.advance(BEAT_MS)
  t.equal(medium.words - before, 2, 'a beat each')
})

t.test('a gateway that is silent, or says goodbye, or loses NATS, has nobody', async (t) => {
  const medium = new Medium()
  const [a, b, c] = [medium.join('a'), medium.join('b'), medium.join('c')]
  for (const one of [a, b, c]) one.change([['$share/g/x', 1]])
  b.close()
  medium.groups.delete('b')
  t.same(medium.known.get('a'), { 'c $share/g/x': 1 })
  medium.cut = true
  for (let ms = 0; ms <= SILENCE_MS + BEAT_MS; ms += BEAT_MS) medium.clock.advance(BEAT_MS)
  t.same(medium.known.get('a'), {})
  medium.cut = false
  medium.clock.advance(BEAT_MS)
  t.same(medium.known.get('a'), { 'c $share/g/x': 1 })
  a.disconnected()
  t.same(medium.known.get('a'), {})
})

t.test('who speaks is told, and for how long it was away', async (t) => {
  const clock = new ManualClock()
  const said: Uint8Array[] = []
  const spoken: unknown[] = []
  const tell = (news: Uint8Array) => void said.push(news)
  const b = new NatsGroups({ id: 'b', clock, handlers: { members: () => {} }, tell })
  const a = new NatsGroups({
    ...{ id: 'a', clock, handlers: { members: () => {} }, tell: () => {} },
    spoke: (gateway, awayMs) => spoken.push([gateway, awayMs]),
    left: (gateway) => spoken.push([gateway, 'left']),
  })
  b.connected()
  b.connected(1234)
  b.close()
  for (const news of said) a.heard(news)
  t.same(spoken.slice(-2), [
    ['b', 1234],
    ['b', 'left'],
  ])
  t.same(
    spoken.slice(0, -2).filter((one) => (one as unknown[])[1] !== undefined),
    [],
  )
  t.same([...a.neighbours], [])
})
