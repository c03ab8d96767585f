/**
 * Hands messages to subscribers without stalling the event loop. Small fan-outs go out at once; large ones in slices,
 * a few hundred deliveries per event-loop turn, topics taking turns. Messages of one topic never overtake each other:
 * while one waits, later ones queue behind it [MQTT-4.6.0-6].
 */

import type { HandedOver, Message, Subscriber } from '../ports.js'
import type { FanoutCounters } from './counters.js'
import type { Room } from './leaf.js'
import type { Log } from './log.js'
import type { Target } from './target.js'

export interface SliceOptions {
  /**
   * Subscribers that are served between two looks at other work, each with as many waiting messages as go together. 512 are
   * about 2 ms of socket writes at the measured 226,000 a second.
   */
  readonly deliveries: number
  /** Milliseconds after which a slice ends early. */
  readonly ms: number
  /**
   * Deliveries of one topic that may wait, about 4 s of work; beyond, QoS 0 is dropped and the publisher of anything
   * else does the work itself.
   */
  readonly waitingPerTopic: number
  /** Bytes of all waiting messages; same consequence. */
  readonly waitingBytes: number
}

export const SLICE_OPTIONS: SliceOptions = {
  deliveries: 512,
  ms: 2,
  waitingPerTopic: 1_000_000,
  waitingBytes: 64 * 1024 * 1024,
}

/** Who gets one message. The lists are not changed any more. */
export interface Recipients {
  readonly direct: readonly Target<Subscriber>[]
  readonly rooms: readonly Room[]
  /** Chosen members of shared groups: they may get it besides a direct delivery [MQTT 5.0, 4.8.2]. */
  readonly chosen: readonly Target<Subscriber>[]
}

interface Job extends Recipients {
  readonly message: Message
  readonly handedOver: HandedOver | undefined
  roomAt: number
  directAt: number
  chosenAt: number
}

/** The messages of one topic that wait, the one in work first. */
class TopicQueue {
  readonly #jobs: Job[] = []
  #head = 0
  /** Deliveries that are not made yet, whole messages counted. */
  deliveries = 0

  get length(): number {
    return this.#jobs.length - this.#head
  }

  /** Messages from the first on that go to the same targets and stand at the same one: they can be delivered together. */
  together(): readonly Job[] {
    const { first } = this
    if (this.length === 1 || !isPlain(first)) return [first]
    let end = this.#head + 1
    while (end < this.#jobs.length && end - this.#head < TOGETHER) {
      const next = this.#jobs[end] as Job
      if (next.direct !== first.direct || next.directAt !== first.directAt || !isPlain(next)) break
      end++
    }
    return this.#jobs.slice(this.#head, end)
  }

  get first(): Job {
    return this.#jobs[this.#head] as Job
  }

  push(job: Job): void {
    this.#jobs.push(job)
    this.deliveries += sizeOf(job)
  }

  /** Takes the first one off. An index instead of shift(), which moves the whole array. */
  shift(): Job {
    const job = this.first
    this.deliveries -= sizeOf(job)
    this.#head++
    if (this.#head >= 1024 && this.#head * 2 > this.#jobs.length) {
      this.#jobs.splice(0, this.#head)
      this.#head = 0
    }
    return job
  }
}

/** What a waiting message weighs besides its payload. */
const OVERHEAD = 256

/**
 * A message with this many recipients at most goes out at once unless it has to queue behind its topic: such work grows
 * with what came in, so putting it off would only let it pile up.
 */
const SMALL = 32

/** Most messages of a topic that go to each target in one go: a socket writes them in one system call. */
const TOGETHER = 8

/** Deliveries between two looks at the clock. */
const STRIDE = 256

export interface DeliveryPort {
  /** Runs `fn` on the next event-loop turn, after pending I/O. */
  readonly turn: (fn: () => void) => void
  /** Milliseconds that never go back. */
  readonly now: () => number
  /** False when a subscriber left all its subscriptions while the message waited. */
  readonly present: (subscriber: Subscriber) => boolean
  /** Publishes to a native room. */
  readonly toRoom: (room: string, message: Message) => void
  readonly counters: FanoutCounters
  readonly log: Log
}

export class DeliveryQueue {
  readonly #port: DeliveryPort
  readonly #options: SliceOptions
  /** Waiting jobs by topic, the first of each in work. Topics take turns in the order of the Map. */
  readonly #waiting = new Map<string, TopicQueue>()
  #waitingBytes = 0
  /** Deliveries made at once since the last slice. */
  #spent = 0
  #scheduled = false

  constructor(port: DeliveryPort, options: Partial<SliceOptions> = {}) {
    this.#port = port
    this.#options = { ...SLICE_OPTIONS, ...options }
  }

  /**
   * Delivers now, or in order behind what waits already.
   * @param handedOver called when all of it is delivered, or dropped
   * @returns the number of deliveries that this makes, 0 when dropped
   */
  add(message: Message, to: Recipients, handedOver?: HandedOver): number {
    const count = sizeOf(to)
    if (count === 0) {
      handedOver?.(message)
      return 0
    }
    const queue = this.#waiting.get(message.topic)
    if (queue === undefined && (count <= SMALL || this.#spent + count <= this.#options.deliveries)) {
      this.#spent += count
      this.#run(jobOf(message, to, undefined), Number.POSITIVE_INFINITY)
      handedOver?.(message)
      return count
    }
    if (!this.#makeRoom(message, count, queue)) {
      handedOver?.(message)
      return 0
    }
    this.#enqueue(jobOf(message, to, handedOver))
    return count
  }

  /** Delivers everything that waits, at once. */
  flush(): void {
    for (const topic of [...this.#waiting.keys()]) this.#flushTopic(topic, 0)
  }

  #enqueue(job: Job): void {
    const { topic, payload } = job.message
    let queue = this.#waiting.get(topic)
    if (queue === undefined) {
      queue = new TopicQueue()
      this.#waiting.set(topic, queue)
    }
    queue.push(job)
    this.#waitingBytes += payload.length + OVERHEAD
    this.#port.counters.sliced++
    this.#port.counters.queued++
    this.#schedule()
  }

  /** Keeps the bounds. Fire and forget is dropped; for the rest whoever publishes pays, and nothing is lost. */
  #makeRoom(message: Message, count: number, queue: TopicQueue | undefined): boolean {
    const { waitingPerTopic, waitingBytes } = this.#options
    const bytes = message.payload.length + OVERHEAD
    const many = queue !== undefined && queue.deliveries + count > waitingPerTopic
    if (!many && this.#waitingBytes + bytes <= waitingBytes) return true
    if (message.qos === 0) {
      this.#port.counters.droppedBacklog++
      return false
    }
    if (many) this.#flushTopic(message.topic, waitingPerTopic - count)
    if (this.#waitingBytes + bytes > waitingBytes) this.flush()
    return true
  }

  /** Works a topic off until at most this many deliveries wait. */
  #flushTopic(topic: string, down: number): void {
    const queue = this.#waiting.get(topic)
    while (queue !== undefined && queue.length > 0 && queue.deliveries > down) {
      this.#run(queue.first, Number.POSITIVE_INFINITY)
      this.#finishHead(topic, queue)
    }
  }

  #finishHead(topic: string, queue: TopicQueue): void {
    const done = queue.shift()
    this.#waitingBytes -= done.message.payload.length + OVERHEAD
    this.#port.counters.queued--
    if (queue.length === 0) this.#waiting.delete(topic)
    done.handedOver?.(done.message)
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#port.turn(() => this.#slice())
  }

  #slice(): void {
    this.#scheduled = false
    this.#spent = 0
    const { now } = this.#port
    const end = now() + this.#options.ms
    let left = this.#options.deliveries
    do {
      const next = this.#waiting.entries().next()
      if (next.done) break
      const [topic, queue] = next.value
      const jobs = queue.together()
      left -= this.#runTogether(jobs, Math.min(left, STRIDE))
      for (const job of jobs) if (isDone(job)) this.#finishHead(topic, queue)
      if (queue.length === 0) continue
      // To the end of the Map: the next topic has its turn.
      this.#waiting.delete(topic)
      this.#waiting.set(topic, queue)
    } while (left > 0 && now() < end)
    if (this.#waiting.size > 0) this.#schedule()
  }

  /** Brings each of about `most` targets all of these messages; returns how many targets. */
  #runTogether(jobs: readonly Job[], most: number): number {
    const first = jobs[0] as Job
    if (jobs.length === 1) return this.#run(first, most)
    const { direct } = first
    const from = first.directAt
    const to = Math.min(direct.length, from + most)
    for (let i = from; i < to; i++) {
      const target = direct[i] as Target<Subscriber>
      if (!this.#port.present(target.subscriber)) continue
      for (const { message } of jobs) this.#deliver(target, message)
    }
    for (const job of jobs) job.directAt = to
    this.#port.counters.deliveries += (to - from) * jobs.length
    return to - from
  }

  /** Makes about `most` deliveries of a job; returns how many. */
  #run(job: Job, most: number): number {
    let made = this.#runRooms(job, most)
    if (made < most) made += this.#runTargets(job, most - made)
    if (made < most) this.#runChosen(job)
    this.#port.counters.deliveries += made
    return Math.max(made, 1)
  }

  #runRooms(job: Job, most: number): number {
    const { rooms, message } = job
    let made = 0
    while (job.roomAt < rooms.length && made < most) {
      const { name, size } = rooms[job.roomAt++] as Room
      this.#port.toRoom(name, message)
      made += size
    }
    this.#port.counters.nativeDeliveries += made
    return made
  }

  #runTargets(job: Job, most: number): number {
    const { direct, message } = job
    const from = job.directAt
    const to = Math.min(direct.length, from + most)
    // Only a job that waited can meet somebody who left meanwhile.
    const waited = from > 0 || this.#waiting.has(message.topic)
    while (job.directAt < to) {
      const target = direct[job.directAt++] as Target<Subscriber>
      if (!waited || this.#port.present(target.subscriber)) this.#deliver(target, message)
    }
    return to - from
  }

  #runChosen(job: Job): void {
    if (job.roomAt < job.rooms.length || job.directAt < job.direct.length) return
    while (job.chosenAt < job.chosen.length) {
      this.#deliver(job.chosen[job.chosenAt++] as Target<Subscriber>, job.message)
      this.#port.counters.deliveries++
    }
  }

  #deliver(usual: Target<Subscriber>, message: Message): void {
    let target = usual
    if (usual.own !== usual && usual.subscriber.device === message.publisher) {
      if (usual.own === undefined) return
      target = usual.own
    }
    const qos = Math.min(target.qos, message.qos) as 0 | 1 | 2
    try {
      target.subscriber.deliver(message, qos, target.retainAsPublished && message.retain, target.ids)
    } catch (error) {
      // One subscriber's defect must not keep the message from the others.
      if (this.#port.counters.droppedFailed++ % 1000 === 0) {
        this.#port.log.error({ device: target.subscriber.device, error: String(error) }, 'a subscriber failed')
      }
    }
  }
}

function jobOf(message: Message, to: Recipients, handedOver: HandedOver | undefined): Job {
  return {
    message,
    handedOver,
    direct: to.direct,
    rooms: to.rooms,
    chosen: to.chosen,
    roomAt: 0,
    directAt: 0,
    chosenAt: 0,
  }
}

/** True when only its direct targets are left. */
function isPlain({ rooms, roomAt, chosen }: Job): boolean {
  return roomAt >= rooms.length && chosen.length === 0
}

function isDone(job: Job): boolean {
  return job.roomAt >= job.rooms.length && job.directAt >= job.direct.length && job.chosenAt >= job.chosen.length
}

function sizeOf(to: Recipients): number {
  let size = to.direct.length + to.chosen.length
  for (const room of to.rooms) size += room.size
  return size
}
