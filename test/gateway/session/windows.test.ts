import fc from 'fast-check'
import t from 'tap'
import { DownlinkWindow } from '../../../gateway/session/downlink-window.js'
import { UplinkWindow } from '../../../gateway/session/uplink-window.js'

const bytes = (n: number) => Uint8Array.of(n % 256)

t.test('the device is told the highest seq below which every worker is done', async (t) => {
  const window = new UplinkWindow(10)
  const [a, b] = [{}, {}]
  window.push(bytes(11), a, true)
  window.push(bytes(12), b, true)
  window.push(bytes(13), a, true)
  window.ack(a, 13)
  t.equal(window.acked, 11, '12 is still with b')
  window.ack(b, 12)
  t.equal(window.acked, 13)
  t.equal(window.size, 0)
  t.equal(window.bytes, 0)
})

t.test('a replay visits what was sent to this owner and is not done, in order', async (t) => {
  const window = new UplinkWindow(0)
  const [a, b] = [{}, {}]
  window.push(bytes(1), a, true)
  window.push(bytes(2), b, true)
  window.push(bytes(3), a, true)
  window.push(bytes(4), a, false)
  window.ack(a, 1)
  const seen: number[] = []
  window.replay(a, (frame) => seen.push(frame[0] as number))
  t.same(seen, [3], '1 is done, 2 is another one’s, 4 was never sent')
  window.markSent(4)
  window.replay(a, (frame) => seen.push(frame[0] as number))
  t.same(seen, [3, 3, 4])
})

t.test('what the edge works on itself holds the acknowledgement until it is done', async (t) => {
  const window = new UplinkWindow(0)
  const owner = {}
  window.reserve()
  window.push(bytes(2), owner, true)
  window.push(undefined, undefined, false)
  window.ack(owner, 2)
  t.equal(window.acked, 0)
  window.done(1)
  t.equal(window.acked, 3)
})

t.test('however acknowledgements come, acked never goes back and ends at the last seq', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 300 }),
      fc.array(fc.tuple(fc.integer({ min: 0, max: 2 }), fc.nat(300)), { maxLength: 60 }),
      (owners, acks) => {
        const who = [{}, {}, {}]
        const window = new UplinkWindow(0)
        for (const owner of owners) window.push(bytes(1), who[owner] as object, true)
        let last = 0
        for (const [owner, seq] of acks) {
          window.ack(who[owner] as object, seq)
          if (window.acked < last || window.acked > owners.length) return false
          last = window.acked
        }
        for (const owner of who) window.ack(owner, owners.length)
        return window.acked === owners.length && window.bytes === 0
      },
    ),
  )
})

t.test('a device’s confirmation reaches each worker as its own seq, once', async (t) => {
  const told: [string, number][] = []
  const source = (name: string) => ({ confirmDownlink: (seq: number) => told.push([name, seq]) })
  const [a, b] = [source('a'), source('b')]
  const window = new DownlinkWindow(5)
  t.equal(window.push(bytes(1), a, 1), 6)
  t.equal(window.push(bytes(2), a, 2), 7)
  t.equal(window.push(bytes(3), b, 1), 8)
  t.equal(window.push(bytes(4), a, 3), 9)
  window.confirm(8)
  t.same(told, [
    ['a', 2],
    ['b', 1],
  ])
  const left: number[] = []
  window.replay((_bytes, seq) => left.push(seq))
  t.same(left, [9])
  window.confirm(100)
  t.equal(window.size, 0)
  t.equal(window.last, 9)
})
