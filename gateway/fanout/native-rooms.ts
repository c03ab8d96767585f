/**
 * WebSocket subscribers that a server can reach by its own publish (uWebSockets.js does: 323,000 deliveries a second
 * where a loop over send makes 178,000). A room is a name that the server knows a set of sockets by. Rooms are small,
 * so that one publish is a bounded piece of work and a hot topic can be sliced.
 *
 * A subscription goes into a room when nothing about it differs from its neighbours': QoS 0, no no-local, and no other
 * subscription of the same subscriber that can match the same topic (else it would get the message twice).
 */

import type { Subscriber, SubscriptionOptions } from '../ports.js'
import { filtersOverlap } from './filter-overlap.js'
import type { TopicTree } from './topic-tree.js'

/** What a server with topics of its own offers. Rooms are opaque names, matched exactly. */
export interface NativeTopics {
  /** @returns false when this subscriber cannot be reached natively (another protocol, or not connected now) */
  subscribe(subscriber: Subscriber, room: string): boolean
  unsubscribe(subscriber: Subscriber, room: string): void
  /** Sends an encoded frame to everybody in the room, once. */
  publish(room: string, frame: Uint8Array): void
}

/** Sockets in one room: about 1 ms of writes. */
export const ROOM_SIZE = 256

/** A subscriber with more filters than this is served by the loop: comparing them all would cost more than it saves. */
const MAX_FILTERS = 16

interface Shard {
  readonly name: string
  size: number
}

export class NativeRooms {
  readonly #native: NativeTopics
  readonly #tree: TopicTree<Subscriber>
  readonly #shards = new Map<string, Shard[]>()
  readonly #rooms = new Map<Subscriber, Map<string, Shard>>()
  #made = 0

  constructor(native: NativeTopics, tree: TopicTree<Subscriber>) {
    this.#native = native
    this.#tree = tree
  }

  /** To be called after the tree has the subscription. */
  added(subscriber: Subscriber, filter: string, options: Pick<SubscriptionOptions, 'qos' | 'noLocal'>): void {
    this.#leave(subscriber, filter)
    if (filter.startsWith('$share/')) return
    const many = this.#tree.filterCountOf(subscriber) > MAX_FILTERS
    const others = many ? [...(this.#rooms.get(subscriber)?.keys() ?? [])] : this.#tree.filtersOf(subscriber)
    let alone = !many
    for (const other of others) {
      if (other === filter || other.startsWith('$share/') || !filtersOverlap(filter, other)) continue
      alone = false
      this.#leave(subscriber, other)
    }
    if (!alone || options.qos !== 0 || options.noLocal) return
    this.#enter(subscriber, filter)
  }

  /** To be called before the tree loses the subscription. */
  removed(subscriber: Subscriber, filter: string): void {
    this.#leave(subscriber, filter)
  }

  /** The subscriber's socket is gone: its subscriptions go on in the loop. */
  disconnected(subscriber: Subscriber): void {
    for (const filter of [...(this.#rooms.get(subscriber)?.keys() ?? [])]) this.#leave(subscriber, filter)
  }

  /** The subscriber has a socket again. */
  connected(subscriber: Subscriber): void {
    if (this.#tree.filterCountOf(subscriber) > MAX_FILTERS) return
    for (const filter of this.#tree.filtersOf(subscriber)) {
      const target = this.#tree.targetOf(subscriber, filter)
      if (target !== undefined) this.added(subscriber, filter, { qos: target.qos, noLocal: target.own === undefined })
    }
  }

  #enter(subscriber: Subscriber, filter: string): void {
    const shard = this.#shardFor(filter)
    if (!this.#native.subscribe(subscriber, shard.name)) {
      this.#dropIfEmpty(filter, shard)
      return
    }
    shard.size++
    let rooms = this.#rooms.get(subscriber)
    if (rooms === undefined) {
      rooms = new Map()
      this.#rooms.set(subscriber, rooms)
    }
    rooms.set(filter, shard)
    this.#tree.setRoom(subscriber, filter, shard.name)
  }

  #leave(subscriber: Subscriber, filter: string): void {
    const rooms = this.#rooms.get(subscriber)
    const shard = rooms?.get(filter)
    if (rooms === undefined || shard === undefined) return
    this.#native.unsubscribe(subscriber, shard.name)
    rooms.delete(filter)
    if (rooms.size === 0) this.#rooms.delete(subscriber)
    shard.size--
    this.#dropIfEmpty(filter, shard)
    this.#tree.setRoom(subscriber, filter, undefined)
  }

  #shardFor(filter: string): Shard {
    let shards = this.#shards.get(filter)
    if (shards === undefined) {
      shards = []
      this.#shards.set(filter, shards)
    }
    // The last one is the one being filled; earlier ones are looked at only when it is full.
    const last = shards[shards.length - 1]
    const free = last !== undefined && last.size < ROOM_SIZE ? last : shards.find((shard) => shard.size < ROOM_SIZE)
    if (free !== undefined) return free
    const made = { name: `${this.#made++}`, size: 0 }
    shards.push(made)
    return made
  }

  #dropIfEmpty(filter: string, shard: Shard): void {
    if (shard.size > 0) return
    const shards = this.#shards.get(filter)
    shards?.splice(shards.indexOf(shard), 1)
    if (shards?.length === 0) this.#shards.delete(filter)
  }
}
