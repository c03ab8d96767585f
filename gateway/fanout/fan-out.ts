/** The fan-out of one gateway: subscriptions, retained messages, deliveries here, and the bus to the other gateways. */

import type { Clock, Fanout, HandedOver, Message, Subscriber, SubscriptionOptions } from '../ports.js'
import { type Bus, type BusHandlers, type BusStatus, createMemoryBus } from './bus.js'
import { createFanoutCounters, type FanoutCounters } from './counters.js'
import { DeliveryQueue, type SliceOptions } from './delivery-queue.js'
import type { Match } from './leaf.js'
import type { Log } from './log.js'
import { NativeRooms, type NativeTopics } from './native-rooms.js'
import { encodePublishFrame } from './publish-frame.js'
import { type RetainedJournal, type RetainedLimits, RetainedStore } from './retained.js'
import type { Target } from './target.js'
import { TopicTree, type TreeLimits } from './topic-tree.js'

export interface FanoutOptions {
  readonly clock: Clock
  readonly log: Log
  /** The way to other gateways; none when absent. */
  readonly bus?: Bus
  /** Made by the caller when a bus counts into it too. */
  readonly counters?: FanoutCounters
  /** Where retained messages outlive the process. */
  readonly journal?: RetainedJournal
  /** The WebSocket server's own topics, where it has some. */
  readonly native?: NativeTopics
  readonly tree?: Partial<TreeLimits>
  readonly retained?: Partial<RetainedLimits>
  readonly slices?: Partial<SliceOptions>
  /** Runs a function on the next event-loop turn; setImmediate when absent. */
  readonly turn?: (fn: () => void) => void
}

/** What the gateway holds besides the seam that edges see. */
export interface LocalFanout extends Fanout {
  readonly counters: FanoutCounters
  readonly retained: RetainedStore
  /** Subscriptions in all. */
  readonly subscriptions: number
  /** The subscriber's socket is gone while its session stays: natively served subscriptions go back to `deliver`. */
  disconnected(subscriber: Subscriber): void
  /** It has a socket again: what can be served natively is. */
  connected(subscriber: Subscriber): void
  status(): BusStatus
  /** Delivers what waits and closes the bus. */
  close(): Promise<void>
}

export function createFanout(options: FanoutOptions): LocalFanout {
  return new TreeFanout(options)
}

const NOBODY: readonly never[] = []

class TreeFanout implements LocalFanout {
  readonly counters: FanoutCounters
  readonly retained: RetainedStore
  readonly #tree: TopicTree<Subscriber>
  readonly #queue: DeliveryQueue
  readonly #bus: Bus
  readonly #native: NativeRooms | undefined

  constructor(options: FanoutOptions) {
    const { clock, log, journal, native } = options
    const counters = options.counters ?? createFanoutCounters()
    const tree = new TopicTree<Subscriber>(options.tree)
    this.counters = counters
    this.#tree = tree
    this.retained = new RetainedStore(clock, counters, log, {
      ...(options.retained && { limits: options.retained }),
      ...(journal && { journal }),
    })
    this.#native = native && new NativeRooms(native, tree)
    this.#queue = new DeliveryQueue(
      {
        turn: options.turn ?? ((fn) => void setImmediate(fn)),
        now: () => clock.now(),
        present: (subscriber) => tree.holds(subscriber),
        toRoom: (room, message) => native?.publish(room, encodePublishFrame(message)),
        counters,
        log,
      },
      options.slices,
    )
    this.#bus = options.bus ?? createMemoryBus()
    this.#bus.attach(this.#handlers())
  }

  get subscriptions(): number {
    return this.#tree.size
  }

  subscribe(subscriber: Subscriber, filter: string, options: SubscriptionOptions, settled: () => void): boolean {
    const existed = this.#tree.subscribe(subscriber, filter, options)
    this.#native?.added(subscriber, filter, options)
    this.#bus.interest(filter, this.#tree.countOf(filter), settled)
    if (wantsRetained(filter, options, existed)) this.#deliverRetained(subscriber, filter, options)
    return existed
  }

  unsubscribe(subscriber: Subscriber, filter: string): boolean {
    this.#native?.removed(subscriber, filter)
    if (!this.#tree.unsubscribe(subscriber, filter)) return false
    this.#bus.interest(filter, this.#tree.countOf(filter), () => {})
    return true
  }

  unsubscribeAll(subscriber: Subscriber): void {
    for (const filter of this.#tree.filtersOf(subscriber)) this.unsubscribe(subscriber, filter)
  }

  disconnected(subscriber: Subscriber): void {
    this.#native?.disconnected(subscriber)
  }

  connected(subscriber: Subscriber): void {
    this.#native?.connected(subscriber)
  }

  publish(published: Message, handedOver?: HandedOver): number {
    this.counters.published++
    const message = published.retain ? this.retained.keep(published) : published
    const match = this.#tree.match(message.topic)
    const picks = match.groups.length === 0 ? undefined : new Map<string, string[]>()
    const chosen = picks === undefined ? NOBODY : pickMembers(match, picks)
    // Whoever waits knows the message that it published, not the stamped one that is retained.
    const done = handedOver === undefined ? undefined : message === published ? handedOver : () => handedOver(published)
    const made = this.#queue.add(message, { direct: match.direct, rooms: match.rooms, chosen }, done)
    this.#bus.publish(message, picks?.size === 0 ? undefined : picks)
    return made
  }

  #handlers(): BusHandlers {
    return {
      message: (message, direct, shared) => this.#fromBus(message, direct, shared),
      retained: (message) => void this.retained.merge(message),
      newestRetained: (topic) => this.retained.newest(topic),
      members: (gateway, filter, members) => this.#tree.setRemoteMembers(gateway, filter, members),
      retainedSet: () => this.retained.all(),
    }
  }

  /** A message from another gateway: delivered here, never handed on. */
  #fromBus(message: Message, direct: boolean, shared: readonly string[]): void {
    if (message.retain) this.retained.merge(message)
    const chosen: Target<Subscriber>[] = []
    for (const filter of shared) {
      const target = this.#tree.groupOf(filter)?.pickLocal()
      if (target === undefined) this.counters.droppedUnshared++
      else chosen.push(target)
    }
    const match = direct ? this.#tree.match(message.topic) : undefined
    this.#queue.add(message, { direct: match?.direct ?? NOBODY, rooms: match?.rooms ?? NOBODY, chosen })
  }

  status(): BusStatus {
    return this.#bus.status()
  }

  async close(): Promise<void> {
    this.#queue.flush()
    await this.#bus.close()
  }

  #deliverRetained(subscriber: Subscriber, filter: string, options: SubscriptionOptions): void {
    const ids = options.id === 0 ? undefined : [options.id]
    this.retained.match(filter, (message) => {
      this.counters.deliveries++
      subscriber.deliver(message, Math.min(options.qos, message.qos) as 0 | 1 | 2, true, ids)
    })
  }
}

/** Retain handling (MQTT 5.0 section 3.8.3.1); shared subscriptions get no retained messages (4.8.2). */
function wantsRetained(filter: string, { retainHandling }: SubscriptionOptions, existed: boolean): boolean {
  if (retainHandling === 2 || (retainHandling === 1 && existed)) return false
  return !filter.startsWith('$share/')
}

/** The local members whose turn it is; groups whose turn is on another gateway go into `picks`. */
function pickMembers(match: Match<Subscriber>, picks: Map<string, string[]>): Target<Subscriber>[] {
  const chosen: Target<Subscriber>[] = []
  for (const group of match.groups) {
    const pick = group.pick()
    if (pick === undefined) continue
    if (typeof pick !== 'string') chosen.push(pick)
    else {
      const filters = picks.get(pick)
      if (filters === undefined) picks.set(pick, [group.filter])
      else filters.push(group.filter)
    }
  }
  return chosen
}
