/**
 * The bus over NATS, for gateways on several machines. What local subscribers want becomes NATS subscriptions, so the
 * server sends a message only to gateways that have a subscriber; a gateway gets nothing back of what it published
 * itself (`noEcho`), and hands on nothing that came from the bus: no loops. One connection carries everything in order,
 * so the order per publisher and topic holds.
 *
 * While NATS is away, local fan-out goes on. QoS 0 that would cross is dropped and counted, QoS 1, 2 and retained messages
 * wait (nats-lane.ts), shared groups choose among local members. Everything comes back by itself with the connection.
 */

import type { NatsConnection, NodeConnectionOptions, Subscription } from '@nats-io/transport-node'
import type { Clock, Message } from '../ports.js'
import type { Bus, BusHandlers, BusStatus, SharedPicks } from './bus.js'
import type { FanoutCounters } from './counters.js'
import { InterestLedger } from './interest-ledger.js'
import type { Log } from './log.js'
import { NatsConnector } from './nats-connector.js'
import { NatsGroups } from './nats-groups.js'
import { NatsInterest } from './nats-interest.js'
import { NatsLane } from './nats-lane.js'
import type { OutboxLimits } from './nats-outbox.js'
import { MAX_WHOLE, PIECE_VERSION, PieceJoiner, splitRecord } from './nats-pieces.js'
import { ASK_SUBJECT, answerSubject, NatsQuestions } from './nats-questions.js'
import { NatsRetained } from './nats-retained.js'
import { encodeLevel, topicSubject } from './nats-subject.js'
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
  /** What may wait while NATS is away. */
  readonly outbox?: Partial<OutboxLimits>
  readonly turn?: (fn: () => void) => void
  /** Answers other gateways' questions; empty for nothing to say. */
  readonly answer?: (question: Uint8Array) => Uint8Array
}

export interface NatsBus extends Bus {
  /** True while no other gateway is there, or NATS is away. */
  readonly alone: boolean
  /**
   * Asks every gateway that is there. Resolves with what they said, without the empty answers, when the last one spoke or
   * `ms` are over; undefined when there is nobody to ask, or NATS is away.
   */
  ask(question: Uint8Array, ms: number): Promise<Uint8Array[]> | undefined
}

export function createNatsBus(options: NatsBusOptions): NatsBus {
  return new SubjectBus(options)
}

/** Bytes on their way to NATS above which fire and forget is dropped, and the rest waits. */
const SOFT_LIMIT = 16 * 1024 * 1024
/** Longest that {@link Bus.close} waits for NATS, in ms. */
const CLOSE_MS = 1000
/** Least time between two warnings about messages that are too large, in ms. */
const WARN_EVERY_MS = 10_000
const NO_FILTERS: readonly string[] = []
const NOTHING = new Uint8Array(0)

class SubjectBus implements NatsBus {
  readonly #options: NatsBusOptions
  readonly #prefix: string
  readonly #sender: string
  /** What must not be lost has numbers of its own: others may be dropped, and must not push it out of a receiver's window. */
  readonly #keptSender: string
  readonly #ledger: InterestLedger
  readonly #interest: NatsInterest
  readonly #window = new ReplayWindow()
  readonly #joiner = new PieceJoiner()
  readonly #questions: NatsQuestions
  readonly #lane: NatsLane
  readonly #connector: NatsConnector
  #handlers: BusHandlers | undefined
  #groups: NatsGroups | undefined
  #retained: NatsRetained | undefined
  #seq = 0
  #keptSeq = 0
  #transfers = 0
  /** Last version of the interest that the server has. */
  #acked = 0
  /** Bytes published, and how many of them the server has surely taken. */
  #sent = 0
  #taken = 0
  #probing = false
  /** Rises with every connection. */
  #era = 0
  /** When the server was heard of last. */
  #heardAt = 0
  /** From when on this gateway missed what others published; undefined while it cannot have missed anything. */
  #awaySince: number | undefined
  #warnedAt = Number.NEGATIVE_INFINITY

  constructor(options: NatsBusOptions) {
    this.#options = options
    this.#prefix = options.prefix ?? 'sluice'
    this.#sender = `${options.id}/${Math.floor(options.random() * 2 ** 48).toString(36)}`
    this.#keptSender = `${this.#sender}/k`
    this.#ledger = new InterestLedger({
      clock: options.clock,
      turn: options.turn ?? ((fn) => void setImmediate(fn)),
      announce: (changes, version) => this.#announce(changes, version),
      acknowledged: () => (this.#connector.up ? this.#acked : Number.POSITIVE_INFINITY),
    })
    this.#interest = new NatsInterest(
      () => this.#ledger.wanted,
      (subject) => this.#on(subject, (data) => this.#take(data, true)),
    )
    this.#questions = new NatsQuestions({
      id: options.id,
      clock: options.clock,
      others: () => this.#groups?.size ?? 0,
      answer: options.answer ?? (() => NOTHING),
      publish: (subject, data) => void this.#publish(subject, data),
    })
    const { clock, counters, log, outbox } = options
    counters.busUp = 0
    const publish = (subject: string, data: Uint8Array) => this.#sendKept(subject, data)
    this.#lane = new NatsLane({ clock, counters, log, publish, ...(outbox && { limits: outbox }) })
    this.#connector = new NatsConnector({
      name: `sluice ${options.id}`,
      servers: options.servers,
      connection: options.connection,
      clock,
      log,
      opened: () => this.#listen(),
      connected: (nc) => this.#connected(nc),
      disconnected: () => this.#disconnected(),
      failed: () => {
        // Others may publish from now on.
        this.#awaySince ??= clock.now()
      },
    })
  }

  attach(handlers: BusHandlers): void {
    const { id, clock, counters, log } = this.#options
    this.#handlers = handlers
    this.#groups = new NatsGroups({
      id,
      clock,
      handlers,
      tell: (news) => void this.#publish('g', news),
      spoke: (gateway, awayMs) => this.#lane.spoke(gateway, awayMs),
      left: (gateway) => this.#lane.left(gateway),
    })
    this.#retained = new NatsRetained({ bucket: `${this.#prefix}_retained`, clock, handlers, counters, log })
    void this.#connector.connect()
  }

  interest(filter: string, members: number, settled: () => void): void {
    this.#ledger.set(filter, members, settled)
  }

  publish(message: Message, picks: SharedPicks | undefined): void {
    if (message.retain) this.#retained?.put(message)
    const kept = message.qos > 0 || message.retain
    if (!kept && !this.#admits()) return
    this.#send(topicSubject(message.topic), message, NO_FILTERS, kept)
    for (const [gateway, filters] of picks ?? []) this.#send(`to.${encodeLevel(gateway)}`, message, filters, kept)
  }

  get alone(): boolean {
    return this.#questions.alone
  }

  ask(question: Uint8Array, ms: number): Promise<Uint8Array[]> | undefined {
    return this.#questions.ask(question, ms)
  }

  status(): BusStatus {
    const peers = Array.from(this.#groups?.neighbours ?? [], (id) => ({ id, state: 'connected' as const }))
    const queued = this.#lane.waiting
    if (!this.#connector.up) {
      const reason = `NATS is away (${this.#connector.reason}): nothing crosses to other gateways, local fan-out goes on`
      return { kind: 'nats', state: 'cut', peers, reason, queued }
    }
    const reason = this.#retained?.reason
    if (reason === undefined) return { kind: 'nats', state: 'connected', peers, queued }
    return { kind: 'nats', state: 'partial', peers, reason, queued }
  }

  async close(): Promise<void> {
    this.#groups?.close()
    await this.#connector.close((nc) => this.#settle(nc))
    this.#retained?.disconnected()
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

  #connected(nc: NatsConnection): void {
    const { clock, counters, log } = this.#options
    const now = clock.now()
    const awayMs = this.#awaySince === undefined ? undefined : Math.round(now - this.#awaySince)
    this.#era++
    this.#probing = false
    this.#heardAt = now
    counters.busUp = 1
    this.#sent = this.#taken = 0
    this.#acked = 0
    this.#announce(this.#ledger.wanted, this.#ledger.version)
    this.#groups?.connected(awayMs)
    this.#retained?.connected(nc)
    this.#lane.connected()
    log.info({ server: nc.getServer(), awayMs }, 'connected to NATS')
  }

  #disconnected(): void {
    this.#awaySince = this.#heardAt
    this.#options.counters.busUp = 0
    this.#groups?.disconnected()
    this.#retained?.disconnected()
    this.#lane.disconnected()
    this.#ledger.settle()
  }

  /** The subjects that every gateway hears. */
  #listen(): void {
    this.#interest.reset()
    this.#on('g', (data) => this.#groups?.heard(data))
    this.#on(ASK_SUBJECT, (data) => this.#questions.heardQuestion(data))
    this.#on(answerSubject(this.#options.id), (data) => this.#questions.heardAnswer(data))
    this.#on(`to.${encodeLevel(this.#options.id)}`, (data) => this.#take(data, false))
  }

  #on(subject: string, take: (data: Uint8Array) => void): Subscription {
    const { clock, counters, log } = this.#options
    return (this.#connector.client as NatsConnection).subscribe(`${this.#prefix}.${subject}`, {
      callback: (error, msg) => {
        if (error) return
        this.#heardAt = clock.now()
        try {
          const whole = msg.data[0] === PIECE_VERSION ? this.#joiner.take(msg.data) : msg.data
          if (whole !== undefined) take(whole)
        } catch (malformed) {
          if (counters.busMalformed++ % 1000 === 0) {
            log.warn({ subject: msg.subject, error: String(malformed) }, 'not understood, from NATS')
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
    if (sender === this.#sender || sender === this.#keptSender || !this.#window.accept(sender, seq)) return
    counters.busIn++
    this.#handlers?.message(message, direct, direct ? NO_FILTERS : shared)
  }

  /** Also while NATS is away: the client tells the server of its subscriptions when it is back. */
  #announce(changes: ReadonlyMap<string, number>, version: number): void {
    const groups: [string, number][] = []
    const plain: [string, number][] = []
    for (const change of changes) (change[0].startsWith('$share/') ? groups : plain).push(change)
    const nc = this.#connector.client
    const touched = nc === undefined ? [] : this.#interest.open(plain)
    this.#groups?.change(groups)
    if (nc === undefined || !this.#connector.up) {
      this.#interest.shut(touched)
      return
    }
    nc.flush().then(
      () => {
        // Only now: what the server sent for an old subscription before it had the new one has arrived by now.
        this.#interest.shut(touched)
        this.#acked = Math.max(this.#acked, version)
        this.#ledger.settle()
      },
      // The connection went meanwhile: its end settles everybody, and its subscriptions are announced again.
      () => {},
    )
  }

  get #full(): boolean {
    return this.#sent - this.#taken > SOFT_LIMIT
  }

  /** False, and counted, when a message that may be lost cannot cross now. */
  #admits(): boolean {
    const { counters } = this.#options
    if (!this.#connector.up) counters.busDroppedAway++
    else if (this.#full) counters.busDroppedSlow++
    else return true
    return false
  }

  #send(subject: string, message: Message, shared: readonly string[], kept: boolean): void {
    const seq = kept ? ++this.#keptSeq : ++this.#seq
    const data = encodeBusMessage(seq, kept ? this.#keptSender : this.#sender, shared, message)
    if (data.length > MAX_WHOLE) this.#tooLarge({ topic: message.topic, bytes: data.length, most: MAX_WHOLE })
    else if (kept) this.#lane.send(subject, data)
    else if (this.#publish(subject, data)) this.#count(data)
  }

  /** False while too much is under way, or NATS is away. */
  #sendKept(subject: string, data: Uint8Array): boolean {
    if (this.#full || !this.#publish(subject, data)) return false
    this.#count(data)
    return true
  }

  #count(data: Uint8Array): void {
    const { counters } = this.#options
    counters.busOut++
    counters.busOutBytes += data.length
  }

  /** False when NATS is away. What it would refuse as too large goes in pieces. */
  #publish(subject: string, data: Uint8Array): boolean {
    const nc = this.#connector.client
    if (nc === undefined || !this.#connector.up) return false
    const most = nc.info?.max_payload ?? 0
    const pieces = data.length <= most ? [data] : splitRecord(data, most, this.#sender, ++this.#transfers)
    if (pieces === undefined) this.#tooLarge({ subject, bytes: data.length, most })
    else if (pieces.length > 1) this.#options.counters.busPieced++
    for (const piece of pieces ?? []) nc.publish(`${this.#prefix}.${subject}`, piece)
    this.#sent += data.length
    if (!this.#probing) this.#probe(nc)
    return true
  }

  #tooLarge(what: { topic?: string; subject?: string; bytes: number; most: number }): void {
    const { counters, clock, log } = this.#options
    counters.busDroppedLarge++
    if (clock.now() - this.#warnedAt < WARN_EVERY_MS) return
    this.#warnedAt = clock.now()
    log.warn(what, 'too large to cross NATS: other gateways do not get it')
  }

  /** Asks the server once at a time how far it has come: the client itself would buffer without bound. */
  #probe(nc: NatsConnection): void {
    this.#probing = true
    const era = this.#era
    const upTo = this.#sent
    const { mark } = this.#lane
    nc.flush().then(
      () => {
        if (era !== this.#era) return
        this.#probing = false
        this.#taken = Math.max(this.#taken, upTo)
        this.#heardAt = this.#options.clock.now()
        this.#lane.taken(mark)
        if (this.#connector.up && !this.#probing && this.#sent > this.#taken) this.#probe(nc)
      },
      () => {
        if (era === this.#era) this.#probing = false
      },
    )
  }
}
