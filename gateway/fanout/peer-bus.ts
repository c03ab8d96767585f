/**
 * The bus without a broker: every gateway dials every other one in the routing table. Over the connection that A dialed
 * to B, A tells B what A's subscribers want, and B sends A what is published at B and matches: once per gateway however
 * many subscribers it has, only where somebody subscribed, and never handed on, so there are no loops.
 *
 * Retained messages go to all gateways, since each keeps all of them. A shared subscription's message goes to one
 * gateway: the publishing one chooses it in proportion to the members there (shared-group.ts).
 */

import { createHash, timingSafeEqual } from 'node:crypto'
import type { Clock, Message } from '../ports.js'
import type { Bus, BusHandlers, BusStatus, SharedPicks } from './bus.js'
import type { FanoutCounters } from './counters.js'
import { InterestLedger } from './interest-ledger.js'
import type { Log } from './log.js'
import { type GuestPort, type PeerConnection, PeerGuest, type PeerSocket } from './peer-guest.js'
import { PeerLink, type PeerTls } from './peer-link.js'
import { TopicTree } from './topic-tree.js'

/** Another gateway, as the routing table names it. */
export interface Peer {
  readonly id: string
  /** Its HTTP base URL. */
  readonly url: string
}

export interface PeerBusOptions {
  /** Id of this gateway. */
  readonly id: string
  readonly clock: Clock
  readonly random: () => number
  readonly counters: FanoutCounters
  readonly log: Log
  /** Shared secret of the fleet, sent as a bearer token. */
  readonly token?: string
  readonly tls?: PeerTls
  readonly turn?: (fn: () => void) => void
  /** Answers other gateways' questions; empty for nothing to say. */
  readonly answer?: (question: Uint8Array) => Uint8Array
}

export interface PeerBus extends Bus {
  /** The gateways of a new table. This gateway itself may be among them. */
  setPeers(peers: Iterable<Peer>): void
  /** Another gateway connected at `/v1/peer`; the caller has checked {@link peerAuthorized}. */
  acceptPeer(socket: PeerSocket): PeerConnection
  /** True while no other gateway is connected. */
  readonly alone: boolean
  /**
   * Asks every connected gateway. Resolves with what they said, without the empty answers, when the last one spoke or
   * `ms` are over; undefined when there is nobody to ask.
   */
  ask(question: Uint8Array, ms: number): Promise<Uint8Array[]> | undefined
  /** True when every gateway of the table is connected and has told what it retains. */
  readonly ready: boolean
}

export function createPeerBus(options: PeerBusOptions): PeerBus {
  return new DialingBus(options)
}

/** True when a request's Authorization header carries the fleet's token, or the fleet has none. Takes the same time for every wrong one. */
export function peerAuthorized(header: string | undefined, token: string | undefined): boolean {
  if (token === undefined) return true
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(header ?? ''), digest(`Bearer ${token}`))
}

const NOTHING = new Uint8Array(0)

class DialingBus implements PeerBus {
  readonly #options: PeerBusOptions
  readonly #turn: (fn: () => void) => void
  readonly #tree = new TopicTree<PeerGuest>({ perSubscriber: Number.POSITIVE_INFINITY })
  readonly #guests = new Map<string, PeerGuest>()
  readonly #links = new Map<string, PeerLink>()
  readonly #ledger: InterestLedger
  #handlers: BusHandlers | undefined
  #serial = 0
  #closed = false

  constructor(options: PeerBusOptions) {
    this.#options = options
    this.#turn = options.turn ?? ((fn) => void setImmediate(fn))
    this.#ledger = new InterestLedger({
      clock: options.clock,
      turn: this.#turn,
      announce: (changes, version) => {
        for (const link of this.#links.values()) link.announce(changes, version)
      },
      acknowledged: () => this.#acknowledged(),
    })
  }

  get ready(): boolean {
    for (const link of this.#links.values()) if (!link.upToDate) return false
    return true
  }

  attach(handlers: BusHandlers): void {
    this.#handlers = handlers
  }

  interest(filter: string, members: number, settled: () => void): void {
    this.#ledger.set(filter, members, settled)
  }

  publish(message: Message, picks: SharedPicks | undefined): void {
    if (this.#guests.size === 0) return
    const serial = this.#serial++
    for (const { subscriber } of this.#tree.match(message.topic).direct) {
      subscriber.send(serial, message, picks?.get(subscriber.id))
    }
    for (const [gateway, filters] of picks ?? []) this.#guests.get(gateway)?.send(serial, message, filters)
    if (message.retain) for (const guest of this.#guests.values()) guest.sendRetained(serial, message)
  }

  setPeers(peers: Iterable<Peer>): void {
    if (this.#closed) return
    const wanted = new Map<string, string>()
    for (const { id, url } of peers) if (id !== this.#options.id) wanted.set(id, url)
    for (const [id, link] of this.#links) {
      if (wanted.get(id) === link.url) continue
      this.#links.delete(id)
      link.close()
    }
    for (const [id, url] of wanted) if (!this.#links.has(id)) this.#links.set(id, this.#linkTo(id, url))
    this.#linksChanged()
  }

  get alone(): boolean {
    for (const { connected } of this.#links.values()) if (connected) return false
    return true
  }

  ask(question: Uint8Array, ms: number): Promise<Uint8Array[]> | undefined {
    const links = [...this.#links.values()].filter(({ connected }) => connected)
    if (links.length === 0) return undefined
    return new Promise((resolve) => {
      const answers: Uint8Array[] = []
      let missing = links.length
      const cancel = this.#options.clock.after(ms, () => resolve(answers))
      for (const link of links) {
        link.question(question, (answer) => {
          if (answer !== undefined && answer.length > 0) answers.push(answer)
          if (--missing > 0) return
          cancel()
          resolve(answers)
        })
      }
    })
  }

  acceptPeer(socket: PeerSocket): PeerConnection {
    const guest = new PeerGuest(socket, this.#guestPort())
    return { message: (bytes) => guest.take(bytes), closed: () => guest.closed() }
  }

  status(): BusStatus {
    const peers = Array.from(this.#links.values(), (link) => link.status)
    const missing = peers.filter((peer) => peer.state !== 'connected').map((peer) => peer.id)
    if (missing.length === 0) return { kind: 'peers', state: 'connected', peers }
    const state = missing.length === peers.length ? 'cut' : 'partial'
    return { kind: 'peers', state, peers, reason: `not connected to ${missing.join(', ')}` }
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const link of this.#links.values()) link.close()
    this.#links.clear()
    for (const guest of [...this.#guests.values()]) guest.disconnect('this gateway stops')
  }

  #linksChanged(): void {
    this.#options.counters.busUp = [...this.#links.values()].every(({ connected }) => connected) ? 1 : 0
    this.#ledger.settle()
  }

  /** The oldest version among what the connected gateways know. */
  #acknowledged(): number {
    let known = Number.POSITIVE_INFINITY
    for (const link of this.#links.values()) if (link.connected && link.acked < known) known = link.acked
    return known
  }

  #linkTo(id: string, url: string): PeerLink {
    const { clock, random, token, tls, counters, log } = this.#options
    const port = { id: this.#options.id, clock, random, token, tls, counters, handlers: this.#attached() }
    let connected = false
    const link: PeerLink = new PeerLink(id, url, {
      ...port,
      ledger: () => this.#ledger,
      turn: this.#turn,
      changed: () => {
        if (link.connected !== connected) {
          connected = link.connected
          if (connected) log.info({ gateway: id, url }, 'connected to gateway')
          else if (!this.#closed) log.warn({ gateway: id, url, ...link.status }, 'lost the connection to gateway')
        }
        this.#linksChanged()
      },
    })
    return link
  }

  #guestPort(): GuestPort {
    const { id, clock, counters } = this.#options
    return {
      id,
      clock,
      counters,
      turn: this.#turn,
      tree: this.#tree,
      answer: this.#options.answer ?? (() => NOTHING),
      handlers: this.#attached(),
      arrived: (guest) => {
        // A gateway that comes back before its old connection was seen to be dead.
        this.#guests.get(guest.id)?.disconnect('replaced by a newer connection')
        this.#guests.set(guest.id, guest)
      },
      left: (guest) => {
        if (this.#guests.get(guest.id) === guest) this.#guests.delete(guest.id)
      },
    }
  }

  #attached(): BusHandlers {
    if (this.#handlers === undefined) throw new Error('attach() comes first')
    return this.#handlers
  }
}
