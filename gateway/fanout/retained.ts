/**
 * Retained messages: the last one of each topic, for those who subscribe later (MQTT 5.0 section 3.3.1.3).
 * Bounded by count and bytes; on memory, with an optional journal below that outlives the process.
 *
 * Every gateway keeps all of them. Between gateways the newest `at` wins, the larger payload bytes on a tie, so that
 * all gateways end with the same one. A cleared topic leaves a tombstone for a while, so that a peer that was away
 * does not bring the old message back.
 */

import type { Clock, Message } from '../ports.js'
import type { FanoutCounters } from './counters.js'
import { decodeEnvelope, envelopeOf, isExpired } from './envelope.js'
import type { Log } from './log.js'

/** Where retained messages outlive the process. Values are envelopes (envelope.ts). */
export interface RetainedJournal {
  load(): Iterable<readonly [topic: string, envelope: Uint8Array]>
  put(topic: string, envelope: Uint8Array): void
  delete(topic: string): void
}

export interface RetainedLimits {
  /** Retained messages. */
  readonly messages: number
  /** Bytes of topics and payloads together. */
  readonly bytes: number
  /** Cleared topics that are remembered. */
  readonly tombstones: number
}

export const RETAINED_LIMITS: RetainedLimits = { messages: 200_000, bytes: 256 * 1024 * 1024, tombstones: 20_000 }

interface Node {
  readonly parent: Node | undefined
  readonly level: string
  children: Map<string, Node> | undefined
  message: Message | undefined
}

/** What each level of a message's topic weighs besides the characters: objects and their places in Maps. */
const OVERHEAD = 300

export class RetainedStore {
  readonly #root: Node = { parent: undefined, level: '', children: undefined, message: undefined }
  readonly #tombstones = new Map<string, Message>()
  readonly #limits: RetainedLimits
  readonly #clock: Pick<Clock, 'wall'>
  readonly #counters: FanoutCounters
  readonly #log: Log
  readonly #journal: RetainedJournal | undefined
  #size = 0
  #bytes = 0
  #full = false

  constructor(
    clock: Pick<Clock, 'wall'>,
    counters: FanoutCounters,
    log: Log,
    options: { limits?: Partial<RetainedLimits>; journal?: RetainedJournal } = {},
  ) {
    this.#clock = clock
    this.#counters = counters
    this.#log = log
    this.#limits = { ...RETAINED_LIMITS, ...options.limits }
    if (options.journal !== undefined) this.#load(options.journal)
    this.#journal = options.journal
  }

  get size(): number {
    return this.#size
  }

  get bytes(): number {
    return this.#bytes
  }

  /**
   * Keeps what was published here, or clears the topic when its payload is empty [MQTT-3.3.1-6].
   * @returns the message, newer by a millisecond than the one before where this gateway's clock lags behind another's
   */
  keep(message: Message): Message {
    const before = this.newest(message.topic)
    const kept =
      before === undefined || message.at > before.at ? message : { ...message, at: before.at + 1, encoded: new Map() }
    this.#replace(kept)
    return kept
  }

  /** Takes what another gateway retains, if it is newer. Returns false when it is not. */
  merge(message: Message): boolean {
    const before = this.newest(message.topic)
    if (before !== undefined && !isNewer(message, before)) return false
    this.#replace(message)
    return true
  }

  /** Takes a message (or, with an empty payload, a cleared topic) whatever was there before. */
  #replace(message: Message): void {
    if (message.payload.length === 0) this.#clear(message)
    else this.#put(message)
    this.#counters.retained = this.#size
  }

  get(topic: string): Message | undefined {
    const node = this.#nodeOf(topic)
    return node === undefined ? undefined : this.#alive(node)
  }

  /** Calls `visit` for every retained message whose topic `filter` matches. */
  match(filter: string, visit: (message: Message) => void): void {
    this.#walk(this.#root, filter, 0, visit)
  }

  /** Everything another gateway has to know: messages, and cleared topics as messages without payload. */
  *all(): Iterable<Message> {
    const found: Message[] = []
    this.#everything(this.#root, true, (message) => found.push(message))
    yield* found
    yield* this.#tombstones.values()
  }

  #load(journal: RetainedJournal): void {
    const useless: string[] = []
    for (const [topic, envelope] of journal.load()) {
      try {
        const message = decodeEnvelope(envelope)
        if (isExpired(message, this.#clock.wall())) useless.push(topic)
        else this.#replace(message)
      } catch (error) {
        useless.push(topic)
        this.#log.warn({ topic, error: String(error) }, 'a retained message in the journal cannot be read; dropped')
      }
    }
    for (const topic of useless) journal.delete(topic)
  }

  /** The last message of a topic, or the one without payload that cleared it. */
  newest(topic: string): Message | undefined {
    return this.#nodeOf(topic)?.message ?? this.#tombstones.get(topic)
  }

  #put(message: Message): void {
    const { topic } = message
    const node = this.#nodeOf(topic)
    const weight = weightOf(message)
    const freed = node?.message === undefined ? 0 : weightOf(node.message)
    if (!this.#fits(freed === 0 ? 1 : 0, weight - freed)) {
      this.#refuse(message)
      return
    }
    const home = node ?? this.#makeNode(topic)
    if (home.message === undefined) this.#size++
    home.message = message
    this.#bytes += weight - freed
    this.#tombstones.delete(topic)
    this.#journal?.put(topic, envelopeOf(message))
  }

  #fits(messages: number, bytes: number): boolean {
    const within = () => this.#size + messages <= this.#limits.messages && this.#bytes + bytes <= this.#limits.bytes
    if (within()) return true
    // Looking for expired ones costs a walk over all: once, until one is removed.
    if (this.#full) return false
    this.#everything(this.#root, true, () => {})
    this.#full = !within()
    return !this.#full
  }

  #refuse(message: Message): void {
    // The old one must not stay in the place of a newer one that is not kept.
    const node = this.#nodeOf(message.topic)
    if (node?.message !== undefined) this.#remove(node)
    if (this.#counters.retainedRefused++ === 0) {
      this.#log.warn({ limits: this.#limits }, 'the store of retained messages is full; new ones are not kept')
    }
  }

  #clear(message: Message): void {
    const node = this.#nodeOf(message.topic)
    if (node?.message !== undefined) this.#remove(node)
    this.#tombstones.delete(message.topic)
    this.#tombstones.set(message.topic, message)
    if (this.#tombstones.size <= this.#limits.tombstones) return
    for (const oldest of this.#tombstones.keys()) {
      this.#tombstones.delete(oldest)
      break
    }
  }

  #remove(node: Node): void {
    const message = node.message as Message
    node.message = undefined
    this.#size--
    this.#bytes -= weightOf(message)
    this.#full = false
    this.#journal?.delete(message.topic)
    prune(node)
    this.#counters.retained = this.#size
  }

  /** The node's message unless it has expired, in which case it goes now. */
  #alive(node: Node): Message | undefined {
    const { message } = node
    if (message === undefined || !isExpired(message, this.#clock.wall())) return message
    this.#remove(node)
    return undefined
  }

  #nodeOf(topic: string): Node | undefined {
    let node: Node | undefined = this.#root
    for (let from = 0; from >= 0 && node !== undefined; ) {
      const slash: number = topic.indexOf('/', from)
      node = node.children?.get(slash < 0 ? topic.slice(from) : topic.slice(from, slash))
      from = slash < 0 ? -1 : slash + 1
    }
    return node
  }

  #makeNode(topic: string): Node {
    let node = this.#root
    for (const level of topic.split('/')) {
      node.children ??= new Map()
      let child = node.children.get(level)
      if (child === undefined) {
        child = { parent: node, level, children: undefined, message: undefined }
        node.children.set(level, child)
      }
      node = child
    }
    return node
  }

  #walk(node: Node, filter: string, from: number, visit: (message: Message) => void): void {
    if (from < 0) {
      const message = this.#alive(node)
      if (message !== undefined) visit(message)
      return
    }
    const first = node === this.#root
    const slash = filter.indexOf('/', from)
    const level = slash < 0 ? filter.slice(from) : filter.slice(from, slash)
    const next = slash < 0 ? -1 : slash + 1
    if (level === '#') {
      this.#everything(node, !first, visit)
      return
    }
    if (level !== '+') {
      const child = node.children?.get(level)
      if (child !== undefined) this.#walk(child, filter, next, visit)
      return
    }
    for (const child of [...(node.children?.values() ?? [])]) {
      if (!(first && child.level.charCodeAt(0) === 0x24)) this.#walk(child, filter, next, visit)
    }
  }

  /** Every message at and below `node`; topics that start with `$` only when `hidden`. Iterative: topics may be deep. */
  #everything(node: Node, hidden: boolean, visit: (message: Message) => void): void {
    const stack = [node]
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      for (const child of at.children?.values() ?? []) {
        if (hidden || at !== this.#root || child.level.charCodeAt(0) !== 0x24) stack.push(child)
      }
      const message = this.#alive(at)
      if (message !== undefined) visit(message)
    }
  }
}

function weightOf(message: Message): number {
  const { topic } = message
  let levels = 1
  for (let i = topic.indexOf('/'); i >= 0; i = topic.indexOf('/', i + 1)) levels++
  return OVERHEAD * levels + topic.length * 2 + message.payload.length
}

function prune(node: Node): void {
  let at = node
  while (at.parent !== undefined && at.message === undefined && at.children === undefined) {
    const { parent } = at
    if (parent.children?.delete(at.level) && parent.children.size === 0) parent.children = undefined
    at = parent
  }
}

/** Newest `at` wins; on a tie the larger payload, so that all gateways choose alike whatever came first. */
function isNewer(message: Message, before: Message): boolean {
  if (message.at !== before.at) return message.at > before.at
  return Buffer.compare(message.payload, before.payload) > 0
}
