/**
 * The bus over NATS, for gateways on several machines. What local subscribers want becomes NATS subscriptions, so the
 * server sends a message only to gateways that have a subscriber; a gateway gets nothing back of what it published
 * itself (`noEcho`), and hands on nothing that came from the bus: no loops. One connection carries everything in order,
 * so the order per publisher and topic holds.
 *
 * While NATS is away, local fan-out goes on; what would cross is dropped and counted, shared groups choose among local
 * members, retained messages wait for the bucket. Everything comes back by itself with the connection.
 */

import { connect, type NatsConnection, type NodeConnectionOptions, type Subscription } from '@nats-io/transport-node'
import type { Clock, Message } from '../ports.js'
import type { Bus, BusHandlers, BusStatus, SharedPicks } from './bus.js'
import type { FanoutCounters } from './counters.js'
import { FilterCover } from './filter-cover.js'
import { InterestLedger } from './interest-ledger.js'
import type { Log } from './log.js'
import { NatsGroups } from './nats-groups.js'
import { ASK_SUBJECT, answerSubject, NatsQuestions } from './nats-questions.js'
import { NatsRetained } from './nats-retained.js'
import { encodeLevel, filterSubjects, LONG_SUBJECT, topicSubject } from './nats-subject.js'
import { decodeBusMessage, encodeBusMessage } from './nats-wire.js'
import { ReplayWindow } from './replay-window.js'

export interface NatsBusOptions {
  /** Id of this gateway. */
  readonly id: string
  /** `nats://[USER:PASSWORD@]HOST:PORT`, several separated by commas. */
  readonly servers: string
  readonly clock: Clock
  /** 0 to 1. */
  readonly random: () => number
  readonly counters: FanoutCounters
  readonly log: Log
  /** First token of every subject, and start of the bucket's name: fleets that share a NATS need different ones. */
  readonly prefix?: string
  /** TLS, credentials and whatever else the client takes. */
  readonly connection?: NodeConnectionOptions
  readonly turn?: (fn: () => void) => void
  /** Answers other gateways' questions; empty for nothing to say. */
  readonly answer?: (question: Uint8Array) => Uint8Array
}

export interface NatsBus extends Bus {
  /**
   * Asks every gateway that is there. Resolves with what they said, without the empty answers, when the last one spoke or
   * `ms` are over; undefined when there is nobody to ask, or NATS is away.
   */
  ask(question: Uint8Array, ms: number): Promise<Uint8Array[]> | undefined
}

export function createNatsBus(options: NatsBusOptions): NatsBus {
  return new SubjectBus(options)
}

/** Bytes on their way to NATS above which fire and forget is dropped, and above which everything is. */
const SOFT_LIMIT = 16 * 1024 * 1024
const HARD_LIMIT = 64 * 1024 * 1024
/** Pause between attempts at the first connection, in ms. */
const FIRST_RETRY_MS = 500
/** Longest that {@link Bus.close} waits for NATS, in ms. */
const CLOSE_MS = 1000
const NO_FILTERS: readonly string[] = []
const NOTHING = new Uint8Array(0)

/** Dead connections are seen within 4 s, new ones tried four times a second: back within 3 s once the server is. */
const CLIENT: NodeConnectionOptions = {
  noEcho: true,
  reconnect: true,
  maxReconnectAttempts: -1,
  reconnectTimeWait: 250,
  reconnectJitter: 250,
  pingInterval: 2000,
  maxPingOut: 2,
  timeout: 2000,
  ignoreAuthErrorAbort: true,
}

class SubjectBus implements NatsBus {
  readonly #options: NatsBusOptions
  readonly #prefix: string
  readonly #sender: string
  readonly #ledger: InterestLedger
  /** NATS subscriptions by filter. Filters that a wider one covers have none: the server sends one copy for each. */
  readonly #subscriptions = new Map<string, Subscription[]>()
  #cover = new FilterCover()
  readonly #window = new ReplayWindow()
  readonly #questions: NatsQuestions
  #handlers: BusHandlers | undefined
  #groups: NatsGroups | undefined
  #retained: NatsRetained | undefined
  #nc: NatsConnection | undefined
  #up = false
  #closed = false
  #reason = 'not connected yet'
  #seq = 0
  /** Last version of the interest that the server has. */
  #acked = 0
  /** Bytes published, and how many of them the server has surely taken. */
  #sent = 0
  #taken = 0
  #probing = false
  #retry: () => void = () => {}
  #long: Subscription | undefined

  constructor(options: NatsBusOptions) {
    this.#options = options
    this.#prefix = options.prefix ?? 'sluice'
    this.#sender = `${options.id}/${Math.floor(options.random() * 2 ** 48).toString(36)}`
    this.#ledger = new InterestLedger({
      clock: options.clock,
      turn: options.turn ?? ((fn) => void setImmediate(fn)),
      announce: (changes, version) => this.#announce(changes, version),
      acknowledged: () => (this.#up ? this.#acked : Number.POSITIVE_INFINITY),
    })
    this.#questions = new NatsQuestions({
      id: options.id,
      clock: options.clock,
      others: () => this.#groups?.size ?? 0,
      answer: options.answer ?? (() => NOTHING),
      publish: (subject, data) => void this.#publish(subject, data),
    })
  }

  attach(handlers: BusHandlers): void {
    const { id, clock, counters, log } = this.#options
    this.#handlers = handlers
    this.#groups = new NatsGroups({ id, clock, handlers, tell: (news) => void this.#publish('g', news) })
    this.#retained = new NatsRetained({ bucket: `${this.#prefix}_retained`, clock, handlers, counters, log })
    void this.#connect()
  }

  interest(filter: string, members: number, settled: () => void): void {
    this.#ledger.set(filter, members, settled)
  }

  publish(message: Message, picks: SharedPicks | undefined): void {
    if (message.retain) this.#retained?.put(message)
    if (!this.#admits(message)) return
    this.#send(topicSubject(message.topic), message, NO_FILTERS)
    for (const [gateway, filters] of picks ?? []) this.#send(`to.${encodeLevel(gateway)}`, message, filters)
  }

  ask(question: Uint8Array, ms: number): Promise<Uint8Array[]> | undefined {
    return this.#questions.ask(question, ms)
  }

  status(): BusStatus {
    const peers = Array.from(this.#groups?.neighbours ?? [], (id) => ({ id, state: 'connected' as const }))
    if (!this.#up) {
      const reason = `NATS is away (${this.#reason}): nothing crosses to other gateways, local fan-out goes on`
      return { kind: 'nats', state: 'cut', peers, reason }
    }
    const reason = this.#retained?.reason
    if (reason === undefined) return { kind: 'nats', state: 'connected', peers }
    return { kind: 'nats', state: 'partial', peers, reason }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#retry()
    this.#groups?.close()
    const nc = this.#nc
    if (nc === undefined) return
    if (this.#up) await this.#settle(nc)
    this.#retained?.disconnected()
    await nc.close()
  }

  /** Lets what is under way arrive, for a limited time. */
  async #settle(nc: NatsConnection): Promise<void> {
    const done = Promise.all([this.#retained?.close(), nc.flush().catch(() => {})])
    await new Promise<void>((resolve) => {
      const cancel = this.#options.clock.after(CLOSE_MS, resolve)
      void done.finally(() => {
        cancel()
        resolve()
      })
    })
  }

  async #connect(): Promise<void> {
    const { servers, connection, clock, log } = this.#options
    try {
      const nc = await connect({ ...CLIENT, ...clientOptions(servers), ...connection })
      if (this.#closed) return await nc.close()
      this.#nc = nc
      this.#listen(nc)
      this.#connected(nc)
      await this.#watch(nc)
      this.#disconnected('closed')
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      if (reason !== this.#reason) log.warn({ servers: hidePasswords(servers), reason }, 'cannot connect to NATS')
      this.#reason = reason
    }
    // The first connection is ours to try again, later ones the client's, unless it thinks them hopeless.
    if (!this.#closed) this.#retry = clock.after(FIRST_RETRY_MS, () => void this.#connect())
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
    this.#sent = this.#taken = 0
    this.#acked = 0
    this.#announce(this.#ledger.wanted, this.#ledger.version)
    this.#groups?.connected()
    this.#retained?.connected(nc)
    this.#options.log.info({ server: nc.getServer() }, 'connected to NATS')
  }

  #disconnected(reason: string): void {
    if (!this.#up) return
    this.#up = false
    this.#reason = reason
    this.#groups?.disconnected()
    this.#retained?.disconnected()
    this.#ledger.settle()
    if (!this.#closed) this.#options.log.warn({ reason }, 'NATS is away: nothing crosses to other gateways')
  }

  /** The subjects that every gateway hears. */
  #listen(nc: NatsConnection): void {
    this.#subscriptions.clear()
    this.#cover = new FilterCover()
    this.#long = undefined
    this.#on(nc, 'g', (data) => this.#groups?.heard(data))
    this.#on(nc, ASK_SUBJECT, (data) => this.#questions.heardQuestion(data))
    this.#on(nc, answerSubject(this.#options.id), (data) => this.#questions.heardAnswer(data))
    this.#on(nc, `to.${encodeLevel(this.#options.id)}`, (data) => this.#take(data, false))
  }

  #on(nc: NatsConnection, subject: string, take: (data: Uint8Array) => void): Subscription {
    return nc.subscribe(`${this.#prefix}.${subject}`, {
      callback: (error, msg) => {
        if (error) return
        try {
          take(msg.data)
        } catch (malformed) {
          if (this.#options.counters.busMalformed++ % 1000 === 0) {
            this.#options.log.warn({ subject: msg.subject, error: String(malformed) }, 'not understood, from NATS')
          }
        }
      },
    })
  }

  /** @param direct true: for all that subscribed here; false: for the shared groups that are named only */
  #take(data: Uint8Array, direct: boolean): void {
    const { counters } = this.#options
    counters.busInBytes += data.length
    const { seq, sender, shared, message } = decodeBusMessage(data)
    if (sender === this.#sender || !this.#window.accept(sender, seq)) return
    counters.busIn++
    this.#handlers?.message(message, direct, direct ? NO_FILTERS : shared)
  }

  #announce(changes: ReadonlyMap<string, number>, version: number): void {
    const nc = this.#nc
    if (nc === undefined || !this.#up) return
    const groups: [string, number][] = []
    const plain: string[] = []
    for (const [filter, members] of changes) {
      if (filter.startsWith('$share/')) groups.push([filter, members])
      else plain.push(...this.#change(filter, members > 0), filter)
    }
    for (const filter of plain) if (this.#needed(filter)) this.#open(nc, filter)
    if (this.#subscriptions.size > 0) this.#long ??= this.#on(nc, LONG_SUBJECT, (data) => this.#take(data, true))
    this.#groups?.change(groups)
    nc.flush().then(
      () => {
        // Only now: what the server sent for an old subscription before it had the new one has arrived by now.
        for (const filter of plain) if (!this.#needed(filter)) this.#shut(filter)
        this.#acked = Math.max(this.#acked, version)
        this.#ledger.settle()
      },
      // The connection went meanwhile: its end settles everybody, and its subscriptions are announced again.
      () => {},
    )
  }

  /** Returns the filters whose need of a subscription may have changed with this one. */
  #change(filter: string, wanted: boolean): string[] {
    if (wanted) this.#cover.add(filter)
    else this.#cover.delete(filter)
    return this.#cover.narrower(filter)
  }

  #needed(filter: string): boolean {
    return this.#ledger.wanted.has(filter) && !this.#cover.covers(filter)
  }

  #open(nc: NatsConnection, filter: string): void {
    if (this.#subscriptions.has(filter)) return
    const subjects = filterSubjects(filter)
    this.#subscriptions.set(
      filter,
      subjects.map((subject) => this.#on(nc, subject, (data) => this.#take(data, true))),
    )
  }

  #shut(filter: string): void {
    for (const subscription of this.#subscriptions.get(filter) ?? []) subscription.unsubscribe()
    this.#subscriptions.delete(filter)
    if (this.#subscriptions.size > 0) return
    this.#long?.unsubscribe()
    this.#long = undefined
  }

  /** False, and counted, when the message cannot cross now. */
  #admits(message: Message): boolean {
    const { counters } = this.#options
    const waiting = this.#sent - this.#taken + message.payload.length
    if (!this.#up) counters.busDroppedAway++
    else if (waiting > HARD_LIMIT || (waiting > SOFT_LIMIT && message.qos === 0)) counters.busDroppedSlow++
    else return true
    return false
  }

  #send(subject: string, message: Message, shared: readonly string[]): void {
    const { counters } = this.#options
    const data = encodeBusMessage(++this.#seq, this.#sender, shared, message)
    if (!this.#publish(subject, data)) return
    counters.busOut++
    counters.busOutBytes += data.length
  }

  /** False when it does not go out: NATS is away, or would refuse it as too large. */
  #publish(subject: string, data: Uint8Array): boolean {
    const nc = this.#nc
    if (nc === undefined || !this.#up || nc.isClosed()) return false
    if (data.length > (nc.info?.max_payload ?? 0)) {
      this.#options.counters.busDroppedLarge++
      return false
    }
    nc.publish(`${this.#prefix}.${subject}`, data)
    this.#sent += data.length
    if (!this.#probing) this.#probe(nc)
    return true
  }

  /** Asks the server once at a time how far it has come: the client itself would buffer without bound. */
  #probe(nc: NatsConnection): void {
    this.#probing = true
    const upTo = this.#sent
    const done = () => {
      this.#probing = false
      if (this.#up && this.#sent > this.#taken) this.#probe(nc)
    }
    nc.flush().then(
      () => {
        this.#taken = Math.max(this.#taken, upTo)
        done()
      },
      () => {
        this.#probing = false
      },
    )
  }
}

/** Servers without credentials, which the client wants apart. */
function clientOptions(servers: string): NodeConnectionOptions {
  const urls = servers
    .split(',')
    .map((server) => new URL(server.includes('://') ? server.trim() : `nats://${server.trim()}`))
  const first = urls[0]
  const options: NodeConnectionOptions = { servers: urls.map((url) => url.host) }
  if (first?.password) {
    options.user = decodeURIComponent(first.username)
    options.pass = decodeURIComponent(first.password)
  } else if (first?.username) options.token = decodeURIComponent(first.username)
  if (urls.some((url) => url.protocol === 'tls:')) options.tls = {}
  return options
}

function hidePasswords(servers: string): string {
  return servers.replace(/\/\/[^@/,]*@/g, '//***@')
}
