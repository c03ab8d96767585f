/**
 * Retained messages in a JetStream KV bucket: one entry per topic, its value an envelope (one without payload where the
 * topic was cleared). Every gateway watches the bucket and keeps all of them; the newest `at` wins. A gateway that sees
 * an older one in the bucket than it has itself puts its own in the place, under the condition that nobody did so first.
 */

import { type KV, Kvm, type KvWatchEntry } from '@nats-io/kv'
import type { NatsConnection, QueuedIterator } from '@nats-io/transport-node'
import type { Clock, Message } from '../ports.js'
import type { BusHandlers } from './bus.js'
import type { FanoutCounters } from './counters.js'
import { decodeEnvelope, envelopeOf } from './envelope.js'
import type { Log } from './log.js'
import { topicKey } from './nats-subject.js'

export interface NatsRetainedPort {
  readonly bucket: string
  readonly clock: Clock
  readonly handlers: Pick<BusHandlers, 'retained' | 'newestRetained' | 'retainedSet'>
  readonly counters: FanoutCounters
  readonly log: Log
}

/** Puts on their way at the same time. */
const IN_FLIGHT = 64
const PUT_TIMEOUT_MS = 2000
const RETRY_MS = 1000
/** Topics that wait to be put; as many as are retained at most. */
const MAX_DIRTY = 250_000

interface Dirty {
  readonly message: Message
  /** Revision that must still be the last one; undefined for any. */
  readonly over: number | undefined
}

export class NatsRetained {
  readonly #port: NatsRetainedPort
  readonly #dirty = new Map<string, Dirty>()
  #kv: KV | undefined
  #watch: { stop(): void } | undefined
  #opening: Promise<QueuedIterator<KvWatchEntry> | undefined> = Promise.resolve(undefined)
  /** The failure that was logged last: once, not with every attempt. */
  #said: string | undefined
  #inFlight = 0
  /** Rises with every connection: what an older one still does is void. */
  #era = 0
  #cancel: () => void = () => {}
  #reason: string | undefined = 'not connected yet'

  constructor(port: NatsRetainedPort) {
    this.#port = port
  }

  /** Why retained messages do not reach other gateways; undefined while they do. */
  get reason(): string | undefined {
    return this.#reason
  }

  /** A message was retained here, or a topic cleared. Kept until the bucket has it. */
  put(message: Message): void {
    this.#markDirty(message, undefined)
    this.#pump()
  }

  connected(nc: NatsConnection): void {
    this.disconnected()
    const era = ++this.#era
    this.#opening = this.#open(nc, era)
    void this.#opening.then((watch) => this.#live(nc, watch, era))
  }

  /**
   * To be called before the connection is closed: the client leaves a timer behind, and the process alive, when its
   * connection ends while it opens a watch.
   */
  async close(): Promise<void> {
    this.disconnected()
    await this.#opening
  }

  disconnected(): void {
    this.#era++
    this.#cancel()
    this.#watch?.stop()
    this.#watch = this.#kv = undefined
    this.#inFlight = 0
    this.#reason = 'NATS is away'
  }

  /** Opens or creates the bucket and watches it; undefined when that failed or is not wanted any more. */
  async #open(nc: NatsConnection, era: number): Promise<QueuedIterator<KvWatchEntry> | undefined> {
    try {
      const kv = await new Kvm(nc).create(this.#port.bucket, { history: 1, timeout: PUT_TIMEOUT_MS })
      const watch = era === this.#era ? await kv.watch() : undefined
      if (era === this.#era) {
        this.#kv = kv
        this.#watch = watch
        return watch
      }
      watch?.stop()
    } catch (error) {
      if (era === this.#era) this.#failed(error)
    }
    return undefined
  }

  /** Follows the watch to its end, then tries again: JetStream may have no leader now, or not be enabled yet. */
  async #live(nc: NatsConnection, watch: QueuedIterator<KvWatchEntry> | undefined, era: number): Promise<void> {
    try {
      if (watch !== undefined) await this.#follow(watch, era)
    } catch (error) {
      if (era === this.#era) this.#failed(error)
    }
    if (era !== this.#era) return
    this.#cancel = this.#port.clock.after(RETRY_MS, () => this.connected(nc))
  }

  #failed(error: unknown): void {
    const reason = `no bucket for retained messages: ${error instanceof Error ? error.message : String(error)}`
    if (this.#said !== reason) this.#port.log.warn({ bucket: this.#port.bucket }, reason)
    this.#reason = this.#said = reason
  }

  /** Takes what the bucket holds and what is put into it, until the watch ends. */
  async #follow(watch: AsyncIterable<KvWatchEntry>, era: number): Promise<void> {
    const seen = new Set<string>()
    let caughtUp = (await this.#kv?.status())?.values === 0
    if (caughtUp) this.#caughtUp(seen)
    for await (const entry of watch) {
      if (era !== this.#era) return
      const topic = this.#take(entry)
      if (caughtUp) continue
      if (topic !== undefined) seen.add(topic)
      caughtUp = entry.delta === 0 || entry.isUpdate
      if (caughtUp) this.#caughtUp(seen)
    }
  }

  /** Everything in the bucket was seen: what is retained here and not there goes there. */
  #caughtUp(seen: ReadonlySet<string>): void {
    this.#reason = undefined
    for (const message of this.#port.handlers.retainedSet()) {
      if (message.payload.length > 0 && !seen.has(message.topic)) this.#markDirty(message, undefined)
    }
    this.#pump()
  }

  #take(entry: KvWatchEntry): string | undefined {
    if (entry.operation !== 'PUT') return undefined
    const { handlers, counters } = this.#port
    try {
      const message = decodeEnvelope(entry.value)
      handlers.retained(message)
      const newest = handlers.newestRetained(message.topic)
      if (newest !== undefined && newest.at > message.at) this.#markDirty(newest, entry.revision)
      this.#pump()
      return message.topic
    } catch (error) {
      counters.busMalformed++
      this.#port.log.warn({ key: entry.key, error: String(error) }, 'a retained message in the bucket cannot be read')
      return undefined
    }
  }

  #markDirty(message: Message, over: number | undefined): void {
    const { topic } = message
    if (topicKey(topic) === undefined || this.#dirty.size >= MAX_DIRTY) {
      this.#port.counters.busDroppedLarge++
      return
    }
    // What was published here needs no condition, whatever the bucket shows meanwhile.
    const waits = this.#dirty.get(topic)
    this.#dirty.set(topic, { message, over: waits?.over === undefined && waits !== undefined ? undefined : over })
  }

  #pump(): void {
    const kv = this.#kv
    if (kv === undefined) return
    for (const [topic, dirty] of this.#dirty) {
      if (this.#inFlight >= IN_FLIGHT) return
      this.#dirty.delete(topic)
      this.#inFlight++
      void this.#write(kv, dirty, this.#era)
    }
  }

  async #write(kv: KV, dirty: Dirty, era: number): Promise<void> {
    const { message, over } = dirty
    const key = topicKey(message.topic) as string
    try {
      if (over === undefined) await kv.put(key, envelopeOf(message), { timeout: PUT_TIMEOUT_MS })
      else await kv.update(key, envelopeOf(message), over, PUT_TIMEOUT_MS)
    } catch (error) {
      // A condition that failed means that somebody else was there first, which the watch will show.
      if (over === undefined) this.#again(dirty, error)
    }
    if (era !== this.#era) return
    this.#inFlight--
    this.#pump()
  }

  #again(dirty: Dirty, error: unknown): void {
    const { topic } = dirty.message
    if (String(error).includes('maximum')) {
      this.#port.counters.busDroppedLarge++
      return
    }
    if (this.#dirty.has(topic)) return
    this.#port.clock.after(RETRY_MS, () => {
      if (!this.#dirty.has(topic)) this.#dirty.set(topic, dirty)
      this.#pump()
    })
  }
}
