/**
 * Another gateway that dialed this one: what its subscribers want, and the messages on their way to it. Messages are
 * collected and written once per event-loop turn; what it does not drain is bounded.
 */

import { SluiceError } from '../../proto/errors.js'
import { isTopicFilter, parseShared } from '../../proto/topic.js'
import type { Clock, Message, SubscriptionOptions } from '../ports.js'
import type { BusHandlers } from './bus.js'
import type { FanoutCounters } from './counters.js'
import { OctetWriter } from './octets.js'
import {
  PEER_PROTOCOL,
  type PeerSink,
  readRecords,
  writeAck,
  writeAnswer,
  writeHello,
  writeMessage,
  writeRetained,
  writeSynced,
} from './peer-wire.js'
import type { TopicTree } from './topic-tree.js'

/** The server's side of a WebSocket at `/v1/peer`. */
export interface PeerSocket {
  /** Sends one binary message. The bytes are not changed afterwards. */
  send(bytes: Uint8Array): void
  /** Ends the connection; {@link PeerConnection.closed} follows. */
  close(code: number, reason: string): void
  /** Bytes that wait to be written. */
  readonly buffered: number
}

/** What the server tells about that WebSocket. */
export interface PeerConnection {
  /** A binary message; its bytes need to live only during the call. */
  message(bytes: Uint8Array): void
  closed(): void
}

export interface GuestPort {
  /** Id of this gateway. */
  readonly id: string
  readonly clock: Pick<Clock, 'after'>
  readonly turn: (fn: () => void) => void
  readonly tree: TopicTree<PeerGuest>
  readonly handlers: BusHandlers
  readonly counters: FanoutCounters
  /** Answers a guest's question; empty for nothing to say. */
  readonly answer: (question: Uint8Array) => Uint8Array
  /** The guest said who it is, and may be sent to. */
  readonly arrived: (guest: PeerGuest) => void
  readonly left: (guest: PeerGuest) => void
}

/** Bytes waiting for one gateway above which fire and forget is dropped, and above which the gateway is cut off. */
export const SOFT_LIMIT = 16 * 1024 * 1024
export const HARD_LIMIT = 64 * 1024 * 1024
/** A batch is written early at this size. */
const BATCH = 256 * 1024
/** Pause of the first transfer of retained messages while the guest is slow, in ms. */
const SYNC_PAUSE = 20

const EVERYTHING: SubscriptionOptions = { qos: 2, noLocal: false, retainAsPublished: true, retainHandling: 2, id: 0 }

export class PeerGuest {
  id = ''
  readonly available = true
  /** Serial of the last publish that was queued, so that one that is meant for this gateway twice is sent once. */
  #last = -1
  readonly #groups = new Set<string>()
  readonly #out = new OctetWriter(4096)
  readonly #socket: PeerSocket
  readonly #port: GuestPort
  readonly #sink: PeerSink = {
    hello: (protocol, id) => this.#hello(protocol, id),
    interest: (filter, members) => this.#interest(filter, members),
    mark: (version) => {
      writeAck(this.#out, version)
      this.#written()
    },
    ask: (number, body) => {
      if (this.id === '' || this.#gone) return
      writeAnswer(this.#out, number, this.#port.answer(body))
      this.#written()
    },
    // What only a host sends.
    answer: () => this.#fail(1002, 'a guest sends no ANSWER'),
    ack: () => this.#fail(1002, 'a guest sends no ACK'),
    message: () => this.#fail(1002, 'a guest sends no MESSAGE'),
    retained: () => this.#fail(1002, 'a guest sends no RETAINED'),
    synced: () => this.#fail(1002, 'a guest sends no SYNCED'),
  }
  #scheduled = false
  #gone = false

  constructor(socket: PeerSocket, port: GuestPort) {
    this.#socket = socket
    this.#port = port
  }

  /**
   * Queues a message unless this publish of it was queued already.
   * @param serial tells this publish from every other
   */
  send(serial: number, message: Message, shared: readonly string[] | undefined): void {
    if (this.#last === serial) return
    this.#last = serial
    if (!this.#admits(message)) return
    const before = this.#out.length
    writeMessage(this.#out, message, shared)
    this.#port.counters.busOut++
    this.#port.counters.busOutBytes += this.#out.length - before
    this.#written()
  }

  /** Queues a retained message that nobody there subscribed to, unless the message itself is queued already. */
  sendRetained(serial: number, message: Message): void {
    if (this.#last === serial || !this.#admits(message)) return
    writeRetained(this.#out, message)
    this.#written()
  }

  disconnect(reason: string): void {
    this.#fail(1000, reason)
  }

  /** One message of the guest's. */
  take(bytes: Uint8Array): void {
    if (this.#gone) return
    try {
      readRecords(bytes, this.#sink)
    } catch (error) {
      this.#port.counters.busMalformed++
      this.#fail(1002, String(error))
    }
  }

  /** The connection is gone, and with it everything that the guest wanted. */
  closed(): void {
    if (this.#gone) return
    this.#gone = true
    const { tree, handlers } = this.#port
    for (const filter of tree.filtersOf(this)) tree.unsubscribe(this, filter)
    for (const filter of this.#groups) handlers.members(this.id, filter, 0)
    this.#groups.clear()
    if (this.id !== '') this.#port.left(this)
  }

  #hello(protocol: number, id: string): void {
    if (protocol !== PEER_PROTOCOL) {
      this.#fail(1002, `protocol ${protocol}, not ${PEER_PROTOCOL}`)
      return
    }
    if (this.id !== '' || id === '' || id === this.#port.id) {
      this.#fail(1002, `not a guest's id: '${id}'`)
      return
    }
    this.id = id
    this.#port.arrived(this)
    writeHello(this.#out, this.#port.id)
    this.#written()
    this.#sync(this.#port.handlers.retainedSet()[Symbol.iterator]())
  }

  #interest(filter: string, members: number): void {
    // Records behind the one that ended the connection.
    if (this.#gone) return
    if (this.id === '') {
      this.#fail(1002, 'interest before hello')
      return
    }
    const shared = parseShared(filter)
    if (shared === 'invalid' || !isTopicFilter(filter)) throw new RangeError(`'${filter}' is no filter`)
    try {
      if (members === 0) this.#port.tree.unsubscribe(this, filter)
      else this.#port.tree.subscribe(this, filter, EVERYTHING)
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error
      this.#fail(1008, error.message)
      return
    }
    if (shared === undefined) return
    if (members === 0) this.#groups.delete(filter)
    else this.#groups.add(filter)
    this.#port.handlers.members(this.id, filter, members)
  }

  /** Sends everything that is retained here, a batch per turn, and waits while the guest is slow. */
  #sync(messages: Iterator<Message>): void {
    if (this.#gone) return
    if (this.#socket.buffered > SOFT_LIMIT / 2) {
      this.#port.clock.after(SYNC_PAUSE, () => this.#sync(messages))
      return
    }
    let left = BATCH
    while (left > 0) {
      const next = messages.next()
      if (next.done) {
        writeSynced(this.#out)
        this.#written()
        return
      }
      const before = this.#out.length
      writeRetained(this.#out, next.value)
      left -= this.#out.length - before
    }
    this.#flush()
    this.#port.turn(() => this.#sync(messages))
  }

  #admits(message: Message): boolean {
    if (this.#gone) return false
    const waiting = this.#socket.buffered + this.#out.length + message.payload.length
    if (waiting <= SOFT_LIMIT) return true
    const { counters } = this.#port
    if (message.qos === 0 && !message.retain) counters.busDroppedSlow++
    else if (waiting <= HARD_LIMIT) return true
    else {
      counters.busDroppedCut++
      this.#fail(1008, 'too slow: it did not drain what it subscribed to')
    }
    return false
  }

  #written(): void {
    if (this.#out.length >= BATCH) {
      this.#flush()
      return
    }
    if (this.#scheduled) return
    this.#scheduled = true
    this.#port.turn(() => {
      this.#scheduled = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#out.length > 0 && !this.#gone) this.#socket.send(this.#out.take())
  }

  #fail(code: number, reason: string): void {
    if (this.#gone) return
    this.closed()
    // A close frame's reason holds 123 bytes [RFC 6455, 5.5].
    this.#socket.close(code, reason.slice(0, 100))
  }
}
