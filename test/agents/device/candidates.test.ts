import fc from 'fast-check'
import t from 'tap'
import { type Candidate, directCandidate, rank, readNearest, score } from '../../../agents/device/candidates.js'

const gateway = (id: string, rttMs: number, more: Partial<Candidate> = {}): Candidate & { rttMs: number } => ({
  ...{ id, ws: `ws://${id}/v1/connect`, http: undefined, draining: false, load: 0, rttMs },
  ...more,
})
const order = (list: readonly { id: string }[]): string => list.map(({ id }) => id).join(' ')

t.test('round trip decides, load stretches it, draining and full come last', async (t) => {
  t.equal(order(rank([gateway('far', 120), gateway('near', 5), gateway('middle', 40)], undefined)), 'near middle far')
  t.equal(order(rank([gateway('near', 5, { draining: true }), gateway('middle', 40)], undefined)), 'middle near')
  t.equal(order(rank([gateway('near', 5, { load: 1 }), gateway('middle', 40)], undefined)), 'middle near')
  t.equal(order(rank([gateway('near', 30, { load: 0.9 }), gateway('middle', 40)], undefined)), 'middle near')
  t.equal(order(rank([gateway('dead', Number.POSITIVE_INFINITY), gateway('slow', 900)], undefined)), 'slow dead')
  t.ok(score(10, 0.5, false) < 12, 'half full costs little')
})

t.test('the gateway in use is left only for a clearly better one', async (t) => {
  const current = gateway('current', 10)
  t.equal(order(rank([gateway('little better', 8.5), current], 'current')), 'current little better')
  t.equal(order(rank([gateway('better', 5), current], 'current')), 'better current')
  t.equal(order(rank([gateway('b', 0.5), gateway('current', 2)], 'current')), 'current b', 'under 3 ms is nothing')
  t.equal(order(rank([gateway('b', 11), gateway('current', 10, { draining: true })], 'current')), 'b current')
  t.equal(order(rank([gateway('b', 11), gateway('current', Number.POSITIVE_INFINITY)], 'current')), 'b current')
})

t.test('ranking keeps every candidate, once', async () => {
  const some = fc.array(
    fc.record({
      rtt: fc.double({ min: 0, max: 1e4, noNaN: true }),
      load: fc.double({ min: 0, max: 2, noNaN: true }),
      draining: fc.boolean(),
    }),
    { maxLength: 6 },
  )
  fc.assert(
    fc.property(some, fc.nat(7), (list, current) => {
      const measured = list.map(({ rtt, load, draining }, i) => gateway(`g${i}`, rtt, { load, draining }))
      const ids = rank(measured, `g${current}`).map(({ id }) => id)
      if (ids.length !== list.length || new Set(ids).size !== ids.length) throw new Error(ids.join())
    }),
  )
})

t.test('answers of /v1/nearest are read as they come, and nothing hostile gets through', async (t) => {
  const entry = {
    id: 'g',
    ws: 'ws://h:1/v1/connect',
    http: 'http://h:1/',
    mqtt: 'mqtt://h:2',
    state: 'draining',
    sessions: 5,
    capacity: 10,
  }
  const read = { id: 'g', ws: 'ws://h:1/v1/connect', http: 'http://h:1', mqtt: 'mqtt://h:2', draining: true, load: 0.5 }
  t.same(readNearest({ version: 3, gateways: [entry] }), [read])
  t.same(readNearest([entry]), [read])
  t.same(readNearest([{ ws: 'ws://h:1/x', capacity: 0, sessions: 9 }]), [
    { id: 'ws://h:1/x', ws: 'ws://h:1/x', http: undefined, draining: false, load: 0 },
  ])
  for (const body of [
    null,
    3,
    'x',
    {},
    { gateways: 'x' },
    [null, 3, {}, { ws: 3 }, { ws: 'javascript:1' }, { ws: 'ws://' }],
  ]) {
    t.same(readNearest(body), [])
  }
})

t.test('a gateway URL of the user gets the path that it leaves out', async (t) => {
  t.equal(directCandidate('ws://h:8080').ws, 'ws://h:8080/v1/connect')
  t.equal(directCandidate('wss://h/behind/a/proxy').ws, 'wss://h/behind/a/proxy')
})
