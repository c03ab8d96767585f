/** What is kept of a session beyond its process, or travels to another gateway. Plain data, packed as msgpack. */

import type { Qos } from '../../../proto/mqtt/packet.js'
import type { Message, MessageProperties, SubscriptionOptions } from '../../ports.js'
import type { LastingSession } from './journal.js'
import { DeviceMessage } from './message.js'
import { endOf } from './options.js'
import type { Received } from './received.js'
import type { MqttSession } from './session.js'

export interface SessionRecord {
  /** Seconds. */
  expiry: number
  /** Wall clock; 0 while connected, null for never. */
  endsAt: number | null
  /** Wall clock of the latest connection. */
  seenAt?: number
  subscriptions: [string, SubscriptionOptions][]
  /** Identifiers of QoS 2 messages of the client that wait for PUBREL, with the hash of each. */
  received: [number, number][]
  will?: WillRecord & { dueAt: number }
}

export interface WillRecord {
  message: MessageRecord
  /** Seconds. */
  delay: number
}

export interface DeliveryRecord {
  /** Which of the messages that are kept beside it; 0 for none any more. */
  message: number
  qos: Qos
  retain: boolean
  ids: readonly number[] | null
  stage: number
  packetId: number
}

export interface MessageRecord {
  topic: string
  payload: Uint8Array
  qos: Qos
  retain: boolean
  publisher: string
  properties: MessageProperties | null
  at: number
}

export function recordOfSession(session: LastingSession): SessionRecord {
  const { expiry, endsAt, will, seenAt } = session
  const record: SessionRecord = {
    expiry,
    endsAt: endsAt === Number.POSITIVE_INFINITY ? null : endsAt,
    seenAt,
    subscriptions: [...(session.subscriptions ?? [])],
    received: [...(session.received?.values() ?? [])].filter(isOurs).map(({ packetId, hash }) => [packetId, hash]),
  }
  if (will !== undefined) {
    const { message, delay, dueAt } = will
    record.will = { message: recordOf(message), delay, dueAt }
  }
  return record
}

/**
 * One that a worker has not processed, whose PUBREC is withheld, or which not all subscribers have, comes again and has to
 * reach them then; unless PUBREC left.
 */
function isOurs({ acked, seq, handing, held }: Received): boolean {
  return acked || (seq === 0 && !handing && held === undefined)
}

/** Fills a new session, all but its deliveries. */
export function restoreSession(session: MqttSession, record: SessionRecord, now: number): void {
  session.expiry = record.expiry
  session.seenAt = record.seenAt ?? 0
  const never = record.endsAt === null
  // A session whose connection died with the process begins to age now.
  session.endsAt = never
    ? Number.POSITIVE_INFINITY
    : record.endsAt === 0
      ? endOf(now, record.expiry)
      : (record.endsAt ?? 0)
  session.subscriptions = new Map(record.subscriptions)
  for (const [packetId, hash] of record.received) session.receiving().restore(packetId, hash)
  if (record.will === undefined) return
  const { message, delay, dueAt } = record.will
  session.will = { message: messageOf(message), delay, dueAt }
}

export function recordOf({ topic, payload, qos, retain, publisher, properties, at }: Message): MessageRecord {
  return { topic, payload, qos, retain, publisher, properties: properties ?? null, at }
}

export function messageOf({ topic, payload, qos, retain, publisher, properties, at }: MessageRecord): Message {
  return new DeviceMessage(topic, payload, qos, retain, publisher, properties ?? undefined, at)
}
