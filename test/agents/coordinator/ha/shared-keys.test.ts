/** What every shared store has to do: one suite, for the one in memory and for NATS. */

import t, { type Test } from 'tap'
import { createSystemClock, SILENT_LOG } from '../../../../agents/coordinator/clock.js'
import { createNatsStore } from '../../../../agents/coordinator/ha/nats-store.js'
import type { SharedKeys } from '../../../../agents/coordinator/ha/shared-keys.js'
import { hasNatsServer, NatsServer } from '../../../gateway/fanout/nats-server.js'
import { until } from './coordinators.js'
import { MemoryKeys } from './memory-keys.js'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const conflict = { code: 'conflict' }

async function contract(t: Test, keys: SharedKeys): Promise<void> {
  t.equal(await keys.get('leader'), undefined, 'nothing is there at first')
  const first = await keys.put('leader', bytes('a'), 0)
  t.same(await keys.get('leader'), { value: bytes('a'), revision: first })
  await t.rejects(keys.put('leader', bytes('b'), 0), conflict, 'only one can be the first')
  const second = await keys.put('leader', bytes('b'), first)
  t.ok(second > first, 'revisions grow')
  await t.rejects(keys.put('leader', bytes('c'), first), conflict, 'an old revision is refused')
  t.same((await keys.get('leader'))?.value, bytes('b'), 'and changed nothing')
  const racing = await Promise.allSettled(
    Array.from({ length: 8 }, (_, i) => keys.put('leader', bytes(`race ${i}`), second)),
  )
  t.equal(racing.filter(({ status }) => status === 'fulfilled').length, 1, 'one of several wins')

  await keys.put('part.1.0', bytes('x'))
  await keys.put('part.1.0', bytes('y'))
  await keys.put('part.10.0', bytes('z'))
  t.same((await keys.get('part.1.0'))?.value, bytes('y'), 'without a revision the newest goes before')
  await keys.remove('part.1')
  t.equal(await keys.get('part.1.0'), undefined)
  t.same((await keys.get('part.10.0'))?.value, bytes('z'), 'a prefix ends with a word')
  const large = new Uint8Array(keys.maxBytes).fill(7)
  await keys.put('large', large)
  const found = (await keys.get('large'))?.value ?? new Uint8Array()
  t.ok(Buffer.compare(found, large) === 0, 'a value of the largest size comes back whole')
}

t.test('the store in memory keeps the contract', (t) => contract(t, new MemoryKeys()))

t.test('NATS keeps the contract', { skip: hasNatsServer ? false : 'nats-server is not installed' }, async (t) => {
  const server = await NatsServer.start()
  t.teardown(() => server.remove())
  const open = () =>
    createNatsStore({ servers: server.url, prefix: 'test', clock: createSystemClock(), log: SILENT_LOG })
  const store = open()
  t.teardown(() => store.close())
  await t.rejects(store.keys.get('leader'), { code: 'unavailable' }, 'before it is connected it says so')
  await until(async () => store.up || undefined, 'a connection')
  await contract(t, store.keys)

  const other = open()
  t.teardown(() => other.close())
  await until(async () => other.up || undefined, 'another connection')
  const [mine, theirs] = await Promise.all([store.keys.get('leader'), other.keys.get('leader')])
  t.same(theirs, mine, 'all see the same')

  await server.stop()
  await t.rejects(store.keys.put('leader', bytes('d'), mine?.revision), { code: 'unavailable', retryAfterMs: 2000 })
  await until(async () => !store.up || undefined, 'it to notice')
  await server.start()
  await until(async () => (await store.keys.get('leader')) && true, 'it to come back')
  t.same(await store.keys.get('leader'), mine, 'what was written is there after a kill -9 of the server')
})

t.test('a server that is no URL is refused by name', async (t) => {
  const options = { prefix: 'test', clock: createSystemClock(), log: SILENT_LOG }
  t.throws(() => createNatsStore({ ...options, servers: 'nats://' }), { code: 'bad_request', path: '--nats' })
})
