/**
 * Workers by etcd v3: the keys under a prefix, each with a JSON value `{"link": …, "pool": …, "weight": …}`. Read whole, then
 * watched from the next revision on; a watch that ends for any reason (compaction, a lost server) begins with reading
 * whole again. A worker that writes its key with a lease leaves the list when the lease ends.
 */

import { readList, readObject } from '../../../proto/fields.js'
import {
  type DiscoveredMember,
  type Discovery,
  MAX_MEMBERS,
  type OnMembers,
  readMember,
  type SourceContext,
  tidyMembers,
} from './discovery.js'
import { EtcdClient } from './etcd-client.js'
import { SourceLoop } from './source-loop.js'

/** Which keys, and where. */
export interface EtcdOptions {
  /** Base URLs of the servers, `http://HOST:2379`; the next is asked when one fails. */
  readonly urls: readonly string[]
  /** Keys that begin with it are workers. Not empty. */
  readonly prefix: string
  /** `NAME:PASSWORD`, where the cluster wants it. */
  readonly user?: string
  /** For values that name no pool. */
  readonly pool?: string
  /** How long a watch is trusted before everything is read again, in milliseconds; 60,000 unless given. */
  readonly watchMs?: number
}

/** A server that vanished without a word leaves a watch that says nothing for ever; this ends it. */
const WATCH_MS = 60_000

/** Follows one prefix. */
export class EtcdDiscovery implements Discovery {
  readonly name: string
  readonly #options: EtcdOptions
  readonly #context: SourceContext
  readonly #client: EtcdClient
  readonly #loop: SourceLoop
  /** By key, in base64 as etcd's gateway has them; undefined where the value cannot be used. */
  #values = new Map<string, DiscoveredMember | undefined>()
  #onMembers: OnMembers = () => {}
  #last = ''

  constructor(options: EtcdOptions, context: SourceContext) {
    this.name = `etcd:${options.prefix}`
    this.#options = options
    this.#context = context
    this.#client = new EtcdClient(options.urls, options.user, context)
    this.#loop = new SourceLoop(this.name, context, (signal) => this.#follow(signal))
  }

  get problem(): string | undefined {
    return this.#loop.problem
  }

  start(onMembers: OnMembers): void {
    this.#onMembers = onMembers
    this.#loop.start()
  }

  close(): Promise<void> {
    this.#onMembers = () => {}
    return this.#loop.close()
  }

  async #follow(signal: AbortSignal): Promise<number> {
    const { prefix, watchMs = WATCH_MS } = this.#options
    const { revision, pairs } = await this.#client.range(prefix, MAX_MEMBERS, signal)
    this.#values = new Map(pairs.map(({ key, value }) => [key, this.#read(key, value)]))
    this.#tell()
    await this.#client.watch(prefix, revision + 1, watchMs, signal, (events) => {
      for (const event of readList(events, 'events', MAX_MEMBERS * 10)) this.#event(event)
      this.#tell()
    })
    return 0
  }

  #event(event: unknown): void {
    const { type, kv } = readObject(event, 'event')
    const { key, value } = readObject(kv, 'event.kv')
    // PUT is the enum's zero, which JSON leaves out.
    if (type === 'DELETE') this.#values.delete(String(key))
    else this.#values.set(String(key), this.#read(String(key), value))
  }

  #read(key: string, value: unknown): DiscoveredMember | undefined {
    try {
      const json: unknown = JSON.parse(Buffer.from(String(value ?? ''), 'base64').toString('utf8'))
      return readMember({ pool: this.#options.pool, ...readObject(json, 'the value') })
    } catch (error) {
      const { log } = this.#context
      const shown = Buffer.from(key, 'base64').toString('utf8').slice(0, 200)
      const reason = error instanceof SyntaxError ? 'its value is not JSON' : (error as Error).message
      log.warn({ source: this.name, key: shown, reason }, `key ${shown} is no worker and is left out: ${reason}`)
      return undefined
    }
  }

  #tell(): void {
    const usable = [...this.#values.values()].filter((member) => member !== undefined)
    const tidy = tidyMembers(usable, this.name, this.#context.log)
    const text = JSON.stringify(tidy)
    if (text === this.#last) return
    this.#last = text
    this.#onMembers(tidy)
  }
}
