import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createLmdbStore } from '../../../../gateway/edge/mqtt/lmdb-store.js'
import { createSessionJournal } from '../../../../gateway/edge/mqtt/session-journal.js'
import { createRetainedEntries, type Store } from '../../../../gateway/edge/mqtt/store.js'
import { createFanout } from '../../../../gateway/fanout/fan-out.js'
import { ManualClock } from '../../../manual-clock.js'
import { type Bench, quiet, type RawClient, startBench, until } from './harness.js'
import { completeQos2 } from './interop.js'

const lasting = { clean: false, properties: { sessionExpiryInterval: 1000 } }

/** What a kill -9 leaves: the committed entries. */
class MemoryStore implements Store {
  readonly committed = new Map<string, Uint8Array>()
  #pending = new Map<string, Uint8Array | undefined>()
  commits = 0
  put(key: string, value: Uint8Array): void {
    this.#pending.set(key, value)
  }
  delete(key: string): void {
    this.#pending.set(key, undefined)
  }
  commit(): void {
    this.commits++
    for (const [key, value] of this.#pending) {
      if (value === undefined) this.committed.delete(key)
      else this.committed.set(key, value)
    }
    this.#pending.clear()
  }
  *entries(prefix: string): Iterable<readonly [string, Uint8Array]> {
    for (const key of [...this.committed.keys()].sort()) {
      if (key.startsWith(prefix)) yield [key, this.committed.get(key) as Uint8Array]
    }
  }
  async close(): Promise<void> {}
  /** The store as it would be found now. */
  image(): MemoryStore {
    const copy = new MemoryStore()
    for (const [key, value] of this.committed) copy.committed.set(key, value)
    return copy
  }
}

const start = (store: Store): Promise<Bench> => startBench({ journal: createSessionJournal(store, new ManualClock()) })

t.test('a message for many is acknowledged when it is in the journal of each', async (t) => {
  const store = new MemoryStore()
  const turns: (() => void)[] = []
  const turn = (fn: () => void): void => void turns.push(fn)
  const fanout = createFanout({ clock: new ManualClock(), log: quiet, turn, slices: { deliveries: 2 } })
  const bench = await startBench({ journal: createSessionJournal(store, new ManualClock()), fanout })
  for (let i = 0; i < 40; i++) {
    const away = await bench.client({ ...lasting, clientId: `away${i}` })
    await away.subscribe('q', 2)
    await away.disconnect()
  }
  const queued = () => [...store.committed.keys()].filter((key) => key.startsWith('d/')).length
  const pub = await bench.client({ ...lasting, clientId: 'pub' })
  pub.publish('q', 'one', 1, { messageId: 1 })
  pub.publish('q', 'two', 2, { messageId: 2 })
  await pub.next('pubrec')
  for (let i = 0; i < 2; i++) {
    pub.send({ cmd: 'pubrel', messageId: 2 })
    await pub.nothing()
  }
  t.ok(queued() < 80, 'it goes out in slices')
  t.same(bench.host.of('pub').relayed, [])
  // A crash here: the first was not acknowledged and comes again, the second was.
  const early = await start(store.image())
  const late = await early.client({ ...lasting, clientId: 'pub' })
  t.equal(early.fanout.counters.published, 1, 'a QoS 2 message that not all had is published again')
  late.publish('q', 'two', 2, { messageId: 2, dup: true })
  await completeQos2(late, 2)
  t.equal(early.fanout.counters.published, 1, 'and known when it comes again')
  await early.close()
  while (turns.length > 0) turns.shift()?.()
  t.match(await pub.next('puback'), { messageId: 1 })
  t.match(await pub.next('pubcomp'), { messageId: 2 })
  t.equal(queued(), 80)
  t.notOk([...store.committed.keys()].some((key) => key.startsWith('h/')))
  bench.host.outcome = 'routed'
  const routed = await bench.client({ clientId: 'routed' })
  for (let id = 1; id <= 4; id++) routed.publish('q', `${id}`, id > 2 ? 2 : 1, { messageId: id })
  await routed.nothing()
  bench.host.of('routed').processed(1)
  bench.host.of('routed').processed(4)
  for (const kind of ['pubrec', 'pubrec']) await routed.next(kind)
  await routed.nothing()
  while (turns.length > 0) turns.shift()?.()
  for (const kind of ['puback', 'puback']) await routed.next(kind)
  for (const messageId of [3, 4]) routed.send({ cmd: 'pubrel', messageId })
  await routed.nothing()
  while (turns.length > 0) turns.shift()?.()
  for (const kind of ['pubcomp', 'pubcomp']) await routed.next(kind)
  for (let id = 5; id <= 6; id++) routed.publish('q', `${id}`, id > 5 ? 2 : 1, { messageId: id })
  await routed.nothing()
  while (turns.length > 0) turns.shift()?.()
  await routed.nothing()
  bench.host.of('routed').processed(6)
  for (const kind of ['puback', 'pubrec']) await routed.next(kind)
  await bench.close()
})

t.test('the will of a client that was connected when the gateway died is published after the restart', async (t) => {
  const store = new MemoryStore()
  const before = await start(store)
  const watch = await before.client({ ...lasting, clientId: 'watch' })
  await watch.subscribe('will/#', 1)
  await watch.disconnect()
  const will = (name: string, willDelayInterval = 0) => ({
    will: {
      topic: `will/${name}`,
      payload: Buffer.from(name),
      qos: 1 as const,
      retain: false,
      properties: { willDelayInterval },
    },
  })
  await before.client({ clientId: 'clean', ...will('clean') })
  await before.client({ ...lasting, clientId: 'lasting', ...will('lasting') })
  await before.client({ ...lasting, clientId: 'patient', ...will('patient', 60) })
  await before.client({ ...lasting, clientId: 'back', ...will('back', 60) })
  await before.client({ ...lasting, clientId: 'early', ...will('early') })
  const polite = await before.client({ clientId: 'polite', ...will('polite') })
  await polite.disconnect()
  const after = await start(store.image())
  const early = await after.client({ ...lasting, clientId: 'early' })
  t.ok(early.connack?.sessionPresent)
  const clean = await after.client({ ...lasting, clientId: 'clean' })
  t.notOk(clean.connack?.sessionPresent, 'a session that did not last is not there, though its will is')
  await after.client({ ...lasting, clientId: 'back' })
  const heard = await after.client({ ...lasting, clientId: 'watch' })
  t.match(await heard.nextPublish(), { topic: 'will/early' }, 'its time had come before the client was back')
  t.match(await heard.nextPublish(), { topic: 'will/clean' })
  await heard.nothing()
  after.clock.advance(3000)
  t.match(await heard.nextPublish(), { topic: 'will/lasting', payload: Buffer.from('lasting') })
  await heard.nothing()
  after.clock.advance(60_000)
  t.match(await heard.nextPublish(), { topic: 'will/patient' })
  await heard.nothing()
  await after.close()
  await before.close()
})

t.test('what was acknowledged before a crash is there after it', async (t) => {
  const store = new MemoryStore()
  const before = await start(store)
  const sub = await before.client({ ...lasting, clientId: 'sub' })
  await sub.subscribe('q/#', 2, { rap: true }, { subscriptionIdentifier: 5 })
  const away = await before.client({ ...lasting, clientId: 'away' })
  await away.subscribe('q/+', 1)
  await away.disconnect()
  const pub = await before.client({ ...lasting, clientId: 'pub' })
  pub.publish('q/1', 'one', 1, { messageId: 1, properties: { contentType: 'c', userProperties: { k: 'v' } } })
  await pub.next('puback')
  pub.publish('q/2', 'two', 2, { messageId: 2 })
  await completeQos2(pub, 2)
  pub.publish('q/3', 'three', 2, { messageId: 3 })
  await completeQos2(pub, 3)
  pub.publish('q/half', 'half', 2, { messageId: 4 })
  await pub.next('pubrec')
  for (let i = 0; i < 3; i++) await sub.nextPublish()
  sub.send({ cmd: 'puback', messageId: 1 })
  sub.send({ cmd: 'pubrec', messageId: 2 })
  await sub.next('pubrel')
  // The process dies here.
  const after = await start(store.image())
  t.equal(after.edge.counters.sessions, 3)
  const again = await after.client({ ...lasting, clientId: 'sub' })
  t.ok(again.connack?.sessionPresent)
  t.match(await again.next('pubrel'), { messageId: 2 })
  t.match(await again.nextPublish(), { messageId: 3, dup: true, qos: 2, payload: Buffer.from('three') })
  await again.nothing()
  const back = await after.client({ ...lasting, clientId: 'away' })
  const first = await back.nextPublish()
  t.match(first, { payload: Buffer.from('one'), properties: { contentType: 'c' } })
  t.equal(first.properties?.userProperties?.k, 'v')
  t.match(await back.nextPublish(), { payload: Buffer.from('two') })
  t.match(await back.nextPublish(), { payload: Buffer.from('three') })
  const publisher = await after.client({ ...lasting, clientId: 'pub' })
  t.match(await back.nextPublish(), { payload: Buffer.from('half') }, 'before anything that its client sends now')
  t.match(await again.nextPublish(), { payload: Buffer.from('half'), qos: 2 })
  publisher.publish('q/half', 'half', 2, { messageId: 4, dup: true })
  await completeQos2(publisher, 4)
  await back.nothing()
  publisher.publish('q/4', 'four', 0)
  t.match(await again.nextPublish(), { properties: { subscriptionIdentifier: 5 } })
  await Promise.all([before.close(), after.close()])
})

t.test('what was between PUBREC and PUBREL when the gateway died is published after the restart, once', async (t) => {
  const store = new MemoryStore()
  const before = await start(store)
  const watch = await before.client({ ...lasting, clientId: 'watch' })
  await watch.subscribe('q', 1)
  await watch.disconnect()
  const sends = async (pub: RawClient, messageId: number, payload: string): Promise<void> => {
    pub.publish('q', payload, 2, { messageId, properties: { contentType: 'text' } })
    await pub.next('pubrec')
  }
  const clean = await before.client({ clientId: 'clean' })
  await sends(clean, 9, 'clean 1')
  await sends(clean, 2, 'clean 2')
  const kept = await before.client({ ...lasting, clientId: 'kept' })
  await sends(kept, 1, 'kept')
  await sends(kept, 2, 'replaced')
  await sends(kept, 2, 'in its place')
  await sends(kept, 3, 'complete')
  kept.send({ cmd: 'pubrel', messageId: 3 })
  await kept.next('pubcomp')
  before.host.outcome = 'routed'
  const refused = await before.client({ ...lasting, clientId: 'refused' })
  refused.publish('q', 'refused', 2)
  refused.publish('q', 'not processed', 2, { messageId: 2 })
  await refused.nothing()
  before.host.of('refused').port?.failed(1, 'no_worker', 'none')
  await refused.next('pubrec')
  const heldIn = ({ committed }: MemoryStore) => [...committed.keys()].filter((key) => key.startsWith('h/'))
  t.equal(heldIn(store).length, 4)
  // The process dies here.
  const image = store.image()
  const after = await start(image)
  const heard = await after.client({ ...lasting, clientId: 'watch' })
  const hears = async (...payloads: string[]): Promise<void> => {
    for (const payload of payloads) {
      const { messageId, ...got } = await heard.nextPublish()
      t.match(got, {
        payload: Buffer.from(payload),
        ...(payload !== 'complete' && { properties: { contentType: 'text' } }),
      })
      heard.send({ cmd: 'puback', messageId: messageId as number })
    }
    await heard.nothing()
  }
  await hears('complete')
  const back = await after.client({ ...lasting, clientId: 'kept' })
  await hears('kept', 'in its place')
  await sends(back, 1, 'kept')
  for (const messageId of [1, 2]) {
    back.send({ cmd: 'pubrel', messageId })
    await back.next('pubcomp')
  }
  await heard.nothing()
  after.clock.advance(1900)
  await heard.nothing()
  after.clock.advance(200)
  await hears('clean 1', 'clean 2')
  t.same(heldIn(image), [])
  const again = await start(image.image())
  again.clock.advance(3000)
  t.equal(again.fanout.counters.published, 0)
  await before.close()
  t.same(heldIn(store), [], 'a gateway that ends gives them out itself')
  await Promise.all([after.close(), again.close()])
})

t.test('nothing is left behind by messages that arrived and sessions that ended', async (t) => {
  const store = new MemoryStore()
  const bench = await start(store)
  const sub = await bench.client({ ...lasting, clientId: 'sub' })
  await sub.subscribe('a', 1)
  const plain = await bench.client({ clientId: 'plain' })
  await plain.subscribe('a', 1)
  plain.publish('a', 'x', 1)
  await sub.nextPublish()
  t.same([...store.committed.keys()].map((key) => key.slice(0, 2)).sort(), ['d/', 'm/', 's/'])
  sub.send({ cmd: 'puback', messageId: 1 })
  await sub.nothing()
  t.same([...store.committed.keys()], ['s/sub'])
  await sub.disconnect(0, { sessionExpiryInterval: 0 })
  await until(() => store.committed.size === 0)
  await bench.close()
})

t.test('sessions age while the gateway is down only from its start on, and expired ones go', async (t) => {
  const store = new MemoryStore()
  const before = await start(store)
  const client = await before.client({ ...lasting, clientId: 'old' })
  await client.subscribe('a', 1)
  const after = await start(store.image())
  after.clock.advance(999_000)
  t.equal(after.edge.counters.sessions, 1)
  after.clock.advance(2000)
  t.equal(after.edge.counters.sessions, 0)
  t.equal(after.fanout.subscriptions, 0)
  await Promise.all([before.close(), after.close()])
})

t.test('the LMDB store keeps entries in order, with everything of a commit or nothing', async (t) => {
  const path = mkdtempSync(join(tmpdir(), 'sluice-store-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  const store = createLmdbStore(path)
  store.put('a/2', Buffer.from('two'))
  store.put('a/1', Buffer.from('one'))
  store.put('b/1', Buffer.from('other'))
  t.same([...store.entries('a/')], [], 'not committed yet')
  store.commit()
  store.put('a/3', Buffer.from('three'))
  store.delete('a/2')
  await store.close()
  const again = createLmdbStore(path)
  t.same(
    [...again.entries('a/')].map(([key, value]) => [key, Buffer.from(value).toString()]),
    [
      ['a/1', 'one'],
      ['a/3', 'three'],
    ],
  )
  await again.close()
})

t.test('retained messages of any topic length are kept by the same store', async (t) => {
  const store = new MemoryStore()
  const entries = createRetainedEntries(store, (topic) => `${topic.length}-${topic.slice(0, 5)}`)
  const long = 'x/'.repeat(3000)
  entries.put('short', Buffer.from('s'))
  entries.put(long, Buffer.from('l'))
  entries.put('gone', Buffer.from('g'))
  entries.delete('gone')
  store.commit()
  const found = [...entries.load()].map(([topic, envelope]) => [topic, Buffer.from(envelope).toString()])
  t.same(found, [
    ['short', 's'],
    [long, 'l'],
  ])
  t.ok([...store.committed.keys()].every((key) => key.length < 500))
})
