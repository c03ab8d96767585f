import type { Fanout, Message, SubscriptionOptions } from '../../ports.js'
import type { MqttCounters } from './counters.js'
import type { Delivery } from './in-flight.js'
import type { MqttOptions } from './options.js'
import type { Received } from './received.js'
import type { ConnectedWill, PendingWill } from './will.js'

/** What a journal keeps of a session. */
export interface LastingSession {
  readonly device: string
  readonly expiry: number
  readonly endsAt: number
  readonly seenAt: number
  readonly will: PendingWill | undefined
  readonly subscriptions: ReadonlyMap<string, SubscriptionOptions> | undefined
  readonly received: ReadonlyMap<number, Received> | undefined
  readonly inFlight: Iterable<Delivery>
  readonly queued: Iterable<Delivery>
  /** True while a journal keeps it; the journal's own mark. */
  kept: boolean
}

/**
 * Where sessions outlive the process. Calls only note what changed; {@link SessionJournal.commit} makes it durable, and
 * comes before any acknowledgement of the same turn leaves the gateway. Only sessions with an expiry are told of.
 */
export interface SessionJournal {
  /** The session began, or its expiry, subscriptions or will changed. */
  changed(session: LastingSession): void
  /** The session ended: nothing of it is kept. */
  ended(session: LastingSession): void
  /** A delivery was queued or sent, or reached another stage. */
  delivery(session: LastingSession, delivery: Delivery): void
  /** The client has it, or it was given up. */
  delivered(session: LastingSession, delivery: Delivery): void
  /** The set of QoS 2 messages of the client that wait for their PUBREL changed. */
  received(session: LastingSession): void
  /**
   * A QoS 2 message of a client, lasting or not, whose PUBREC leaves: it is published should the process die.
   * @returns its place, which {@link released} asks for
   */
  held(device: string, message: Message): number
  /** The fan-out has it. */
  released(device: string, place: number): void
  /** The will of a client that is connected, lasting or not: it is published should the process die. undefined: none any more. */
  will(device: string, will: ConnectedWill | undefined): void
  commit(): void
}

/** What all sessions of an edge share. */
export interface SessionShared {
  readonly options: MqttOptions
  readonly counters: MqttCounters
  readonly journal: SessionJournal | undefined
  readonly fanout: Fanout
  /** Counts sweeps; cheaper than a clock for keep-alive. */
  readonly tick: number
  readonly ticksPerSecond: number
  /** Wall clock of the turn that runs, milliseconds. */
  readonly now: number
}
