/** A gateway with many devices is killed: all of them come to the other one, and it goes on serving the devices it had. */

import t from 'tap'
import { runStorm } from '../bench/storm/storm.js'

t.test('the devices of a killed gateway resume at the other one, whose own devices stay served', async (t) => {
  const result = await runStorm({ devices: 500 })
  t.equal(result.lost, 0, JSON.stringify(result))
  t.equal(result.resumed, 500, 'every session goes on')
  t.ok(result.during.count > 0, 'devices beside the storm had answers')
  t.ok(result.during.max < 2000, `no round trip beside it took ${result.during.max} ms`)
})

t.test('devices above the admission rate are told to come later, and all come back', async (t) => {
  const result = await runStorm({ devices: 300, rate: 200 })
  t.equal(result.lost, 0, JSON.stringify(result))
  t.ok(result.refused > 0)
  t.equal(result.resumed, 300)
})
