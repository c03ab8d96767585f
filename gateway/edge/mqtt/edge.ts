/** The MQTT edge of a gateway: its listener, its sessions, and what happens as time passes. */

import type { AddressInfo, Server, Socket } from 'node:net'
import { PublishView } from '../../../proto/mqtt/reader.js'
import type { Clock, Fanout, Message, SessionHost } from '../../ports.js'
import { Admission } from '../websocket/admission.js'
import { type Access, type AccessRules, createAccessMaker } from './access.js'
import type { Authenticate, AuthMethod } from './authentication.js'
import { Connection } from './connection.js'
import type { EdgeContext, MqttAdmission, MqttLog, Stayer } from './context.js'
import { MqttCounters } from './counters.js'
import { isDirect, readDirectly } from './direct-socket.js'
import { type HeldJournal, HeldOver } from './held-over.js'
import type { SessionJournal } from './journal.js'
import { LateAnswers } from './late-answers.js'
import { type MqttOptions, readMqttOptions } from './options.js'
import { FlushQueue } from './out-batch.js'
import { MqttSession } from './session.js'
import { SessionTravel } from './session-travel.js'
import { listenTcp } from './tcp-listener.js'
import { type ByteTransport, SocketTransport } from './transport.js'
import type { ConnectedWill } from './will.js'

export interface MqttEdgeSetup {
  readonly host: SessionHost
  readonly fanout: Fanout
  readonly clock: Clock
  readonly log: MqttLog
  readonly options?: Partial<MqttOptions>
  /** Everybody is let in when absent. */
  readonly authenticate?: Authenticate
  readonly methods?: readonly AuthMethod[]
  /** Asked after authentication and before a session is opened; throws SluiceError, or rejects with one, to refuse. */
  readonly admit?: (request: MqttAdmission) => void | Promise<void>
  /** Rules for clients whose verdict brings none of its own. */
  readonly rules?: AccessRules
  /** Where sessions outlive the process; nowhere when absent. */
  readonly journal?: MqttJournal
  /** Unguessable and unique text for clients without an id. */
  readonly newId: () => string
  /** In [0, 1). Math.random when absent: jitter needs no better. */
  readonly random?: () => number
  /** Runs a function after the pending I/O events of this turn; setImmediate when absent. */
  readonly turn?: (fn: () => void) => void
  /** Told of each socket that a listener took: a storm of them brings one a turn. */
  readonly accepted?: () => void
}

/** A {@link SessionJournal} that can also say what it kept. */
export interface MqttJournal extends SessionJournal, HeldJournal {
  /** Fills `create`d sessions with what outlived the process. */
  load(create: (device: string) => MqttSession): void
  /** Wills of the clients that were connected when the process died. */
  wills(): Iterable<readonly [device: string, will: ConnectedWill]>
}

/** What a WebSocket server feeds: see {@link MqttEdge.accept}. */
export interface AcceptedTransport {
  /** Bytes from the client; the edge keeps views of them, so they must not change. */
  receive(bytes: Buffer): void
  /** The transport wrote what it had. */
  drained(): void
  /** The transport is gone. */
  lost(): void
}

export interface MqttEdge {
  readonly counters: MqttCounters
  /**
   * @param port 0 for any free one
   * @param shared several threads listen at this port
   * @returns the actual port
   * @throws SluiceError `conflict` with path `port` when the port is taken
   */
  listen(host: string, port: number, shared?: boolean): Promise<number>
  /** Takes a connection whose bytes come over something else: the messages of a WebSocket, or TLS. */
  accept(transport: ByteTransport): AcceptedTransport
  /** Takes a socket of a listener of the caller's, TLS for instance. */
  acceptSocket(socket: Socket): void
  /** A listener of the caller's could not take a connection. */
  acceptFailed(error: Error): void
  /** Lets other gateways take sessions, and takes them from others. */
  readonly travel: SessionTravel
  /** Ends every connection with Server shutting down, and stops. Sessions that last are left to their journal. */
  close(): Promise<void>
}

export function createMqttEdge(setup: MqttEdgeSetup): MqttEdge {
  return new Edge(setup)
}

/** Sweeps a second: how exact keep-alive, will delay and session expiry are. */
const TICKS_PER_SECOND = 2

/** Wills and QoS 2 messages that a crash held up wait this long after the start, milliseconds: links to other gateways come up first. */
const CRASH_MS = 2000

interface OwnedSocket extends Socket {
  [OWNER]?: Connection
}
const OWNER = Symbol('connection')

class Edge implements MqttEdge, EdgeContext {
  readonly options: MqttOptions
  readonly counters = new MqttCounters()
  readonly host: SessionHost
  readonly fanout: Fanout
  readonly clock: Clock
  readonly log: MqttLog
  readonly journal: MqttJournal | undefined
  readonly #heldOver: HeldOver | undefined
  readonly flush: FlushQueue
  readonly admission: Admission
  readonly view = new PublishView()
  readonly ticksPerSecond = TICKS_PER_SECOND
  readonly authenticate: Authenticate | undefined
  readonly admit: ((request: MqttAdmission) => void | Promise<void>) | undefined
  readonly methods: ReadonlyMap<string, AuthMethod>
  readonly newClientId: () => string
  readonly accessOf: (device: string) => Access
  readonly travel = new SessionTravel(this)
  readonly #lateAnswers: LateAnswers
  readonly #connections = new Set<Connection>()
  readonly #sessions = new Map<string, MqttSession>()
  /** Sessions without a connection. */
  readonly #dormant = new Set<MqttSession>()
  readonly #listeners: Promise<Server>[] = []
  readonly #accepted: (() => void) | undefined
  /** Sockets that are not closed yet: a little more than connections, the rest say goodbye. */
  #sockets = 0
  #lastGone: (() => void) | undefined
  #cancelSweep: () => void
  #closed = false
  tick = 0
  now: number

  constructor(setup: MqttEdgeSetup) {
    this.options = readMqttOptions(setup.options ?? {})
    this.host = setup.host
    this.fanout = setup.fanout
    this.clock = setup.clock
    this.#lateAnswers = new LateAnswers(setup.clock)
    this.log = setup.log
    this.journal = setup.journal
    this.authenticate = setup.authenticate
    this.admit = setup.admit
    this.methods = new Map((setup.methods ?? []).map((method) => [method.name, method]))
    // As long as those of Mosquitto, whose tests look at that: `auto-` and 36 characters.
    this.newClientId = () => `auto-${(setup.newId() + setup.newId() + setup.newId()).slice(0, 36)}`
    this.accessOf = createAccessMaker(setup.rules ?? {})
    const { maxConnections, connectsPerSecond } = this.options
    const limits = {
      ...(maxConnections > 0 && { maxConnections }),
      ...(connectsPerSecond > 0 && { connectsPerSecond }),
    }
    this.admission = new Admission(limits, this.clock, setup.random ?? Math.random)
    this.now = setup.clock.wall()
    this.#accepted = setup.accepted
    this.flush = new FlushQueue(setup.turn ?? ((fn) => void setImmediate(fn)), () => this.#beforeFlush())
    this.#cancelSweep = this.clock.after(1000 / TICKS_PER_SECOND, () => this.#sweep())
    this.#restore()
    this.#heldOver = this.journal && new HeldOver(this.journal, this.fanout)
    this.#heldOver?.start(this.clock, CRASH_MS, () => this.flush.wake())
  }

  async listen(host: string, port: number, shared = false): Promise<number> {
    const listening = listenTcp(host, port, (socket) => this.acceptSocket(socket), {
      shared,
      failed: (error) => this.acceptFailed(error),
    })
    this.#listeners.push(listening)
    const server = await listening
    return (server.address() as AddressInfo).port
  }

  accept(transport: ByteTransport): AcceptedTransport {
    this.now = this.clock.wall()
    const connection = new Connection(this, transport)
    this.#connections.add(connection)
    this.counters.connections++
    return connection
  }

  acceptSocket(socket: OwnedSocket): void {
    if (this.#closed) {
      socket.destroy()
      return
    }
    this.#accepted?.()
    this.#sockets++
    const connection: Connection = this.accept(new SocketTransport(socket)) as Connection
    socket[OWNER] = connection
    // Shared functions: a closure for each event of each idle connection would cost more than its session.
    if (isDirect(socket)) readDirectly(socket, connection)
    else socket.on('data', onData)
    socket.on('drain', onDrain)
    socket.on('close', onClose)
    socket.on('error', onError)
  }

  acceptFailed(error: Error): void {
    this.log.warn({ error: String(error) }, 'the MQTT listener could not take a connection')
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#cancelSweep()
    this.#lateAnswers.close()
    this.#heldOver?.giveAll()
    for (const connection of [...this.#connections]) connection.shutDown()
    this.flush.flush()
    await Promise.all(this.#listeners.map(stopListening))
    if (this.#sockets > 0)
      await new Promise<void>((done) => {
        this.#lastGone = done
      })
  }

  // ---- context

  find(device: string): MqttSession | undefined {
    return this.#sessions.get(device)
  }

  create(device: string): MqttSession {
    const old = this.#sessions.get(device)
    if (old !== undefined) this.discard(old)
    const session = new MqttSession(device, this)
    this.#sessions.set(device, session)
    this.counters.sessions++
    return session
  }

  discard(session: MqttSession): void {
    const { will } = session
    if (this.#sessions.get(session.device) === session) {
      this.#sessions.delete(session.device)
      this.counters.sessions--
    }
    this.#dormant.delete(session)
    if (session.subscriptions !== undefined) this.fanout.unsubscribeAll(session)
    this.journal?.ended(session)
    if (will !== undefined) this.journal?.will(session.device, undefined)
    session.clear()
    // [MQTT-3.1.3-9]: the end of the session does not wait for the delay.
    if (will !== undefined) this.publishWill(will.message)
    this.flush.wake()
  }

  dormant(session: MqttSession): void {
    const late = this.clock.wall() - this.now
    this.now += late
    const { will } = session
    // The end of the connection counted from the last look at the clock: neither may come too early.
    if (session.endsAt > 0) session.endsAt += late
    if (will !== undefined) will.dueAt += late
    if (will !== undefined && (will.delay === 0 || !session.lasting)) {
      session.will = undefined
      this.publishWill(will.message)
    }
    if (!session.lasting) {
      this.discard(session)
      return
    }
    this.#dormant.add(session)
    this.journal?.changed(session)
    this.flush.wake()
  }

  wakeUp(session: MqttSession, settled: () => void): void {
    this.#dormant.add(session)
    for (const [filter, options] of session.subscriptions ?? []) {
      // Retained messages were delivered when the client subscribed.
      this.fanout.subscribe(session, filter, { ...options, retainHandling: 2 }, settled)
    }
  }

  publishWill(will: Message): void {
    this.fanout.publish(will)
  }

  closed(connection: Connection): void {
    if (this.#connections.delete(connection)) this.counters.connections--
  }

  stay(connection: Stayer): boolean {
    return this.#lateAnswers.stay(connection)
  }

  back(device: string): void {
    this.#lateAnswers.end(device)
    this.#heldOver?.give(device)
  }

  socketClosed(): void {
    if (--this.#sockets === 0) this.#lastGone?.()
  }

  // ---- time

  #beforeFlush(): void {
    this.now = this.clock.wall()
    this.journal?.commit()
  }

  #sweep(): void {
    this.tick++
    this.now = this.clock.wall()
    this.#cancelSweep = this.clock.after(1000 / TICKS_PER_SECOND, () => this.#sweep())
    for (const connection of this.#connections) connection.sweep()
    for (const session of this.#dormant) this.#age(session)
  }

  #age(session: MqttSession): void {
    if (session.outlet !== undefined) {
      this.#dormant.delete(session)
      return
    }
    if (session.endsAt <= this.now) {
      this.discard(session)
      return
    }
    const { will } = session
    if (will === undefined || will.dueAt > this.now) return
    session.will = undefined
    this.publishWill(will.message)
    this.journal?.changed(session)
    this.journal?.will(session.device, undefined)
    this.flush.wake()
  }

  #restore(): void {
    this.journal?.load((device) => this.create(device))
    for (const [device, will] of this.journal?.wills() ?? []) this.#restoreWill(device, will)
    for (const session of this.#sessions.values()) this.wakeUp(session, () => {})
  }

  /** The connection ended with the former process: its will is due now, or after its delay. */
  #restoreWill(device: string, { message, delay }: ConnectedWill): void {
    const session = this.#sessions.get(device) ?? this.create(device)
    const dueAt = this.now + Math.max(delay * 1000, CRASH_MS)
    session.will = { message, delay, dueAt }
    // One that does not last is here for its will only.
    if (!session.lasting) session.endsAt = this.now + CRASH_MS
  }
}

async function stopListening(listening: Promise<Server>): Promise<void> {
  // Whoever asked for one that did not come to listen was told so.
  const server = await listening.catch(() => undefined)
  await new Promise<void>((done) => {
    if (server === undefined) done()
    else server.close(() => done())
  })
}

function onData(this: OwnedSocket, chunk: Buffer): void {
  this[OWNER]?.receive(chunk)
}

function onDrain(this: OwnedSocket): void {
  this[OWNER]?.drained()
}

function onClose(this: OwnedSocket): void {
  const connection = this[OWNER]
  connection?.lost()
  connection?.context.socketClosed()
}

function onError(this: OwnedSocket): void {
  // `close` follows.
  this.destroy()
}
