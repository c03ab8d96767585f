import fc from 'fast-check'
import t from 'tap'
import { DownlinkAcks } from '../../../../gateway/edge/mqtt/downlink-acks.js'
import { Delivery, DeliveryQueue, InFlight, Stage } from '../../../../gateway/edge/mqtt/in-flight.js'
import { UplinkAcks } from '../../../../gateway/edge/mqtt/uplink-acks.js'

const delivery = (): Delivery => new Delivery(undefined, 1, false, undefined, 0)

t.test('identifiers run from 1 to 65535 and round again, never one that is in use', async (t) => {
  const inFlight = new InFlight()
  for (let i = 1; i <= 70_000; i++) {
    const one = delivery()
    inFlight.add(one)
    if (one.packetId !== ((i - 1) % 65535) + 1) t.fail(`id ${one.packetId} at ${i}`)
    inFlight.finish(one)
  }
  t.equal(inFlight.size, 0)
})

t.test('a stuck oldest message stops the giving out before its identifier comes round', async (t) => {
  const inFlight = new InFlight()
  inFlight.add(delivery())
  let given = 1
  while (!inFlight.exhausted) {
    const one = delivery()
    inFlight.add(one)
    inFlight.finish(one)
    given++
  }
  t.equal(given, 65535)
  t.equal(inFlight.size, 1)
})

t.test('behaves like a map from identifier to message under any order of acknowledgements', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constant(-1), fc.nat(40)), { maxLength: 300 }), (steps) => {
      const inFlight = new InFlight()
      const model = new Map<number, Delivery>()
      for (const step of steps) {
        if (step < 0) {
          const one = delivery()
          inFlight.add(one)
          t.notOk(model.has(one.packetId))
          model.set(one.packetId, one)
        } else {
          const [id] = [...model.keys()].slice(step % Math.max(1, model.size))
          if (id === undefined) continue
          inFlight.finish(model.get(id) as Delivery)
          model.delete(id)
          t.equal(inFlight.find(id), undefined)
        }
        t.equal(inFlight.size, model.size)
        for (const [id, one] of model) t.equal(inFlight.find(id), one)
        t.same(
          [...inFlight].map(({ packetId }) => packetId),
          [...model.keys()],
        )
      }
    }),
    { numRuns: 50 },
  )
})

t.test('what a store kept goes back to its place, gaps and all', async (t) => {
  const inFlight = new InFlight()
  for (const packetId of [65534, 65535, 3]) {
    const one = delivery()
    one.packetId = packetId
    one.stage = Stage.PUBACK
    inFlight.restore(one)
  }
  t.equal(inFlight.size, 3)
  t.equal(inFlight.find(1), undefined)
  t.equal(inFlight.find(3)?.packetId, 3)
  const next = delivery()
  inFlight.add(next)
  t.equal(next.packetId, 4)
  for (const one of [...inFlight]) inFlight.finish(one)
  t.equal(inFlight.size, 0)
})

t.test('the queue keeps order and bytes over many pushes and shifts', async (t) => {
  const queue = new DeliveryQueue()
  let next = 0
  let expected = 0
  for (let round = 0; round < 50; round++) {
    for (let i = 0; i < 20; i++) {
      const one = delivery()
      one.packetId = next++
      queue.push(one)
    }
    for (let i = 0; i < 19; i++) t.equal(queue.shift()?.packetId, expected++)
  }
  t.equal(queue.size, 50)
  queue.filter(({ packetId }) => packetId % 2 === 0)
  t.equal(queue.size, 25)
})

t.test('uplink acknowledgements come out in order, up to the seq, and forgotten ones are marked', async (t) => {
  const acks = new UplinkAcks()
  for (let i = 1; i <= 5; i++) acks.push(i, 100 + i, i % 2 === 0 ? 2 : 1, 0x10)
  acks.forget(2)
  t.same(acks.at(3), { packetId: 103, qos: 1 })
  const out: number[][] = []
  acks.upTo(4, (...entry) => out.push(entry))
  t.same(out, [
    [101, 1, 0x10],
    [0, 0, 0],
    [103, 1, 0x10],
    [104, 2, 0x10],
  ])
  t.equal(acks.size, 1)
})

t.test('downlink frames are confirmed cumulatively whatever the order', async (t) => {
  const acks = new DownlinkAcks()
  for (const seq of [4, 5, 6, 9]) acks.sent(seq)
  t.equal(acks.confirmed(5), 0)
  t.equal(acks.confirmed(4), 5)
  t.equal(acks.confirmed(9), 0)
  t.equal(acks.confirmed(6), 9)
})
