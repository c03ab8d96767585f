/** What of a session is hashed to a slot. */

import type { AffinityKey } from '../../proto/table.js'
import { headerOf, type SessionAttributes } from './attributes.js'

/** A pool's affinity key, compiled. */
export interface Affinity {
  /** True when the key depends on each frame's topic, and a session may have several bindings in the pool. */
  readonly byTopic: boolean
  /**
   * The text to hash. A session without the header, or a frame without a topic, is keyed by its device: it needs some
   * worker, and the same one each time.
   */
  keyOf(attributes: SessionAttributes, topic: string): string
}

const BY_DEVICE: Affinity = { byTopic: false, keyOf: ({ device }) => device }

/** Compiles `device`, `header:NAME` or `topic:LEVELS`. Anything else keys by device: the table's check refuses it before. */
export function compileAffinity(key: AffinityKey): Affinity {
  if (key.startsWith('header:')) {
    const name = key.slice(7).toLowerCase()
    return { byTopic: false, keyOf: (attributes) => headerOf(attributes, name) ?? attributes.device }
  }
  if (!key.startsWith('topic:')) return BY_DEVICE
  const levels = Number(key.slice(6))
  return { byTopic: true, keyOf: ({ device }, topic) => (topic === '' ? device : firstLevels(topic, levels)) }
}

function firstLevels(topic: string, levels: number): string {
  let at = -1
  for (let i = 0; i < levels; i++) {
    at = topic.indexOf('/', at + 1)
    if (at < 0) return topic
  }
  return topic.slice(0, at)
}
