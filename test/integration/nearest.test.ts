/** Where a gateway takes its caller to be, through the whole product. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { tinyMmdb } from '../gateway/geo/tiny-mmdb.js'
import { startProduct } from './product.js'

t.test(
  'a configured database and proxy give callers without coordinates theirs, on gateways and coordinator',
  async (t) => {
    const dir = t.testdir()
    const [geoDatabase, config] = [join(dir, 'city.mmdb'), join(dir, 'fleet.json')]
    writeFileSync(geoDatabase, tinyMmdb([['192.0.2.0/24', 52.5, 13.4]]))
    const place = { geoDatabase, trustedProxy: '127.0.0.1,10.0.0.0/8' }
    writeFileSync(config, JSON.stringify({ coordinator: place, gateway: place }))
    const product = await startProduct('--config', config, '--workers', '0', '--gateways', '1')
    t.teardown(() => product.stop())
    for (const base of [product.coordinator, product.gateways[0]?.http as string]) {
      const answer = await fetch(new URL('/v1/nearest', base), {
        headers: { 'x-forwarded-for': '192.0.2.1, 10.1.1.1' },
      })
      t.equal(answer.headers.get('access-control-allow-origin'), '*')
      t.match(await answer.json(), { at: { lat: 52.5, lon: 13.4 }, gateways: [{ id: String }] }, base)
    }
  },
)
