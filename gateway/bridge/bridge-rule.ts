/** One rule of a bridge: which topics it takes, and their names on the other side. Pure. */

import { topicMatches } from '../../proto/topic.js'
import type { BridgeRuleOptions } from './bridge-options.js'

export class BridgeRule {
  readonly inward: boolean
  readonly outward: boolean
  readonly qos: 0 | 1 | 2
  /** Filters as the two sides know them. */
  readonly localFilter: string
  readonly remoteFilter: string
  readonly #localPrefix: string
  readonly #remotePrefix: string

  constructor({ topic, direction = 'both', localPrefix = '', remotePrefix = '', qos = 0 }: BridgeRuleOptions) {
    this.inward = direction !== 'out'
    this.outward = direction !== 'in'
    this.qos = qos
    this.localFilter = localPrefix + topic
    this.remoteFilter = remotePrefix + topic
    this.#localPrefix = localPrefix
    this.#remotePrefix = remotePrefix
  }

  /** The name at the broker of a topic here; undefined when the rule does not take it out. */
  outwardTopic(topic: string): string | undefined {
    if (!this.outward || !topicMatches(this.localFilter, topic)) return undefined
    return renamed(topic, this.#localPrefix, this.#remotePrefix)
  }

  /** The name here of a topic at the broker; undefined when the rule does not take it in. */
  inwardTopic(topic: string): string | undefined {
    if (!this.inward || !topicMatches(this.remoteFilter, topic)) return undefined
    return renamed(topic, this.#remotePrefix, this.#localPrefix)
  }
}

/** `a/#` with the prefix `a/` matches `a` too, which does not carry the prefix: there is no name for it without one. */
function renamed(topic: string, from: string, to: string): string | undefined {
  if (!topic.startsWith(from)) return undefined
  const name = to + topic.slice(from.length)
  return name === '' ? undefined : name
}
