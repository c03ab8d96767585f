/**
 * The shared store on NATS JetStream KV, from nats-server 2.9 on: one bucket of its own.
 *
 * No entry expires. A leader that died is replaced by compare-and-set, so nothing depends on how NATS keeps time: 2.9
 * ignores a TTL of a key, and tells nobody when one of a bucket took something away.
 */

import { JetStreamApiCodes, JetStreamApiError, jetstream, jetstreamManager } from '@nats-io/jetstream'
import { type KV, Kvm } from '@nats-io/kv'
import { connect, type NatsConnection, type NodeConnectionOptions } from '@nats-io/transport-node'
import { SluiceError } from '../../../proto/errors.js'
import type { Clock, Log } from '../clock.js'
import type { SharedKeys, SharedStore, SharedValue } from './shared-keys.js'

/** How it is reached. */
export interface NatsStoreOptions {
  /** `nats://[USER:PASSWORD@]HOST:PORT`, several separated by commas. */
  readonly servers: string
  /** Start of the bucket's name: fleets that share a NATS need different ones. */
  readonly prefix: string
  readonly clock: Clock
  readonly log: Log
}

/** An answer that takes longer is not waited for, in milliseconds: NATS takes seconds to elect, callers do not. */
const ANSWER_MS = 1500
/** Pause between attempts at the first connection, in milliseconds. */
const RETRY_MS = 250
/** What a caller is told to wait, in milliseconds: NATS takes 4 to 9 s to elect (measured on 2.9), most waits are shorter. */
const RETRY_AFTER_MS = 2000
/** Left of the largest message for subject and headers. */
const HEADROOM = 8 * 1024

/** Dead connections are seen within 2 s, new ones tried four times a second. */
const CLIENT: NodeConnectionOptions = {
  reconnect: true,
  maxReconnectAttempts: -1,
  reconnectTimeWait: 250,
  reconnectJitter: 100,
  pingInterval: 1000,
  maxPingOut: 2,
  timeout: 2000,
  ignoreAuthErrorAbort: true,
}

/** Copies that a cluster keeps; a single server keeps one. */
const COPIES = 3

/** Connects in the background; what is asked meanwhile is `unavailable`. @throws SluiceError for a server that is no URL */
export function createNatsStore(options: NatsStoreOptions): SharedStore {
  return new NatsStore(options, clientOptions(options.servers))
}

class NatsStore implements SharedStore {
  readonly keys: SharedKeys
  readonly #options: NatsStoreOptions
  readonly #client: NodeConnectionOptions
  #nc: NatsConnection | undefined
  #up = false
  #reason = 'not connected yet'
  #closed = false
  #cancelRetry: () => void = () => {}

  constructor(options: NatsStoreOptions, client: NodeConnectionOptions) {
    this.#options = options
    this.#client = client
    this.keys = new Bucket(`${options.prefix}_coordinators`, () => this.#connection())
    void this.#connect()
  }

  get up(): boolean {
    return this.#up
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancelRetry()
    await this.#nc?.close()
  }

  #connection(): NatsConnection {
    if (this.#nc === undefined || !this.#up) throw away(`NATS is away: ${this.#reason}`)
    return this.#nc
  }

  async #connect(): Promise<void> {
    const { servers, clock, log } = this.#options
    try {
      const nc = await connect({ ...CLIENT, ...this.#client })
      if (this.#closed) return await nc.close()
      this.#nc = nc
      this.#connected(nc)
      await this.#watch(nc)
      this.#disconnected('closed')
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      if (reason !== this.#reason) log.warn({ servers: withoutPasswords(servers), reason }, 'cannot connect to NATS')
      this.#reason = reason
    }
    if (!this.#closed) this.#cancelRetry = clock.after(RETRY_MS, () => void this.#connect())
  }

  async #watch(nc: NatsConnection): Promise<void> {
    for await (const status of nc.status()) {
      if (status.type === 'disconnect') this.#disconnected(`lost ${status.server}`)
      else if (status.type === 'reconnect') this.#connected(nc)
      else if (status.type === 'error') this.#options.log.warn({ error: status.error.message }, 'NATS reports an error')
    }
  }

  #connected(nc: NatsConnection): void {
    this.#up = true
    this.#options.log.info({ server: nc.getServer() }, 'connected to NATS')
  }

  #disconnected(reason: string): void {
    if (!this.#up) return
    this.#up = false
    this.#reason = reason
    if (!this.#closed) this.#options.log.warn({ reason }, 'NATS is away: routes and intents cannot be changed')
  }
}

class Bucket implements SharedKeys {
  readonly #name: string
  readonly #connection: () => NatsConnection
  #opening: Promise<KV> | undefined

  constructor(name: string, connection: () => NatsConnection) {
    this.#name = name
    this.#connection = connection
  }

  get maxBytes(): number {
    return (this.#connection().info?.max_payload ?? 1024 * 1024) - HEADROOM
  }

  async get(key: string): Promise<SharedValue | undefined> {
    const entry = await this.#ask((kv) => kv.get(key))
    if (entry === null || entry.operation !== 'PUT') return undefined
    return { value: entry.value, revision: entry.revision }
  }

  put(key: string, value: Uint8Array, revision?: number): Promise<number> {
    const expected = revision === undefined ? {} : { previousSeq: revision }
    return this.#ask((kv) => kv.put(key, value, { ...expected, timeout: ANSWER_MS }))
  }

  async remove(prefix: string): Promise<void> {
    await this.#ask(async () => {
      const manager = await jetstreamManager(this.#connection(), { timeout: ANSWER_MS, checkAPI: false })
      // A purge of the stream leaves no tombstones behind, as those of the KV API do.
      await manager.streams.purge(`KV_${this.#name}`, { filter: `$KV.${this.#name}.${prefix}.>` })
    })
  }

  async #ask<T>(what: (kv: KV) => Promise<T>): Promise<T> {
    const nc = this.#connection()
    try {
      this.#opening ??= this.#open(nc)
      return await what(await this.#opening)
    } catch (error) {
      if (isConflict(error))
        throw new SluiceError('conflict', `${this.#name} was changed by somebody else`, { cause: error })
      // The bucket may have gone with the server's disk: it is looked for, and made, anew.
      this.#opening = undefined
      if (error instanceof SluiceError) throw error
      throw away(`NATS does not answer for ${this.#name}: ${reasonOf(error)}`, error)
    }
  }

  async #open(nc: NatsConnection): Promise<KV> {
    const kvm = new Kvm(jetstream(nc, { timeout: ANSWER_MS, checkAPI: false }))
    // Reads go to the stream's leader: a copy may be behind.
    const bucket = { history: 1, allow_direct: false, timeout: ANSWER_MS }
    if (nc.info?.cluster === undefined) return kvm.create(this.#name, { ...bucket, replicas: 1 })
    return kvm.create(this.#name, { ...bucket, replicas: COPIES }).catch((error: unknown) => {
      // A cluster of fewer servers, or one that gives this account less, says so by a code of its own.
      if (error instanceof JetStreamApiError && !isElecting(error))
        return kvm.create(this.#name, { ...bucket, replicas: 1 })
      throw error
    })
  }
}

function reasonOf(error: unknown): string {
  // By name: its class is not exported. A cluster that elects says this too.
  if (error instanceof Error && error.name === 'JetStreamNotEnabled') return 'no JetStream there (nats-server -js)'
  return error instanceof Error ? error.message : String(error)
}

function isConflict(error: unknown): boolean {
  if (!(error instanceof JetStreamApiError)) return false
  return (
    error.code === JetStreamApiCodes.StreamWrongLastSequence ||
    error.code === JetStreamApiCodes.StreamWrongLastSequenceUnknown
  )
}

/** 10008: JetStream system temporarily unavailable. */
function isElecting(error: JetStreamApiError): boolean {
  return error.code === 10008
}

function away(message: string, cause?: unknown): SluiceError {
  return new SluiceError('unavailable', message, { retryAfterMs: RETRY_AFTER_MS, cause })
}

function clientOptions(servers: string): NodeConnectionOptions {
  const urls = servers.split(',').map((server) => {
    const text = server.includes('://') ? server.trim() : `nats://${server.trim()}`
    if (URL.canParse(text) && new URL(text).host !== '') return new URL(text)
    throw new SluiceError('bad_request', 'a NATS server is not written as nats://HOST:PORT', { path: '--nats' })
  })
  const first = urls[0]
  const options: NodeConnectionOptions = { servers: urls.map((url) => url.host) }
  if (first?.password) {
    options.user = decodeURIComponent(first.username)
    options.pass = decodeURIComponent(first.password)
  } else if (first?.username) options.token = decodeURIComponent(first.username)
  if (urls.some((url) => url.protocol === 'tls:')) options.tls = {}
  return options
}

function withoutPasswords(servers: string): string {
  return servers.replace(/\/\/[^@/,]*@/g, '//***@')
}
