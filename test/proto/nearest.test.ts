import fc from 'fast-check'
import t from 'tap'
import { distanceKm, nearestGateways, readNearestQuery } from '../../proto/nearest.js'
import type { GatewayEntry } from '../../proto/table.js'

const BERLIN = { lat: 52.52, lon: 13.405 }
const FRANKFURT = { lat: 50.11, lon: 8.682 }
const VIRGINIA = { lat: 38.95, lon: -77.45 }
const SYDNEY = { lat: -33.87, lon: 151.21 }

function gateway(id: string, change: Partial<GatewayEntry> = {}): GatewayEntry {
  const urls = { http: `http://${id}:80`, ws: `ws://${id}:80/v1/connect`, mqtt: '' }
  return { id, region: id.split('-')[0] ?? '', ...urls, state: 'up', capacity: 100, ...change }
}

const fleet = [
  gateway('us-1', { location: VIRGINIA }),
  gateway('eu-1', { location: FRANKFURT }),
  gateway('ap-1', { location: SYDNEY }),
]
const ids = (...args: Parameters<typeof nearestGateways>): string[] => nearestGateways(...args).map(({ id }) => id)
const empty = (): number => 0

t.test('distances are those of the globe', async (t) => {
  t.ok(Math.abs(distanceKm(BERLIN, FRANKFURT) - 424) < 5)
  t.ok(Math.abs(distanceKm(FRANKFURT, SYDNEY) - 16_480) < 60)
  t.ok(Math.abs(distanceKm({ lat: 0, lon: 179.5 }, { lat: 0, lon: -179.5 }) - 111.2) < 0.2, 'over the date line')
  t.equal(distanceKm(BERLIN, BERLIN), 0)
})

t.test('the nearest comes first', async (t) => {
  t.same(ids(fleet, { at: BERLIN, limit: 10 }, empty), ['eu-1', 'us-1', 'ap-1'])
  t.same(ids(fleet, { at: SYDNEY, limit: 1 }, empty), ['ap-1'])
  t.match(nearestGateways(fleet, { at: FRANKFURT, limit: 1 }, empty), [{ id: 'eu-1', distanceKm: 0, sessions: 0 }])
})

t.test('full gateways come behind those with room, draining ones last', async (t) => {
  const sessions = (id: string): number => (id === 'eu-1' ? 100 : 0)
  t.same(ids(fleet, { at: BERLIN, limit: 10 }, sessions), ['us-1', 'ap-1', 'eu-1'])
  const draining = [...fleet, gateway('eu-2', { location: BERLIN, state: 'draining' })]
  t.same(ids(draining, { at: BERLIN, limit: 10 }, sessions).at(-1), 'eu-2')
})

t.test('of two in one town the emptier one comes first', async (t) => {
  const pair = [gateway('a', { location: BERLIN }), gateway('b', { location: BERLIN })]
  t.same(
    ids(pair, { at: FRANKFURT, limit: 2 }, (id) => (id === 'a' ? 60 : 10)),
    ['b', 'a'],
  )
})

t.test('without a place, the region decides, then the load', async (t) => {
  t.same(
    ids(fleet, { region: 'ap', limit: 2 }, (id) => (id === 'eu-1' ? 5 : 9)),
    ['ap-1', 'eu-1'],
  )
  t.same(ids(fleet, { limit: 3 }, (id) => (id === 'us-1' ? 5 : 9))[0], 'us-1')
  const nowhere = [gateway('x'), gateway('eu-9', { location: FRANKFURT })]
  t.same(ids(nowhere, { at: SYDNEY, limit: 2 }, empty), ['eu-9', 'x'], 'a known distance goes before an unknown one')
})

t.test('a gateway can leave itself out', async (t) => {
  t.same(ids(fleet, { at: BERLIN, limit: 10, except: 'eu-1' }, empty), ['us-1', 'ap-1'])
})

t.test('the order does not depend on the order of the input', async () => {
  const all = [...fleet, gateway('eu-2', { location: FRANKFURT }), gateway('q')]
  const wanted = ids(all, { at: BERLIN, limit: 10 }, empty)
  fc.assert(
    fc.property(fc.shuffledSubarray(all, { minLength: all.length }), (shuffled) => {
      const found = ids(shuffled, { at: BERLIN, limit: 10 }, empty)
      return found.join() === wanted.join()
    }),
  )
})

t.test('query parameters are read with bounds, and the one at fault is named', async (t) => {
  const read = (text: string) => readNearestQuery(new URLSearchParams(text))
  t.same(read('lat=52.5&lon=13.4&limit=3&region=eu'), { at: { lat: 52.5, lon: 13.4 }, limit: 3, region: 'eu' })
  t.same(read(''), { limit: 10 })
  t.same(read('limit=5000'), { limit: 100 })
  t.match(read('lat=1'), { path: 'lon' })
  t.match(read('lat=91&lon=0'), { path: 'lat' })
  t.match(read('lat=0&lon=east'), { path: 'lon' })
  t.match(read('limit=0'), { path: 'limit' })
  t.match(read('limit=1.5'), { path: 'limit' })
})
