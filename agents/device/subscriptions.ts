/** Who listens to which topics on this device. */

import { SluiceError } from '../../proto/errors.js'
import { isTopicFilter, parseShared, topicMatches } from '../../proto/topic.js'
import type { DeviceMessage } from './options.js'

export type OnMessage = (message: DeviceMessage) => void

interface Entry {
  readonly filter: string
  readonly listeners: Set<OnMessage>
  /** The gateway knows of it, so a new connection has to tell it again. */
  confirmed: boolean
}

export class Subscriptions {
  readonly #entries = new Map<string, Entry>()

  /**
   * True when the gateway has to be told.
   * @throws SluiceError `bad_topic` when it is not a topic filter
   */
  add(filter: string, fn: OnMessage): boolean {
    const shared = parseShared(filter)
    const plain = typeof shared === 'object' ? shared.filter : filter
    if (shared === 'invalid' || !isTopicFilter(plain)) {
      throw new SluiceError('bad_topic', `subscribe: ${filter} is not a topic filter`, { path: 'filter' })
    }
    const known = this.#entries.get(filter)
    known?.listeners.add(fn)
    if (known !== undefined) return false
    this.#entries.set(filter, { filter: plain, listeners: new Set([fn]), confirmed: false })
    return true
  }

  confirm(filter: string): void {
    const entry = this.#entries.get(filter)
    if (entry !== undefined) entry.confirmed = true
  }

  /** True when nobody listens any more and the gateway has to be told. */
  remove(filter: string, fn: OnMessage): boolean {
    const entry = this.#entries.get(filter)
    if (entry === undefined || !entry.listeners.delete(fn) || entry.listeners.size > 0) return false
    return this.#entries.delete(filter)
  }

  confirmed(): string[] {
    return [...this.#entries].filter(([, entry]) => entry.confirmed).map(([filter]) => filter)
  }

  *matching(topic: string): Iterable<OnMessage> {
    for (const { filter, listeners } of this.#entries.values()) {
      if (topicMatches(filter, topic)) yield* [...listeners]
    }
  }
}
