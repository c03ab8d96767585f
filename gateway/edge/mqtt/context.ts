import type { PublishView } from '../../../proto/mqtt/reader.js'
import type { Clock, Message, SessionHost } from '../../ports.js'
import type { Admission } from '../websocket/admission.js'
import type { Access } from './access.js'
import type { Authenticate, AuthMethod } from './authentication.js'
import type { SessionShared } from './journal.js'
import type { FlushQueue } from './out-batch.js'
import type { MqttSession } from './session.js'

/** What the edge says to its operator. A pino logger fits. */
export interface MqttLog {
  debug(details: object, message: string): void
  info(details: object, message: string): void
  warn(details: object, message: string): void
}

/** A device that proved who it is and asks for a session. */
export interface MqttAdmission {
  readonly device: string
  readonly attributes: Readonly<Record<string, string>>
  /** False when it wants its former session. */
  readonly clean: boolean
}

/** A connection that is gone while a worker may still answer its client. */
export interface Stayer {
  readonly session: MqttSession
  forget(): void
}

/** What all connections of one edge share. */
export interface EdgeContext extends SessionShared {
  readonly host: SessionHost
  readonly clock: Clock
  readonly log: MqttLog
  readonly flush: FlushQueue
  /** Asked before anything is done for a CONNECT. */
  readonly admission: Admission
  /** Used only during the call of a sink. */
  readonly view: PublishView
  readonly authenticate: Authenticate | undefined
  /** @throws SluiceError, or rejects with one, to refuse */
  readonly admit: ((request: MqttAdmission) => void | Promise<void>) | undefined
  readonly methods: ReadonlyMap<string, AuthMethod>
  /** What a client may do whose verdict does not say so itself. */
  accessOf(device: string): Access
  newClientId(): string
  find(device: string): MqttSession | undefined
  /** A new session under this id; an old one ends. */
  create(device: string): MqttSession
  /** Ends a session: subscriptions, queue, a will that waits, and what is kept of it. */
  discard(session: MqttSession): void
  /** The session lost its connection; its will, when there is one, waits for its time. */
  dormant(session: MqttSession): void
  /**
   * A session that comes from elsewhere waits here for its client; its subscriptions begin.
   * @param settled called once for each of them, when other gateways know of it
   */
  wakeUp(session: MqttSession, settled: () => void): void
  /** Publishes a will. */
  publishWill(will: Message): void
  /** The connection is gone. */
  closed(connection: object): void
  /** A connection's socket is closed for good. */
  socketClosed(): void
  /**
   * Its session has no expiry, but a worker may still work on what it published: {@link Stayer.forget} is called when
   * the time for that is over, or its client is back.
   * @returns false when the edge itself goes
   */
  stay(connection: Stayer): boolean
  /** The client is back, here or at another gateway: what {@link stay}s of it is forgotten, and what a crash held up of it is published. */
  back(device: string): void
}
