import { utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { callerAddress, trustedProxies } from '../../../gateway/geo/caller.js'
import { openPlaces } from '../../../gateway/geo/places.js'
import { tinyMmdb } from './tiny-mmdb.js'

const quiet = { now: () => 0, complain: () => {} }

t.test('an address is looked up in the database', async (t) => {
  const geoDatabase = join(t.testdir(), 'city.mmdb')
  writeFileSync(
    geoDatabase,
    tinyMmdb([
      ['192.0.2.0/24', 52.5, 13.4],
      ['198.51.100.0/25', -33.9, 151.2],
    ]),
  )
  const places = await openPlaces({ ...quiet, geoDatabase })
  t.same(places('192.0.2.77', undefined), { lat: 52.5, lon: 13.4 })
  t.same(places('::ffff:198.51.100.1', undefined), { lat: -33.9, lon: 151.2 })
  t.equal(places('198.51.100.200', undefined), undefined, 'the other half of the block')
  t.equal(places('2001:db8::1', undefined), undefined)
  t.equal(places('', undefined), undefined, 'a peer that is gone')
})

t.test('a database that changed is read again', async (t) => {
  const geoDatabase = join(t.testdir(), 'city.mmdb')
  writeFileSync(geoDatabase, tinyMmdb([['192.0.2.0/24', 1, 1]]))
  let now = 0
  const problems: string[] = []
  const places = await openPlaces({ geoDatabase, now: () => now, complain: (problem) => problems.push(problem) })
  const change = async (bytes: Buffer, until: () => boolean) => {
    writeFileSync(geoDatabase, bytes)
    utimesSync(geoDatabase, 1e9 + now, 1e9 + now)
    while (!until()) {
      now += 61_000
      places('192.0.2.1', undefined)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }
  await change(tinyMmdb([['192.0.2.0/24', 2, 2]]), () => places('192.0.2.1', undefined)?.lat === 2)
  await change(Buffer.from('no database'), () => problems.length > 0)
  t.match(problems[0], /--geo-database .*city.mmdb cannot be used/)
  t.same(places('192.0.2.1', undefined), { lat: 2, lon: 2 }, 'the last good one stays')
})

t.test('a database that is not there, or none, is refused at the start', async (t) => {
  const dir = t.testdir({ 'bad.mmdb': 'x' })
  for (const file of ['bad.mmdb', 'none.mmdb'])
    await t.rejects(openPlaces({ ...quiet, geoDatabase: join(dir, file) }), {
      code: 'bad_request',
      path: '--geo-database',
    })
})

t.test('X-Forwarded-For is believed from trusted proxies only, and only up to the first stranger', async (t) => {
  const proxies = trustedProxies(['10.0.0.0/8', 'fd00::/8', '192.0.2.7'])
  const from = (remote: string, forwarded?: string) => callerAddress(remote, forwarded, proxies)
  t.equal(from('203.0.113.5', '1.2.3.4'), '203.0.113.5', 'a stranger says what he likes')
  t.equal(from('10.1.1.1', '1.2.3.4'), '1.2.3.4')
  t.equal(from('::ffff:10.1.1.1', '1.2.3.4'), '1.2.3.4')
  t.equal(from('10.1.1.1', '6.6.6.6, 1.2.3.4, 10.2.2.2'), '1.2.3.4', 'a forged hop at the left is not reached')
  t.equal(from('192.0.2.7', '[2001:db8::9]:443'), '2001:db8::9')
  t.equal(from('192.0.2.8', '1.2.3.4'), '192.0.2.8')
  t.equal(from('fd00::1', '1.2.3.4:5678'), '1.2.3.4')
  t.equal(from('10.1.1.1', 'unknown'), '10.1.1.1')
  t.equal(from('10.1.1.1', '1.2.3.4, '), '10.1.1.1')
  t.equal(from('10.1.1.1'), '10.1.1.1')
  t.equal(from('', '1.2.3.4'), '')
})

t.test('a list of proxies with a mistake is refused', async (t) => {
  for (const entry of ['10.0.0.0/33', 'localhost', '10.0.0.0/8/8', '', '::/129', '10.0.0.0/-1', '10.0.0.0/'])
    t.throws(() => trustedProxies([entry]), { code: 'bad_request', path: '--trusted-proxy' }, entry)
})
