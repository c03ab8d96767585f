/**
 * One bridge: mirrors chosen topics to and from an upstream MQTT broker. Here it is a subscriber of the fan-out like any
 * other, and publishes like any other.
 *
 *     fan-out ─► deliver ─► queue ─► upstream      what came from upstream never goes back there: no-local on this side
 *             ◄───────── publish ◄─ upstream      what was sent upstream does not come back: no-local on that side
 *                                                 (MQTT 5), or a memory of what was sent (3.1.1)
 */

import type { IPublishPacket } from 'mqtt'
import type { Clock, Fanout, Message, Subscriber } from '../ports.js'
import type { BridgeOptions } from './bridge-options.js'
import { BridgeRule } from './bridge-rule.js'
import { EchoMemory } from './echo-memory.js'
import { type OutMessage, OutQueue } from './out-queue.js'
import { type Connect, fromPacket, toPacket, Upstream } from './upstream.js'

export interface BridgeLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

export interface BridgePort {
  readonly fanout: Fanout
  readonly clock: Clock
  readonly log: BridgeLog
  /** 0 to 1. */
  readonly random: () => number
  readonly connect: Connect
}

/** A bridge as `/v1/status` and `/metrics` show it. Numbers count from the start of the gateway. */
export interface BridgeStatus {
  readonly name: string
  /** The broker's URL without credentials. */
  readonly upstream: string
  /** `standby`: another gateway runs it. */
  readonly state: 'standby' | 'connecting' | 'connected'
  /** Why it is not connected, or which filter the broker refused. */
  readonly reason?: string
  readonly queued: number
  readonly queuedBytes: number
  readonly sent: number
  readonly received: number
  /** Messages for the broker that were lost: the queue was full, or nobody took it over. */
  readonly dropped: number
  /** Messages that the broker refused, or that broke the connection again and again. */
  readonly refused: number
  /** Messages of our own that came back, and were not published again. */
  readonly echoes: number
}

interface Out extends OutMessage {
  readonly from: Message
  /** Connections that broke while it was unacknowledged. */
  broken: number
}

/** User property that names the bridges which a message crossed: rings of brokers are cut by it. */
const ORIGIN = 'sluice-bridge'
const FIRST_RETRY_MS = 500
const MAX_RETRY_MS = 30_000
/** A connection that held this long was a good one: the next retry is quick again. */
const STABLE_MS = 10_000
/** How long stopping waits for what is queued. */
const DRAIN_MS = 1000
/** A message that was under way when so many connections broke is taken for the cause. */
const MAX_BROKEN = 10
/** Room for the PUBLISH packet's head and properties in comparisons with the broker's maximum. */
const HEAD_BYTES = 256

export class Bridge implements Subscriber {
  readonly available = true
  readonly device: string
  readonly #options: BridgeOptions
  readonly #port: BridgePort
  readonly #rules: readonly BridgeRule[]
  readonly #origin: string
  readonly #queue: OutQueue<Out>
  readonly #echoes: EchoMemory
  readonly #inFlight = new Set<Out>()
  #version: 4 | 5
  #upstream: Upstream | undefined
  #running = false
  #retry: (() => void) | undefined
  #retries = 0
  #upSince: number | undefined
  #reason: string | undefined
  #drained: (() => void) | undefined
  #sent = 0
  #received = 0
  #lost = 0
  #refused = 0
  #echoed = 0

  constructor(options: BridgeOptions, port: BridgePort) {
    const { name, clientId = `sluice-${name}`, maxQueued = 10_000, maxQueuedBytes = 16 * 1024 * 1024 } = options
    this.device = `$bridge/${name}`
    this.#options = options
    this.#port = port
    this.#origin = clientId
    this.#version = options.protocolVersion ?? 5
    this.#rules = options.rules.map((rule) => new BridgeRule(rule))
    this.#queue = new OutQueue(maxQueued, maxQueuedBytes)
    this.#echoes = new EchoMemory(() => port.clock.now())
  }

  get running(): boolean {
    return this.#running
  }

  start(): void {
    if (this.#running) return
    this.#running = true
    this.#retries = 0
    // The identifier of a subscription is its rule's number from 1 on.
    for (const [at, rule] of this.#rules.entries()) {
      const { localFilter, qos } = rule
      const options = { qos, noLocal: true, retainAsPublished: true, retainHandling: 0 as const, id: at + 1 }
      if (rule.outward) this.#port.fanout.subscribe(this, localFilter, options, () => {})
    }
    // It is still there when stopping was under way.
    if (this.#upstream === undefined) this.#connect()
  }

  /** Takes nothing new, delivers what waits if that goes quickly, and says goodbye. */
  async stop(): Promise<void> {
    if (!this.#running) return
    this.#running = false
    this.#retry?.()
    this.#port.fanout.unsubscribeAll(this)
    if (this.#upstream?.connected === true && this.#queue.length + this.#inFlight.size > 0) await this.#drain()
    if (this.#running) return
    this.#upstream?.close()
    this.#upstream = undefined
    this.#lost += this.#inFlight.size
    this.#inFlight.clear()
    this.#queue.clear()
    this.#reason = undefined
  }

  deliver(message: Message, qos: 0 | 1 | 2, retain: boolean, ids: readonly number[] | undefined): void {
    // Retained messages are delivered to everybody, their publisher too.
    if (message.publisher === this.device || !this.#running) return
    const topics = new Set<string>()
    for (const id of ids ?? []) {
      const topic = this.#rules[id - 1]?.outwardTopic(message.topic)
      if (topic === undefined || topics.has(topic)) continue
      topics.add(topic)
      this.#queue.add({ topic, payload: message.payload, qos, retain, from: message, broken: 0 })
    }
    this.#pump()
  }

  status(): BridgeStatus {
    const url = new URL(this.#options.url)
    const connected = this.#upstream?.connected === true
    return {
      name: this.#options.name,
      upstream: `${url.protocol}//${url.host}`,
      state: !this.#running ? 'standby' : connected ? 'connected' : 'connecting',
      ...(this.#reason === undefined ? {} : { reason: this.#reason }),
      queued: this.#queue.length + this.#inFlight.size,
      queuedBytes: this.#queue.bytes,
      sent: this.#sent,
      received: this.#received,
      dropped: this.#queue.dropped + this.#lost,
      refused: this.#refused,
      echoes: this.#echoed,
    }
  }

  #connect(): void {
    try {
      this.#upstream = this.#dial()
    } catch (error) {
      // A certificate file that is being replaced, for instance.
      this.#down(error instanceof Error ? error.message : String(error), false)
    }
  }

  #dial(): Upstream {
    const { connect, log } = this.#port
    const upstream: Upstream = new Upstream(connect, this.#options, this.#version, this.#rules, {
      up: () => {
        this.#upSince = this.#port.clock.now()
        this.#reason = undefined
        log.info({ bridge: this.#options.name, mqtt: upstream.version }, 'the bridge is connected')
        this.#pump()
      },
      message: (topic, payload, packet) => this.#fromUpstream(topic, payload, packet),
      refused: (filter, reason) => {
        this.#reason = `the broker refused ${filter}: ${reason}`
        log.warn({ bridge: this.#options.name, filter, reason }, 'the broker refused a subscription of the bridge')
      },
      down: (reason, unsupported) => {
        if (upstream === this.#upstream) this.#down(reason, unsupported)
      },
    })
    return upstream
  }

  #down(reason: string, unsupported: boolean): void {
    const { clock, log, random } = this.#port
    this.#upstream = undefined
    this.#putBack()
    this.#drained?.()
    if (!this.#running) return
    if (this.#upSince !== undefined && clock.now() - this.#upSince > STABLE_MS) this.#retries = 0
    this.#upSince = undefined
    if (unsupported && this.#version === 5) this.#version = 4
    const most = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(10, this.#retries++))
    // The first word of a long outage is enough for the log.
    if (this.#reason !== reason) log.warn({ bridge: this.#options.name, reason }, 'the bridge is not connected')
    this.#reason = reason
    this.#retry = clock.after(most * (0.5 + random() / 2), () => this.#connect())
  }

  #putBack(): void {
    const back: Out[] = []
    for (const message of this.#inFlight) {
      if (++message.broken < MAX_BROKEN) back.push(message)
      else this.#refused++
    }
    this.#inFlight.clear()
    this.#queue.putBack(back)
  }

  #pump(): void {
    const upstream = this.#upstream
    while (upstream?.connected === true && this.#inFlight.size < upstream.window) {
      const message = this.#queue.take()
      if (message === undefined) break
      this.#send(upstream, message)
    }
    if (this.#queue.length + this.#inFlight.size === 0) this.#drained?.()
  }

  #send(upstream: Upstream, message: Out): void {
    const { from, topic, payload } = message
    const { clock } = this.#port
    const expiry = from.properties?.expiry
    const left = expiry === undefined ? undefined : Math.ceil(expiry - (clock.wall() - from.at) / 1000)
    if (left !== undefined && left <= 0) return
    if (upstream.tooLarge(topic.length + payload.length + HEAD_BYTES)) {
      this.#refused++
      return
    }
    this.#inFlight.add(message)
    // With MQTT 5 the broker leaves out what we sent ourselves.
    if (upstream.version === 4 && this.#rules.some((rule) => rule.inwardTopic(topic) !== undefined))
      this.#echoes.remember(topic, payload)
    upstream.publish(message, toPacket(from.properties, left, [[ORIGIN, this.#origin]]), (error) => {
      // When the connection broke, it is sent again with the next one.
      if (error !== undefined && !upstream.connected) return
      if (!this.#inFlight.delete(message)) return
      if (error === undefined) this.#sent++
      else this.#refused++
      this.#pump()
    })
  }

  #fromUpstream(remote: string, payload: Uint8Array, packet: IPublishPacket): void {
    const properties = fromPacket(packet.properties)
    const ours = properties?.user?.some(([name, value]) => name === ORIGIN && value === this.#origin) === true
    if (ours || (this.#upstream?.version === 4 && this.#echoes.isEcho(remote, payload))) {
      this.#echoed++
      return
    }
    const rule = this.#rules.find((one) => one.inwardTopic(remote) !== undefined)
    const topic = rule?.inwardTopic(remote)
    if (rule === undefined || topic === undefined) return
    this.#received++
    this.#port.fanout.publish({
      topic,
      payload: new Uint8Array(payload),
      qos: Math.min(rule.qos, packet.qos) as 0 | 1 | 2,
      retain: packet.retain,
      publisher: this.device,
      properties,
      at: this.#port.clock.wall(),
      encoded: new Map(),
    })
  }

  #drain(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#port.clock.after(DRAIN_MS, () => this.#drained?.())
      this.#drained = () => {
        this.#drained = undefined
        cancel()
        resolve()
      }
    })
  }
}
