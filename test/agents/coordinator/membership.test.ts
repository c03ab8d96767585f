import fc from 'fast-check'
import t from 'tap'
import { MEMBERSHIP_TIMES, Membership, type Transition } from '../../../agents/coordinator/membership.js'

const { silentMs, suspectMs, closedMs, restoredMs, flapHoldMs } = MEMBERSHIP_TIMES

const states = (transitions: readonly Transition[]): string[] => transitions.map(({ id, to }) => `${id} ${to}`)

/** A member that registered at 0 and was seen up. */
function withMember(): Membership {
  const membership = new Membership()
  membership.register('w', true, 0)
  membership.poll(0)
  return membership
}

t.test('a member that registers is up, and stays so while it is heard', async (t) => {
  const membership = new Membership()
  membership.register('w', true, 0)
  t.same(states(membership.poll(0)), ['w up'])
  for (let now = 500; now < 60_000; now += 500) {
    membership.heard('w', now)
    t.same(membership.poll(now + 400), [])
  }
  t.equal(membership.upSince('w'), 0)
})

t.test('silence makes it suspect, then gone, and a heartbeat brings it back', async (t) => {
  const membership = withMember()
  t.same(membership.poll(suspectMs - 1), [])
  t.same(states(membership.poll(suspectMs)), ['w suspect'])
  t.same(states(membership.poll(silentMs)), ['w gone'])
  membership.heard('w', 9000)
  t.same(states(membership.poll(9000)), ['w up'])
  t.equal(membership.upSince('w'), 9000)
})

t.test('a slow member whose links answer stays, however long its heartbeats are away', async (t) => {
  const membership = withMember()
  membership.link('g', 'w', true, 0)
  for (let now = 500; now <= 60_000; now += 500) {
    membership.witnessHeard('g', now)
    membership.poll(now)
    t.not(membership.stateOf('w'), 'gone')
  }
  membership.link('g', 'w', false, 60_100)
  t.same(states(membership.poll(60_100)), ['w gone'], 'the moment the last witness is lost')
})

t.test('the word of a gateway that is silent itself does not count', async (t) => {
  const membership = withMember()
  membership.link('g', 'w', true, 0)
  t.same(states(membership.poll(silentMs)), ['w gone'])
})

t.test('a closed control connection and broken links mean gone at once, in either order', async (t) => {
  for (const order of ['close first', 'links first']) {
    const membership = withMember()
    for (const gateway of ['g', 'h']) membership.link(gateway, 'w', true, 100)
    const breakLinks = (): void => {
      membership.link('g', 'w', false, 201)
      t.not(
        membership.poll(201).some(({ to }) => to === 'gone'),
        'one link still answers',
      )
      membership.link('h', 'w', false, 202)
    }
    if (order === 'links first') breakLinks()
    membership.closed('w', false, 202)
    if (order === 'close first') breakLinks()
    t.match(membership.poll(203).at(-1), { to: 'gone' }, order)
    t.equal(membership.stateOf('w'), undefined, 'and forgotten')
  }
})

t.test('a closed connection alone is given a moment to come back', async (t) => {
  const membership = withMember()
  membership.closed('w', false, 100)
  t.same(states(membership.poll(101)), ['w suspect'])
  membership.register('w', false, 300)
  t.same(states(membership.poll(300)), ['w up'])
  membership.closed('w', false, 400)
  membership.poll(401)
  t.same(states(membership.poll(400 + closedMs)), ['w gone'])
})

t.test('a member that said it leaves is gone at once and is not held against it', async (t) => {
  const membership = withMember()
  for (let round = 0; round < 5; round++) {
    const now = 100 * (round + 1)
    membership.closed('w', true, now)
    t.same(states(membership.poll(now)), ['w gone'])
    membership.register('w', true, now + 50)
    t.same(states(membership.poll(now + 50)), ['w up'])
  }
})

t.test('one that comes and goes is kept out, longer each time; a first loss is forgiven', async (t) => {
  const membership = withMember()
  let now = 0
  const lose = (): void => {
    now += 10
    membership.closed('w', false, now)
    now += closedMs
    membership.poll(now)
    membership.register('w', true, ++now)
    membership.poll(now)
  }
  lose()
  t.equal(membership.stateOf('w'), 'up', 'once is forgiven')
  lose()
  t.equal(membership.stateOf('w'), 'held')
  now += flapHoldMs
  membership.heard('w', now)
  t.same(states(membership.poll(now)), ['w up'])
  lose()
  now += flapHoldMs
  membership.heard('w', now)
  t.same(membership.poll(now), [], 'twice as long the next time')
  now += flapHoldMs
  membership.heard('w', now)
  t.same(states(membership.poll(now)), ['w up'])
})

t.test('members from disk have a while to come back', async (t) => {
  const membership = new Membership()
  membership.restore('a', 0)
  membership.restore('b', 0)
  t.ok(membership.restoring)
  membership.register('a', false, 1000)
  t.same(states(membership.poll(1000)), ['a up'])
  membership.heard('a', restoredMs - 100)
  t.same(membership.poll(restoredMs - 1), [])
  t.same(states(membership.poll(restoredMs)), ['b gone'])
  t.notOk(membership.restoring)
})

t.test('a standstill of the coordinator is nobody’s silence', async (t) => {
  const membership = withMember()
  membership.stalled(10_000)
  t.same(membership.poll(10_100), [])
  t.same(states(membership.poll(10_000 + silentMs)), ['w gone'])
})

t.test(
  'whatever happens, a member without any witness is gone within 3 s, and one with a fresh heartbeat never is',
  async () => {
    const step = fc.record({
      wait: fc.integer({ min: 0, max: 900 }),
      what: fc.constantFrom('register', 'restart', 'heard', 'close', 'leave', 'up', 'down', 'witness', 'forget'),
      gateway: fc.constantFrom('g', 'h'),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const membership = new Membership()
        let now = 0
        let heardAt = -Infinity
        let witnessAt = -Infinity
        let connected = false
        for (const { wait, what, gateway } of steps) {
          now += wait
          if (what === 'register' || what === 'restart') membership.register('w', what === 'restart', now)
          if (what === 'heard' && connected) membership.heard('w', now)
          if (what === 'close' || what === 'leave') membership.closed('w', what === 'leave', now)
          if (what === 'up' || what === 'down') membership.link(gateway, 'w', what === 'up', now)
          if (what === 'witness') membership.witnessHeard(gateway, now)
          if (what === 'forget') membership.forgetWitness(gateway)
          if (what === 'register' || what === 'restart') connected = true
          if (what === 'close' || what === 'leave') connected = false
          if (connected && ['register', 'restart', 'heard'].includes(what)) heardAt = now
          if (['up', 'down', 'witness'].includes(what)) witnessAt = now
          membership.poll(now)
          const state = membership.stateOf('w')
          const isIn = state === 'up' || state === 'suspect'
          if (isIn && now - Math.max(heardAt, witnessAt) > 3000) return false
          if (connected && now === heardAt && state === 'gone') return false
        }
        return true
      }),
      { numRuns: 2000 },
    )
  },
)
