import fc from 'fast-check'
import t from 'tap'
import { Outbox } from '../../../gateway/fanout/nats-outbox.js'

const out = (at: number, size = 1) => ({ subject: `${at}`, data: new Uint8Array(size), at })

/** Takes everything that is to go out. */
function drain(outbox: Outbox): string[] {
  const got: string[] = []
  for (let next = outbox.take(); next !== undefined; next = outbox.take()) got.push(next.subject)
  return got
}

t.test('what the server has not confirmed goes out again after a disconnect, in order', async (t) => {
  const outbox = new Outbox()
  for (const at of [1, 2, 3]) outbox.add(out(at))
  t.same(drain(outbox), ['1', '2', '3'])
  outbox.confirm(1)
  outbox.disconnected()
  outbox.add(out(4))
  t.equal(outbox.waiting, 3)
  t.same(drain(outbox), ['2', '3', '4'])
  t.equal(outbox.waiting, 0)
})

t.test('what could not be sent is given back', async (t) => {
  const outbox = new Outbox()
  outbox.add(out(1))
  t.equal(outbox.take()?.subject, '1')
  outbox.giveBack()
  t.same(drain(outbox), ['1'])
})

t.test('a gateway that missed something gets it again, as long as it is kept', async (t) => {
  const outbox = new Outbox({ historyMs: 100 })
  for (const at of [10, 20, 30]) outbox.add(out(at))
  drain(outbox)
  outbox.confirm(outbox.next)
  t.equal(outbox.rewind(20), true)
  t.same(drain(outbox), ['20', '30'])
  outbox.confirm(outbox.next)
  outbox.add(out(115))
  t.equal(outbox.rewind(5), false, 'the one of 10 is forgotten')
  t.same(drain(outbox), ['20', '30', '115'])
  t.equal(outbox.rewind(11), true)
})

t.test('a full outbox drops the oldest, and says how many were not sent', async (t) => {
  const outbox = new Outbox({ messages: 3 })
  outbox.add(out(1))
  drain(outbox)
  outbox.confirm(outbox.next)
  t.same(
    [2, 3, 4, 5, 6].map((at) => outbox.add(out(at))),
    [0, 0, 0, 1, 1],
  )
  t.same(drain(outbox), ['4', '5', '6'])
  const bytes = new Outbox({ bytes: 10_000 })
  t.same(
    [4000, 4000, 4000].map((size, i) => bytes.add(out(i, size))),
    [0, 0, 1],
  )
  t.equal(bytes.add(out(9, 20_000)), 3, 'one that is larger than all of it goes too')
  t.equal(bytes.waiting, 0)
})

t.test('the history is bounded by bytes', async (t) => {
  const outbox = new Outbox({ historyBytes: 3000 })
  for (let at = 0; at < 10; at++) {
    outbox.add(out(at, 800))
    drain(outbox)
    outbox.confirm(outbox.next)
  }
  outbox.rewind(0)
  t.equal(outbox.waiting, 4, 'three of the history, and the one that came after them')
})

t.test('whatever happens, what goes out is in order, and nothing is missing but what was dropped', async (t) => {
  const step = fc.constantFrom('add', 'take', 'confirm', 'disconnect', 'rewind')
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), fc.integer({ min: 1, max: 40 }), (steps, messages) => {
        const outbox = new Outbox({ messages, historyMs: 20 })
        let [added, dropped, last] = [0, 0, -1]
        const seen = new Set<number>()
        for (const what of steps) {
          if (what === 'add') dropped += outbox.add(out(added++))
          else if (what === 'take') {
            const got = outbox.take()
            if (got === undefined) continue
            if (got.at > last + 1 && last >= 0) seen.add(-1)
            last = got.at
            seen.add(got.at)
          } else if (what === 'confirm') outbox.confirm(outbox.next)
          else {
            if (what === 'disconnect') outbox.disconnected()
            else outbox.rewind(added - 5)
            last = -1
          }
        }
        for (let got = outbox.take(); got !== undefined; got = outbox.take()) seen.add(got.at)
        const missing = Array.from({ length: added }, (_, i) => i).filter((i) => !seen.has(i)).length
        return missing <= dropped && (!seen.has(-1) || dropped > 0)
      }),
      { numRuns: 500 },
    ),
  )
})
