/**
 * Sessions that follow their client to another gateway: the former one gives what it has, the new one takes it up before
 * CONNACK. The new one subscribes first and asks for the queue then, so that no message falls between the two; the former one
 * forgets the session when it is told that all of it arrived.
 *
 *     new: head? ──► former: record        new: subscribes
 *     new: queue? ─► former: deliveries    new: keeps them, without what came to both
 *     new: done ───► former: forgets
 */

import { packControl, unpackControl } from '../../../proto/control.js'
import type { Message } from '../../ports.js'
import type { EdgeContext } from './context.js'
import { Delivery } from './in-flight.js'
import { Replies } from './replies.js'
import {
  type DeliveryRecord,
  type MessageRecord,
  messageOf,
  recordOf,
  recordOfSession,
  restoreSession,
  type SessionRecord,
} from './session-record.js'

/** What {@link SessionTravel.head} packs. */
export interface Head {
  readonly record: SessionRecord
  /** Wall clock of the client's latest connection. */
  readonly seenAt: number
  /** Where answers to requests go that are under way; a former gateway of an earlier version has none. */
  readonly replies: readonly ReplyRecord[]
}

type ReplyRecord = readonly [topic: string, responseTopic: string, correlation: Uint8Array | null]

/** Bytes of response topics and correlation data that travel with a session; older ones stay behind. */
const MAX_REPLIES = 256 * 1024

/** @throws SluiceError when it cannot be read */
export function readHead(packed: Uint8Array): Head {
  const record = unpackControl(packed) as SessionRecord & { replies?: readonly ReplyRecord[] }
  return { record, seenAt: record.seenAt ?? 0, replies: record.replies ?? [] }
}

interface Queue {
  readonly messages: readonly MessageRecord[]
  /** `message` is a place in `messages`, from 1. */
  readonly deliveries: readonly DeliveryRecord[]
}

export class SessionTravel {
  readonly #context: EdgeContext

  constructor(context: EdgeContext) {
    this.#context = context
  }

  /**
   * The client is at another gateway, and goes on with its session there.
   * @returns a packed record of the session but for its queue; undefined when there is none that lasts
   */
  head(device: string): Uint8Array | undefined {
    this.#context.back(device)
    const session = this.#context.find(device)
    if (session === undefined || !session.lasting) return undefined
    session.outlet?.takenOver(false)
    // Section 3.1.3.2.2: who is back before the delay is over has no will to be sent.
    if (session.will !== undefined && session.will.delay > 0) {
      session.will = undefined
      this.#context.journal?.changed(session)
    }
    return packControl({ ...recordOfSession(session), replies: replyRecords(session.replies) })
  }

  /** What is on its way to the client, packed. */
  queue(device: string): Uint8Array {
    const session = this.#context.find(device)
    const places = new Map<Message, number>()
    const deliveries: DeliveryRecord[] = []
    for (const { message, qos, retain, ids, stage, packetId } of [
      ...(session?.inFlight ?? []),
      ...(session?.queued ?? []),
    ]) {
      if (message !== undefined && !places.has(message)) places.set(message, places.size + 1)
      const place = message === undefined ? 0 : (places.get(message) as number)
      deliveries.push({ message: place, qos, retain, ids: ids ?? null, stage, packetId })
    }
    const queue: Queue = { messages: [...places.keys()].map(recordOf), deliveries }
    return packControl(queue)
  }

  /** The session is at another gateway, or the client wants none of it. One that is in use again stays. */
  forget(device: string): void {
    const session = this.#context.find(device)
    if (session !== undefined && session.outlet === undefined) this.#context.discard(session)
  }

  /** What was taken so far is not all of it: the former gateway keeps it. */
  abandon(device: string): void {
    const session = this.#context.find(device)
    if (session !== undefined) session.will = undefined
    this.forget(device)
  }

  /** The client begins anew at another gateway: what it had here ends, its connection too. */
  end(device: string): void {
    this.#context.back(device)
    this.#context.find(device)?.outlet?.takenOver(true)
    this.forget(device)
  }

  /**
   * Takes up what {@link head} of another gateway gave; resolves when its subscriptions are known everywhere.
   * @returns undefined when a later session of the client is here already
   */
  takeHead(device: string, head: Head): Promise<void> | undefined {
    const context = this.#context
    const { record } = head
    const own = context.find(device)
    if (own !== undefined && (own.outlet !== undefined || own.seenAt > head.seenAt)) return undefined
    const session = context.create(device)
    restoreSession(session, record, context.now)
    if (head.replies.length > 0) session.replies = repliesOf(head.replies)
    const count = record.subscriptions.length
    return new Promise((resolve) => {
      // One more than there are: a bus may answer at once.
      let open = count + 1
      const settled = (): void => {
        if (--open === 0) resolve()
      }
      context.wakeUp(session, settled)
      settled()
      context.journal?.changed(session)
    })
  }

  /** Takes up what {@link queue} gave. All of the session is safe when this returns. */
  takeQueue(device: string, packed: Uint8Array): void {
    const session = this.#context.find(device)
    const { messages, deliveries } = unpackControl(packed) as Queue
    const restored = messages.map(messageOf)
    session?.takeUp(
      deliveries.map(({ message, qos, retain, ids, stage, packetId }) => {
        const delivery = new Delivery(restored[message - 1], qos, retain, ids ?? undefined, 0)
        delivery.stage = stage
        delivery.packetId = packetId
        delivery.sent = packetId > 0
        return delivery
      }),
    )
    this.#context.journal?.commit()
  }
}

/** The latest ones, as many as fit. */
function replyRecords(replies: Replies | undefined): ReplyRecord[] {
  const records: ReplyRecord[] = []
  let bytes = 0
  for (const [topic, reply] of [...(replies?.entries() ?? [])].reverse()) {
    bytes += topic.length + reply.topic.length + (reply.correlation?.length ?? 0)
    if (bytes > MAX_REPLIES) break
    records.push([topic, reply.topic, reply.correlation ?? null])
  }
  return records.reverse()
}

function repliesOf(records: readonly ReplyRecord[]): Replies {
  const replies = new Replies()
  for (const [asked, topic, correlation] of records) {
    replies.remember(asked, { topic, correlation: correlation === null ? undefined : Uint8Array.from(correlation) })
  }
  return replies
}
