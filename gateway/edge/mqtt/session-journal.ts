/**
 * {@link MqttJournal} on a {@link Store}. Five kinds of records: `s/DEVICE` a session, `d/DEVICE/N` a delivery, `m/N`
 * a message, once however many sessions wait for it, `w/DEVICE` the will of a client that is connected, and `h/DEVICE/N` a
 * QoS 2 message from a client that waits for its PUBREL. N counts up, so that order survives.
 */

import { packControl, unpackControl } from '../../../proto/control.js'
import type { Clock, Message } from '../../ports.js'
import type { MqttJournal } from './edge.js'
import { Delivery } from './in-flight.js'
import type { LastingSession } from './journal.js'
import type { MqttSession } from './session.js'
import {
  type DeliveryRecord,
  type MessageRecord,
  messageOf,
  recordOf,
  recordOfSession,
  restoreSession,
  type SessionRecord,
  type WillRecord,
} from './session-record.js'
import type { Store } from './store.js'
import type { ConnectedWill } from './will.js'

interface StoredMessage {
  readonly number: number
  uses: number
}

export function createSessionJournal(store: Store, clock: Pick<Clock, 'wall'>): MqttJournal {
  return new StoreJournal(store, clock)
}

/** Fixed width, so that keys sort as numbers do. */
const sortable = (number: number): string => number.toString(36).padStart(11, '0')
const willKey = (device: string): string => `w/${device}`
const sessionKey = (device: string): string => `s/${device}`
const deliveryKey = (device: string, number: number): string => `d/${device}\n${sortable(number)}`
const heldKey = (device: string, number: number): string => `h/${device}\n${sortable(number)}`
const messageKey = (number: number): string => `m/${sortable(number)}`

class StoreJournal implements MqttJournal {
  readonly #store: Store
  readonly #clock: Pick<Clock, 'wall'>
  readonly #messages = new Map<Message, StoredMessage>()
  /** The message of each delivery that is stored with one. */
  readonly #used = new Map<Delivery, Message>()
  /** Sessions to write at the next commit: several changes of one turn are one record. */
  readonly #changed = new Set<LastingSession>()
  /** Devices whose will is stored. */
  readonly #wills = new Set<string>()
  #next = 1

  constructor(store: Store, clock: Pick<Clock, 'wall'>) {
    this.#store = store
    this.#clock = clock
  }

  changed(session: LastingSession): void {
    session.kept = true
    this.#changed.add(session)
  }

  received(session: LastingSession): void {
    // The fan-out may be through with a message when its session is not here any more.
    if (session.kept) this.#changed.add(session)
  }

  held(device: string, message: Message): number {
    const place = this.#next++
    this.#store.put(heldKey(device, place), packControl(recordOf(message)))
    return place
  }

  released(device: string, place: number): void {
    this.#store.delete(heldKey(device, place))
  }

  ended(session: LastingSession): void {
    if (!session.kept) return
    session.kept = false
    this.#changed.delete(session)
    this.#store.delete(sessionKey(session.device))
    for (const delivery of session.inFlight) this.delivered(session, delivery)
    for (const delivery of session.queued) this.delivered(session, delivery)
  }

  delivery(session: LastingSession, delivery: Delivery): void {
    if (delivery.stored === 0) delivery.stored = this.#next++
    const { message, qos, retain, ids, stage, packetId } = delivery
    if (message === undefined) this.#release(delivery)
    const number = message === undefined ? 0 : this.#keep(delivery, message)
    const record: DeliveryRecord = { message: number, qos, retain, ids: ids ?? null, stage, packetId }
    this.#store.put(deliveryKey(session.device, delivery.stored), packControl(record))
  }

  delivered(session: LastingSession, delivery: Delivery): void {
    if (delivery.stored === 0) return
    this.#store.delete(deliveryKey(session.device, delivery.stored))
    delivery.stored = 0
    this.#release(delivery)
  }

  will(device: string, will: ConnectedWill | undefined): void {
    if (will !== undefined) {
      this.#wills.add(device)
      this.#store.put(willKey(device), packControl({ message: recordOf(will.message), delay: will.delay }))
    } else if (this.#wills.delete(device)) this.#store.delete(willKey(device))
  }

  commit(): void {
    for (const session of this.#changed) this.#write(session)
    this.#changed.clear()
    this.#store.commit()
  }

  *wills(): Iterable<readonly [device: string, will: ConnectedWill]> {
    const at = this.#clock.wall()
    for (const [key, value] of this.#store.entries('w/')) {
      const device = key.slice(2)
      const { message, delay } = unpackControl(value) as WillRecord
      this.#wills.add(device)
      yield [device, { message: messageOf({ ...message, at }), delay }]
    }
  }

  heldOver(): (readonly [device: string, place: number, message: Message])[] {
    const held = [...this.#store.entries('h/')].map(([key, value]) => {
      const end = key.lastIndexOf('\n')
      const place = Number.parseInt(key.slice(end + 1), 36)
      this.#next = Math.max(this.#next, place + 1)
      return [key.slice(2, end), place, messageOf(unpackControl(value) as MessageRecord)] as const
    })
    return held.sort(([, one], [, other]) => one - other)
  }

  load(create: (device: string) => MqttSession): void {
    const messages = this.#loadMessages()
    const now = this.#clock.wall()
    const sessions = new Map<string, MqttSession>()
    for (const [key, value] of this.#store.entries('s/')) {
      const record = unpackControl(value) as SessionRecord
      const session = create(key.slice(2))
      sessions.set(session.device, session)
      restoreSession(session, record, now)
      session.kept = true
    }
    // Sessions first: a delivery without one is what a former crash left over.
    for (const [key, value] of this.#store.entries('d/')) {
      const end = key.lastIndexOf('\n')
      const device = key.slice(2, end)
      const number = Number.parseInt(key.slice(end + 1), 36)
      this.#next = Math.max(this.#next, number + 1)
      const session = sessions.get(device)
      if (session === undefined) this.#store.delete(key)
      else this.#restoreDelivery(session, number, unpackControl(value) as DeliveryRecord, messages)
    }
    for (const [number, message] of messages) if (!this.#messages.has(message)) this.#store.delete(messageKey(number))
    this.#store.commit()
  }

  #loadMessages(): Map<number, Message> {
    const messages = new Map<number, Message>()
    for (const [key, value] of this.#store.entries('m/')) {
      const number = Number.parseInt(key.slice(2), 36)
      this.#next = Math.max(this.#next, number + 1)
      messages.set(number, messageOf(unpackControl(value) as MessageRecord))
    }
    return messages
  }

  #restoreDelivery(
    session: MqttSession,
    number: number,
    record: DeliveryRecord,
    messages: ReadonlyMap<number, Message>,
  ): void {
    const message = messages.get(record.message)
    const delivery = new Delivery(message, record.qos, record.retain, record.ids ?? undefined, 0)
    delivery.stored = number
    delivery.packetId = record.packetId
    delivery.stage = record.stage
    delivery.sent = record.packetId > 0
    if (message !== undefined) {
      const known = this.#messages.get(message)
      if (known === undefined) this.#messages.set(message, { number: record.message, uses: 1 })
      else known.uses++
      this.#used.set(delivery, message)
    }
    session.restore(delivery)
  }

  #keep(delivery: Delivery, message: Message): number {
    const known = this.#messages.get(message)
    if (known !== undefined) {
      if (!this.#used.has(delivery)) {
        known.uses++
        this.#used.set(delivery, message)
      }
      return known.number
    }
    const number = this.#next++
    this.#messages.set(message, { number, uses: 1 })
    this.#used.set(delivery, message)
    this.#store.put(messageKey(number), packControl(recordOf(message)))
    return number
  }

  #release(delivery: Delivery): void {
    const message = this.#used.get(delivery)
    if (message === undefined) return
    this.#used.delete(delivery)
    const stored = this.#messages.get(message)
    if (stored === undefined || --stored.uses > 0) return
    this.#messages.delete(message)
    this.#store.delete(messageKey(stored.number))
  }

  #write(session: LastingSession): void {
    this.#store.put(sessionKey(session.device), packControl(recordOfSession(session)))
  }
}
