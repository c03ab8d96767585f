/**
 * What the gateway keeps of an MQTT client beyond its connection (MQTT 5.0 section 4.1): subscriptions, messages on
 * their way to it, and QoS 2 messages from it. No sockets in here: the connection is an {@link Outlet}.
 */

import { hashBytes } from '../../../proto/hash.js'
import { PacketType, type Qos, Reason } from '../../../proto/mqtt/packet.js'
import { topicMatches } from '../../../proto/topic.js'
import type { Message, Subscriber, SubscriptionOptions } from '../../ports.js'
import { DownlinkAcks } from './downlink-acks.js'
import { ExactlyOnce, type ReceivingSession } from './exactly-once.js'
import { Delivery, DeliveryQueue, InFlight, Stage } from './in-flight.js'
import type { LastingSession, SessionShared } from './journal.js'
import { isExpired } from './message.js'
import type { Outlet } from './outlet.js'
import type { Received } from './received.js'
import type { Replies } from './replies.js'
import type { PendingWill } from './will.js'

export class MqttSession implements Subscriber, LastingSession, ReceivingSession {
  readonly device: string
  readonly #shared: SessionShared
  outlet: Outlet | undefined
  /** Seconds that it outlives its connection. */
  expiry = 0
  /** Wall clock when it ends; 0 while it is connected. */
  endsAt = 0
  /** Wall clock of the latest connection. */
  seenAt = 0
  will: PendingWill | undefined
  /** True while a journal keeps it. */
  kept = false
  /** Where a rule forbids some topics: asked before each delivery. */
  receives: ((topic: string) => boolean) | undefined
  subscriptions: Map<string, SubscriptionOptions> | undefined
  /** QoS 2 messages from the client; undefined while there was none. */
  exactlyOnce: ExactlyOnce | undefined
  #inFlight: InFlight | undefined
  #queue: DeliveryQueue | undefined
  #own: Message | undefined
  #ownId = 0
  /** The client's own QoS 2 messages to itself, by the identifier whose PUBREL they wait for. */
  #deferred: Map<number, Delivery> | undefined
  /** SUBSCRIBEs whose SUBACK is not sent yet: deliveries wait for it. */
  #holds = 0
  replies: Replies | undefined
  /** Id of the worker-side session whose frames are delivered. */
  #upstream = ''
  /** The last of their seqs that came. */
  lastSeq = 0
  #downlink: DownlinkAcks | undefined
  // The last answer of grantedQos.
  #grantTopic: string | undefined
  #grant = -1

  constructor(device: string, shared: SessionShared) {
    this.device = device
    this.#shared = shared
  }

  /** False while a shared subscription should choose somebody else: offline, or slow with a long queue. */
  get available(): boolean {
    const { outlet } = this
    return outlet !== undefined && !outlet.congested && (this.#queue?.size ?? 0) < this.#shared.options.maxQueued / 2
  }

  get lasting(): boolean {
    return this.expiry > 0
  }

  get received(): ReadonlyMap<number, Received> | undefined {
    return this.exactlyOnce?.entries
  }

  /** {@link exactlyOnce}, made now if there was none. */
  receiving(): ExactlyOnce {
    this.exactlyOnce ??= new ExactlyOnce(this, this.#shared)
    return this.exactlyOnce
  }

  get inFlight(): Iterable<Delivery> {
    return this.#inFlight ?? []
  }

  get queued(): Iterable<Delivery> {
    return [...(this.#queue ?? []), ...(this.#deferred?.values() ?? [])]
  }

  deliver(message: Message, qos: Qos, retain: boolean, ids: readonly number[] | undefined): void {
    const { outlet, receives } = this
    if (receives !== undefined && !receives(message.topic)) return
    if (qos === 0 && this.#holds === 0) {
      if (outlet !== undefined) this.#deliverAtMostOnce(outlet, message, retain, ids)
      else if (this.#shared.options.queueQos0) this.#enqueue(new Delivery(message, 0, retain, ids, 0))
      return
    }
    const delivery = new Delivery(message, qos, retain, ids, 0)
    if (message === this.#own && qos > 0) this.#defer(delivery)
    else this.#accept(delivery)
  }

  /** @returns false when this frame came before, on an earlier connection */
  takeSeq(seq: number): boolean {
    if (seq <= this.lastSeq) return false
    this.lastSeq = seq
    this.#downlink ??= new DownlinkAcks()
    this.#downlink.sent(seq)
    return true
  }

  /** The client has a worker's frame, or will never have it. */
  confirm(seq: number): void {
    const upTo = this.#downlink?.confirmed(seq) ?? 0
    if (upTo > 0) this.outlet?.confirmed(upTo)
  }

  /** A worker's frame at QoS 1; `seq` is confirmed when the client acknowledged it. */
  deliverSeq(message: Message, seq: number): void {
    this.#accept(new Delivery(message, 1, false, undefined, seq))
  }

  /** The worker-side session of this connection; with another one the old seqs mean nothing any more. */
  useUpstream(id: string, uplinkAcked: number): void {
    const same = id === this.#upstream
    this.exactlyOnce?.useUpstream(same, uplinkAcked)
    if (same) return
    this.#upstream = id
    this.lastSeq = 0
    this.#downlink = undefined
    for (const delivery of this.#inFlight ?? []) delivery.seq = 0
    for (const delivery of this.#queue ?? []) delivery.seq = 0
  }

  #deliverAtMostOnce(outlet: Outlet, message: Message, retain: boolean, ids: readonly number[] | undefined): void {
    if (outlet.congested) this.#shared.counters.droppedSlow++
    else if (this.#queue !== undefined && this.#queue.size > 0 && this.#queue.peek()?.qos === 0)
      this.#enqueue(new Delivery(message, 0, retain, ids, 0))
    else if (!outlet.sendPublish(message, 0, retain, ids, 0, false)) this.#shared.counters.droppedTooLarge++
  }

  /** Until the next call this message is kept back from its own publisher, to come with {@link releaseOwn}. */
  deferOwn(message: Message | undefined, packetId: number): void {
    this.#own = message
    this.#ownId = packetId
  }

  /** The client completed its exchange. */
  releaseOwn(packetId: number): void {
    const delivery = this.#deferred?.get(packetId)
    if (delivery === undefined) return
    this.#deferred?.delete(packetId)
    this.#accept(delivery)
  }

  #defer(delivery: Delivery): void {
    this.#deferred ??= new Map<number, Delivery>()
    const former = this.#deferred.get(this.#ownId)
    this.#deferred.set(this.#ownId, delivery)
    if (this.lasting) this.#shared.journal?.delivery(this, delivery)
    if (former !== undefined) this.#accept(former)
  }

  #accept(delivery: Delivery): void {
    const { outlet } = this
    const idle = this.#queue === undefined || this.#queue.size === 0
    if (outlet !== undefined && this.#holds === 0 && idle && this.#mayStart(outlet)) this.#start(outlet, delivery)
    else this.#enqueue(delivery)
  }

  #mayStart(outlet: Outlet): boolean {
    const inFlight = this.#inFlight
    return !outlet.congested && (inFlight === undefined || (inFlight.size < outlet.window && !inFlight.exhausted))
  }

  #start(outlet: Outlet, delivery: Delivery): void {
    const message = delivery.message as Message
    this.#inFlight ??= new InFlight()
    const { qos, retain, ids } = delivery
    this.#inFlight.add(delivery)
    const expired = isExpired(message, this.#shared.now)
    if (expired || !outlet.sendPublish(message, qos, retain, ids, delivery.packetId, false)) {
      // [MQTT-3.1.2-25]: dropped as if it had been sent; its identifier is used up, as Mosquitto's tests have it.
      if (expired) this.#shared.counters.droppedExpired++
      else this.#shared.counters.droppedTooLarge++
      this.#inFlight.finish(delivery)
      this.#giveUp(delivery)
      return
    }
    delivery.stage = qos === 1 ? Stage.PUBACK : Stage.PUBREC
    delivery.sent = true
    if (this.lasting) this.#shared.journal?.delivery(this, delivery)
  }

  #giveUp(delivery: Delivery): void {
    if (delivery.seq > 0) this.confirm(delivery.seq)
    if (this.lasting) this.#shared.journal?.delivered(this, delivery)
  }

  /** Bounded: a connected client that is this far behind is cut off; for an absent one the newest messages are dropped. */
  #enqueue(delivery: Delivery): void {
    this.#queue ??= new DeliveryQueue()
    const { maxQueued, maxQueuedBytes } = this.#shared.options
    const queue = this.#queue
    if (queue.size >= maxQueued || queue.bytes >= maxQueuedBytes) this.#dropExpired(queue)
    if (queue.size >= maxQueued || queue.bytes >= maxQueuedBytes) {
      if (delivery.qos > 0) this.#shared.counters.droppedQueueFull++
      else this.#shared.counters.droppedSlow++
      if (this.outlet !== undefined && delivery.qos > 0) this.outlet.overflow()
      return
    }
    queue.push(delivery)
    if (this.lasting && delivery.qos > 0) this.#shared.journal?.delivery(this, delivery)
  }

  #dropExpired(queue: DeliveryQueue): void {
    const { now, counters, journal } = this.#shared
    queue.filter((delivery) => {
      const expired = delivery.message !== undefined && isExpired(delivery.message, now)
      if (!expired) return true
      counters.droppedExpired++
      if (this.lasting) journal?.delivered(this, delivery)
      return false
    })
  }

  /** Sends what waits, as far as the window and the socket allow. */
  pump(): void {
    const { outlet } = this
    const queue = this.#queue
    if (outlet === undefined || queue === undefined || this.#holds > 0) return
    while (queue.size > 0) {
      const next = queue.peek() as Delivery
      if (next.qos === 0) {
        queue.shift()
        const { message, retain, ids } = next
        if (outlet.congested) this.#shared.counters.droppedSlow++
        else if (message !== undefined) outlet.sendPublish(message, 0, retain, ids, 0, false)
      } else {
        if (!this.#mayStart(outlet)) return
        queue.shift()
        this.#start(outlet, next)
      }
    }
    this.#queue = undefined
  }

  /** Deliveries wait until {@link release}: SUBACK comes before the messages of its subscriptions. */
  hold(): void {
    this.#holds++
  }

  release(): void {
    this.#holds--
    if (this.#holds === 0) this.pump()
  }

  /** A connection takes over: everything unacknowledged goes out again with its identifiers [MQTT-4.4.0-1]. */
  attach(outlet: Outlet): void {
    this.outlet = outlet
    this.endsAt = 0
    this.seenAt = this.#shared.now
    this.#holds = 0
    for (const delivery of this.#inFlight ?? []) this.#redeliver(outlet, delivery)
    this.pump()
  }

  #redeliver(outlet: Outlet, delivery: Delivery): void {
    const { message, qos, retain, ids, packetId } = delivery
    if (delivery.stage === Stage.PUBCOMP || message === undefined) outlet.acknowledge(PacketType.PUBREL, packetId)
    else if (!outlet.sendPublish(message, qos, retain, ids, packetId, delivery.sent)) {
      this.#inFlight?.finish(delivery)
      this.#giveUp(delivery)
    }
  }

  /** The connection is gone. Frames of workers go back to the worker's session, which sends them again. */
  detach(endsAt: number): void {
    this.outlet = undefined
    this.endsAt = endsAt
    this.#holds = 0
    this.exactlyOnce?.detach()
  }

  /** @returns a reason other than 0 when the client broke the protocol; so do the next two */
  puback(packetId: number): number {
    return this.#finish(packetId, Stage.PUBACK)
  }

  pubcomp(packetId: number): number {
    return this.#finish(packetId, Stage.PUBCOMP)
  }

  #finish(packetId: number, stage: number): number {
    const delivery = this.#inFlight?.find(packetId)
    // Unknown: it may repeat one from before a reconnect.
    if (delivery === undefined) return Reason.SUCCESS
    if (delivery.stage !== stage) return Reason.PROTOCOL_ERROR
    this.#done(delivery)
    return Reason.SUCCESS
  }

  #done(delivery: Delivery): void {
    this.#inFlight?.finish(delivery)
    if (delivery.seq > 0) this.confirm(delivery.seq)
    if (this.lasting) this.#shared.journal?.delivered(this, delivery)
    this.pump()
  }

  /** @param reason 0x80 and above: the client refuses the message, and that is the end of it [MQTT-4.3.3-4] */
  pubrec(packetId: number, reason: number): number {
    const delivery = this.#inFlight?.find(packetId)
    if (delivery !== undefined) {
      if (delivery.qos !== 2) return Reason.PROTOCOL_ERROR
      if (reason >= 0x80) {
        this.#done(delivery)
        return Reason.SUCCESS
      }
      delivery.stage = Stage.PUBCOMP
      delivery.message = undefined
      if (this.lasting) this.#shared.journal?.delivery(this, delivery)
    }
    if (reason < 0x80) this.outlet?.acknowledge(PacketType.PUBREL, packetId)
    return Reason.SUCCESS
  }

  /** The subscriptions changed. */
  forgetGrants(): void {
    this.#grantTopic = undefined
  }

  /** @returns the QoS of the best subscription that matches, -1 for none */
  grantedQos(topic: string): number {
    if (topic !== this.#grantTopic) {
      this.#grantTopic = topic
      this.#grant = this.#findGrant(topic)
    }
    return this.#grant
  }

  #findGrant(topic: string): number {
    let granted = -1
    for (const [filter, { qos }] of this.subscriptions ?? []) {
      if (qos <= granted || filter.startsWith('$share/')) continue
      if (topicMatches(filter, topic)) granted = qos
    }
    return granted
  }

  /** Puts back what a journal kept. */
  restore(delivery: Delivery): void {
    if (delivery.packetId > 0) {
      this.#inFlight ??= new InFlight()
      this.#inFlight.restore(delivery)
    } else {
      this.#queue ??= new DeliveryQueue()
      this.#queue.push(delivery)
    }
  }

  /** Takes up deliveries of another gateway, oldest first; what came here meanwhile goes behind them, but for what is in both. */
  takeUp(deliveries: readonly Delivery[]): void {
    const { journal } = this.#shared
    const came = [...(this.#queue ?? [])]
    this.#queue = undefined
    const both = new Map<string, number>()
    for (const delivery of deliveries) {
      this.restore(delivery)
      if (this.lasting) journal?.delivery(this, delivery)
      const key = keyOf(delivery)
      if (key !== '') both.set(key, (both.get(key) ?? 0) + 1)
    }
    for (const delivery of came) {
      if (this.lasting) journal?.delivered(this, delivery)
      const twice = both.get(keyOf(delivery)) ?? 0
      if (twice > 0) both.set(keyOf(delivery), twice - 1)
      else this.#enqueue(delivery)
    }
  }

  /** Drops everything on its way; the subscriptions are the caller's to end. */
  clear(): void {
    this.#queue = undefined
    this.#inFlight = undefined
    this.#deferred = undefined
    this.exactlyOnce?.entries.clear()
    this.exactlyOnce = undefined
    this.subscriptions = undefined
    this.will = undefined
  }
}

/** What tells one message from others on its way over two gateways; empty for one that is only an identifier any more. */
function keyOf({ message, qos }: Delivery): string {
  if (message === undefined) return ''
  const { publisher, at, topic, payload } = message
  return `${qos} ${at} ${hashBytes(payload, payload.length, 0)} ${payload.length} ${publisher} ${topic}`
}
