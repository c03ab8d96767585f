/**
 * The subscription trie: filter in, subscribers of a topic out. Pure. Subscribing and unsubscribing cost the number
 * of levels; matching costs the filters that match, and nothing but a look-up for a topic that was matched before.
 */

import { SluiceError } from '../../proto/errors.js'
import { parseShared } from '../../proto/topic.js'
import type { SubscriptionOptions } from '../ports.js'
import { Leaf, type Match, mergeMatches, NO_MATCH } from './leaf.js'
import { MatchCache } from './match-cache.js'
import type { Member, SharedGroup } from './shared-group.js'
import { Target } from './target.js'

/** Bounds of a tree. */
export interface TreeLimits {
  /** Levels of one filter. */
  readonly levels: number
  /** Subscriptions in all. */
  readonly subscriptions: number
  /** Subscriptions of one subscriber. */
  readonly perSubscriber: number
  /** UTF-16 units of all filters together: 65,535-byte filters must not fill the memory. */
  readonly filterUnits: number
  /** Topics whose match is remembered. */
  readonly cachedTopics: number
}

export const TREE_LIMITS: TreeLimits = {
  levels: 256,
  subscriptions: 2_000_000,
  perSubscriber: 10_000,
  filterUnits: 128 * 1024 * 1024,
  cachedTopics: 32_768,
}

/** Longer topics are matched each time: the cache must not become a store of 64 KiB strings. */
const MAX_CACHED_TOPIC = 256

class Node<S extends Member> {
  readonly parent: Node<S> | undefined
  readonly level: string
  children: Map<string, Node<S>> | undefined
  plus: Node<S> | undefined
  /** Filters that end here. */
  leaf: Leaf<S> | undefined
  /** Filters that end here with a further `/#`. */
  hash: Leaf<S> | undefined

  constructor(parent: Node<S> | undefined, level: string) {
    this.parent = parent
    this.level = level
  }

  get unused(): boolean {
    return this.leaf === undefined && this.hash === undefined && this.plus === undefined && this.children === undefined
  }
}

/** Several filters that match one topic. */
class Overlap<S extends Member> {
  readonly #leaves: readonly Leaf<S>[]
  #merged: Match<S> | undefined
  /** `changed` of the leaf that changed last when `merged` was made. */
  #stamp = 0

  constructor(leaves: readonly Leaf<S>[]) {
    this.#leaves = leaves
  }

  match(): Match<S> {
    let stamp = 0
    for (const leaf of this.#leaves) if (leaf.changed > stamp) stamp = leaf.changed
    // Stamps only rise, and the leaves never change: the same newest stamp means that nothing changed.
    if (this.#merged === undefined || this.#stamp !== stamp) {
      this.#merged = mergeMatches(this.#leaves)
      this.#stamp = stamp
    }
    return this.#merged
  }
}

/** What a topic nobody subscribed to is remembered as. */
const NOBODY = { match: (): Match<never> => NO_MATCH }

export class TopicTree<S extends Member> {
  readonly #limits: TreeLimits
  #root = new Node<S>(undefined, '')
  /** Filters by subscriber; a plain string while there is one only, which is the usual case. */
  readonly #filters = new Map<S, string | Set<string>>()
  readonly #cache: MatchCache<{ match(): Match<S> }>
  /** Reused by every {@link match} that looks: what it finds is copied. */
  readonly #found: Leaf<S>[] = []
  #stamp = 0
  #size = 0
  #units = 0

  constructor(limits: Partial<TreeLimits> = {}) {
    this.#limits = { ...TREE_LIMITS, ...limits }
    this.#cache = new MatchCache(this.#limits.cachedTopics, MAX_CACHED_TOPIC)
  }

  /** Subscriptions in all. */
  get size(): number {
    return this.#size
  }

  /**
   * @param filter already checked; `$share/GROUP/FILTER` makes a member of the group
   * @returns true when the subscriber had this very filter: its options are replaced [MQTT-3.8.4-3]
   * @throws SluiceError `bad_topic` for too many levels, `overloaded` when a bound is reached
   */
  subscribe(subscriber: S, filter: string, options: SubscriptionOptions): boolean {
    const shared = parseShared(filter)
    if (shared === 'invalid') throw new SluiceError('bad_topic', `'${filter}' is not a shared subscription filter`)
    const existed = this.has(subscriber, filter)
    if (!existed) this.#admit(subscriber, filter)
    const leaf = this.#leafFor(shared?.filter ?? filter)
    const target = Target.of(subscriber, options)
    if (shared === undefined) leaf.set(target, ++this.#stamp)
    else (leaf.group(shared.group) ?? leaf.addGroup(shared.group, ++this.#stamp)).set(target)
    if (!existed) this.#remember(subscriber, filter)
    return existed
  }

  /** @returns false when there was no such subscription */
  unsubscribe(subscriber: S, filter: string): boolean {
    if (!this.has(subscriber, filter)) return false
    this.#forget(subscriber, filter)
    const { leaf, group } = this.#find(filter)
    if (leaf === undefined) return false
    if (group === undefined) leaf.delete(subscriber, ++this.#stamp)
    else {
      group.delete(subscriber)
      this.#dropGroupIfEmpty(leaf, group)
    }
    if (leaf.empty) this.#dropLeaf(leaf.filter)
    return true
  }

  /** True when the subscriber has this very filter. */
  has(subscriber: S, filter: string): boolean {
    const held = this.#filters.get(subscriber)
    return held === filter || (typeof held === 'object' && held.has(filter))
  }

  /** True when the subscriber has any subscription. */
  holds(subscriber: S): boolean {
    return this.#filters.has(subscriber)
  }

  /** How many filters the subscriber has. */
  filterCountOf(subscriber: S): number {
    const held = this.#filters.get(subscriber)
    return held === undefined ? 0 : typeof held === 'string' ? 1 : held.size
  }

  /** A copy of the subscriber's filters. */
  filtersOf(subscriber: S): string[] {
    const held = this.#filters.get(subscriber)
    return held === undefined ? [] : typeof held === 'string' ? [held] : [...held]
  }

  /** Subscribers of this very filter: members here for a `$share/` one. */
  countOf(filter: string): number {
    const { leaf, group } = this.#find(filter)
    return filter.startsWith('$share/') ? (group?.size ?? 0) : (leaf?.size ?? 0)
  }

  /** The group of a `$share/` filter. */
  groupOf(filter: string): SharedGroup<S> | undefined {
    return this.#find(filter).group
  }

  /** Another gateway has this many members in the group of a `$share/` filter; 0 for none. */
  setRemoteMembers(gateway: string, filter: string, members: number): void {
    const shared = parseShared(filter)
    if (shared === undefined || shared === 'invalid') return
    if (members === 0 && this.#find(filter).group === undefined) return
    const leaf = this.#leafFor(shared.filter)
    const group = leaf.group(shared.group) ?? leaf.addGroup(shared.group, ++this.#stamp)
    group.setRemote(gateway, members)
    this.#dropGroupIfEmpty(leaf, group)
    if (leaf.empty) this.#dropLeaf(leaf.filter)
  }

  /** How the subscriber holds this very filter; undefined when it does not. */
  targetOf(subscriber: S, filter: string): Target<S> | undefined {
    const { leaf, group } = this.#find(filter)
    return filter.startsWith('$share/') ? group?.target(subscriber) : leaf?.target(subscriber)
  }

  /** Moves a subscription into a native room, or back to the loop. */
  setRoom(subscriber: S, filter: string, room: string | undefined): void {
    const { leaf } = this.#find(filter)
    const target = leaf?.target(subscriber)
    if (leaf === undefined || target === undefined || target.room === room) return
    target.room = room
    leaf.touch(++this.#stamp)
  }

  /** Who gets a message on `topic`. */
  match(topic: string): Match<S> {
    let hit = this.#cache.get(topic)
    if (hit === undefined) {
      hit = this.#look(topic)
      this.#cache.set(topic, hit)
    }
    return hit.match()
  }

  #look(topic: string): { match(): Match<S> } {
    const found = this.#found
    this.#collect(this.#root, topic, 0, found)
    const hit = found.length > 1 ? new Overlap(found.slice()) : (found[0] ?? NOBODY)
    found.length = 0
    return hit
  }

  /** Every filter's matching leaf; `from` is where the next level starts, -1 when the topic has no more. */
  #collect(node: Node<S>, topic: string, from: number, into: Leaf<S>[]): void {
    // A wildcard in the first level does not match a topic that starts with '$' [MQTT-4.7.2-1].
    const wild = node !== this.#root || topic.charCodeAt(0) !== 0x24
    if (wild && node.hash !== undefined) into.push(node.hash)
    if (from < 0) {
      if (node.leaf !== undefined) into.push(node.leaf)
      return
    }
    if (node.children === undefined && node.plus === undefined) return
    const slash = topic.indexOf('/', from)
    const next = slash < 0 ? -1 : slash + 1
    const child = node.children?.get(slash < 0 ? topic.slice(from) : topic.slice(from, slash))
    if (child !== undefined) this.#collect(child, topic, next, into)
    if (wild && node.plus !== undefined) this.#collect(node.plus, topic, next, into)
  }

  /** A leaf came or went: what was matched before may be wrong. Members that come and go are seen by their stamp. */
  #invalidate(filter: string): void {
    if (filter.includes('+') || filter.endsWith('#')) this.#cache.clear()
    else this.#cache.delete(filter)
  }

  #admit(subscriber: S, filter: string): void {
    const { levels, subscriptions, perSubscriber, filterUnits } = this.#limits
    if (countLevels(filter) > levels) throw new SluiceError('bad_topic', `The filter has more than ${levels} levels`)
    const held = this.#filters.get(subscriber)
    if (typeof held === 'object' && held.size >= perSubscriber) {
      throw new SluiceError('overloaded', `One subscriber may hold ${perSubscriber} subscriptions`)
    }
    if (this.#size >= subscriptions) throw new SluiceError('overloaded', `All ${subscriptions} subscriptions are taken`)
    if (this.#units + filter.length > filterUnits) throw new SluiceError('overloaded', 'Too many long filters')
  }

  #remember(subscriber: S, filter: string): void {
    const held = this.#filters.get(subscriber)
    if (held === undefined) this.#filters.set(subscriber, filter)
    else if (typeof held === 'string') this.#filters.set(subscriber, new Set([held, filter]))
    else held.add(filter)
    this.#size++
    this.#units += filter.length
  }

  #forget(subscriber: S, filter: string): void {
    const held = this.#filters.get(subscriber)
    if (typeof held === 'object') held.delete(filter)
    if (typeof held === 'string' || held?.size === 0) this.#filters.delete(subscriber)
    this.#size--
    this.#units -= filter.length
  }

  #find(filter: string): { leaf: Leaf<S> | undefined; group: SharedGroup<S> | undefined } {
    const shared = parseShared(filter)
    if (shared === 'invalid') return { leaf: undefined, group: undefined }
    const plain = shared?.filter ?? filter
    const node = this.#nodeOf(plain)
    const leaf = isHash(plain) ? node?.hash : node?.leaf
    return { leaf, group: shared === undefined ? undefined : leaf?.group(shared.group) }
  }

  #leafFor(filter: string): Leaf<S> {
    let node = this.#root
    for (const level of levelsOf(filter)) node = childFor(node, level)
    const existing = isHash(filter) ? node.hash : node.leaf
    if (existing !== undefined) return existing
    const leaf = new Leaf<S>(filter)
    if (isHash(filter)) node.hash = leaf
    else node.leaf = leaf
    this.#invalidate(filter)
    return leaf
  }

  #nodeOf(filter: string): Node<S> | undefined {
    let node: Node<S> | undefined = this.#root
    for (const level of levelsOf(filter)) {
      node = level === '+' ? node.plus : node.children?.get(level)
      if (node === undefined) return undefined
    }
    return node
  }

  #dropGroupIfEmpty(leaf: Leaf<S>, group: SharedGroup<S>): void {
    if (group.empty) leaf.deleteGroup(group.filter.slice(7, group.filter.indexOf('/', 7)), ++this.#stamp)
  }

  #dropLeaf(filter: string): void {
    let node = this.#nodeOf(filter)
    if (node === undefined) return
    if (isHash(filter)) node.hash = undefined
    else node.leaf = undefined
    while (node.parent !== undefined && node.unused) {
      const { parent, level }: Node<S> = node
      if (level === '+') parent.plus = undefined
      else if (parent.children?.delete(level) && parent.children.size === 0) parent.children = undefined
      node = parent
    }
    this.#invalidate(filter)
  }
}

function childFor<S extends Member>(node: Node<S>, level: string): Node<S> {
  if (level === '+') {
    node.plus ??= new Node(node, level)
    return node.plus
  }
  node.children ??= new Map()
  let child = node.children.get(level)
  if (child === undefined) {
    child = new Node(node, level)
    node.children.set(level, child)
  }
  return child
}

function isHash(filter: string): boolean {
  return filter.charCodeAt(filter.length - 1) === 0x23
}

/** Levels without the closing `#`, which is kept beside its parent. */
function levelsOf(filter: string): string[] {
  const levels = filter.split('/')
  if (isHash(filter)) levels.pop()
  return levels
}

function countLevels(filter: string): number {
  let count = 1
  for (let i = filter.indexOf('/'); i >= 0; i = filter.indexOf('/', i + 1)) count++
  return count
}
