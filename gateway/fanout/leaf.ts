/** The end of a filter in the topic tree: who holds that very filter, and the answer to "who gets it" made from it. */

import { type Member, SharedGroup } from './shared-group.js'
import { Target } from './target.js'

/** Who gets a message. Immutable: a change of subscriptions makes a new one, so a sliced delivery may hold on to it. */
export interface Match<S extends Member> {
  /** One delivery each, nobody twice. */
  readonly direct: readonly Target<S>[]
  /** Native rooms whose subscribers get it by one native publish each. */
  readonly rooms: readonly Room[]
  /** One member of each gets it. */
  readonly groups: readonly SharedGroup<S>[]
}

export interface Room {
  readonly name: string
  readonly size: number
}

const NONE: readonly never[] = []
export const NO_MATCH: Match<never> = { direct: NONE, rooms: NONE, groups: NONE }

export class Leaf<S extends Member> {
  readonly filter: string
  /** Rises with every change, tree-wide. */
  changed = 0
  readonly #targets = new Map<S, Target<S>>()
  #groups: Map<string, SharedGroup<S>> | undefined
  #match: Match<S> | undefined

  constructor(filter: string) {
    this.filter = filter
  }

  get empty(): boolean {
    return this.#targets.size === 0 && this.#groups === undefined
  }

  get size(): number {
    return this.#targets.size
  }

  target(subscriber: S): Target<S> | undefined {
    return this.#targets.get(subscriber)
  }

  set(target: Target<S>, stamp: number): void {
    this.#targets.set(target.subscriber, target)
    this.touch(stamp)
  }

  delete(subscriber: S, stamp: number): boolean {
    const removed = this.#targets.delete(subscriber)
    if (removed) this.touch(stamp)
    return removed
  }

  /** The group of this name, or undefined. */
  group(name: string): SharedGroup<S> | undefined {
    return this.#groups?.get(name)
  }

  addGroup(name: string, stamp: number): SharedGroup<S> {
    const group = new SharedGroup<S>(`$share/${name}/${this.filter}`)
    this.#groups ??= new Map()
    this.#groups.set(name, group)
    this.touch(stamp)
    return group
  }

  deleteGroup(name: string, stamp: number): void {
    if (this.#groups?.delete(name) && this.#groups.size === 0) this.#groups = undefined
    this.touch(stamp)
  }

  /** Says that a target changed, so the match is made anew on next use. */
  touch(stamp: number): void {
    this.changed = stamp
    this.#match = undefined
  }

  match(): Match<S> {
    this.#match ??= this.#build()
    return this.#match
  }

  #build(): Match<S> {
    const direct: Target<S>[] = []
    const sizes = new Map<string, number>()
    for (const target of this.#targets.values()) {
      if (target.room === undefined) direct.push(target)
      else sizes.set(target.room, (sizes.get(target.room) ?? 0) + 1)
    }
    const rooms = sizes.size === 0 ? NONE : Array.from(sizes, ([name, size]) => ({ name, size }))
    return { direct, rooms, groups: this.#groups === undefined ? NONE : [...this.#groups.values()] }
  }
}

/** What several filters that match one topic come to: overlapping subscriptions of one subscriber are one delivery. */
export function mergeMatches<S extends Member>(leaves: readonly Leaf<S>[]): Match<S> {
  const merged = new Map<S, Target<S>>()
  const rooms: Room[] = []
  const groups: SharedGroup<S>[] = []
  for (const leaf of leaves) {
    const match = leaf.match()
    for (const target of match.direct) {
      const other = merged.get(target.subscriber)
      merged.set(target.subscriber, other === undefined ? target : Target.merge(other, target))
    }
    // A subscriber is in a room only while no other subscription of its can match the same topic: no merging needed.
    rooms.push(...match.rooms)
    groups.push(...match.groups)
  }
  return { direct: [...merged.values()], rooms, groups }
}
