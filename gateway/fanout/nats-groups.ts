/**
 * Who has members in which shared group, over NATS: each gateway says what changes, and once a second that it lives and
 * which version of its groups holds. Who missed something asks. A gateway that is silent for a while has no members.
 */

import type { Clock } from '../ports.js'
import type { BusHandlers } from './bus.js'
import { decodeGroupNews, encodeGroupNews, type GroupNews, GroupWord } from './nats-wire.js'

export interface GroupsPort {
  /** Id of this gateway. */
  readonly id: string
  readonly clock: Clock
  readonly handlers: Pick<BusHandlers, 'members'>
  /** Publishes to all gateways; does nothing while NATS is away. */
  readonly tell: (news: Uint8Array) => void
  /** A gateway said something; `awayMs` when it is back, and heard nothing for so long. */
  readonly spoke?: (gateway: string, awayMs: number | undefined) => void
  /** A gateway said goodbye. */
  readonly left?: (gateway: string) => void
}

export const BEAT_MS = 1000
/** Silence after which a gateway is taken for dead. */
export const SILENCE_MS = 3500
/** Groups in one word: well below NATS' default of 1 MiB a message with filters of usual length. */
const CHUNK_BYTES = 256 * 1024
/** Groups of one gateway that are remembered. */
const MAX_GROUPS = 100_000

interface Neighbour {
  heard: number
  /** Version of its groups that is known here; 0: not whole. */
  version: number
  /** True while the pieces of an ALL come in. */
  whole: boolean
  readonly groups: Map<string, number>
}

export class NatsGroups {
  readonly #port: GroupsPort
  readonly #own = new Map<string, number>()
  readonly #neighbours = new Map<string, Neighbour>()
  #version = 1
  #cancel: () => void = () => {}

  constructor(port: GroupsPort) {
    this.#port = port
    this.#beatLater()
  }

  /** How many gateways were heard of lately. */
  get size(): number {
    return this.#neighbours.size
  }

  /** Their ids. */
  get neighbours(): Iterable<string> {
    return this.#neighbours.keys()
  }

  /** Local members changed. */
  change(changes: readonly (readonly [filter: string, members: number])[]): void {
    if (changes.length === 0) return
    for (const [filter, members] of changes) {
      if (members === 0) this.#own.delete(filter)
      else this.#own.set(filter, members)
    }
    this.#version++
    this.#say(GroupWord.CHANGE, changes)
  }

  /**
   * NATS is there: says everything, and asks the others to.
   * @param awayMs how long this gateway heard nothing that it should have; absent for a new one
   */
  connected(awayMs?: number): void {
    this.#say(GroupWord.ALL, [...this.#own])
    this.#word(GroupWord.ASK)
    if (awayMs !== undefined) this.#word(GroupWord.BACK, awayMs)
  }

  /** NATS is away: nobody else can be given a message. */
  disconnected(): void {
    for (const gateway of [...this.#neighbours.keys()]) this.#forget(gateway)
  }

  /** @throws RangeError or TypeError when the bytes are malformed */
  heard(bytes: Uint8Array): void {
    const news = decodeGroupNews(bytes)
    const { gateway, kind } = news
    if (gateway === this.#port.id) return
    if (kind === GroupWord.BYE) {
      this.#forget(gateway)
      this.#port.left?.(gateway)
      return
    }
    const neighbour = this.#neighbourOf(gateway)
    neighbour.heard = this.#port.clock.now()
    this.#port.spoke?.(gateway, kind === GroupWord.BACK ? news.version : undefined)
    if (kind === GroupWord.BACK) return
    if (kind === GroupWord.ASK) this.#say(GroupWord.ALL, [...this.#own])
    else if (kind === GroupWord.BEAT) {
      if (news.version !== neighbour.version) this.#word(GroupWord.ASK)
    } else this.#learn(neighbour, news)
  }

  close(): void {
    this.#cancel()
    this.#word(GroupWord.BYE)
  }

  #learn(neighbour: Neighbour, { gateway, kind, version, members }: GroupNews): void {
    const told = new Map(members)
    if (kind === GroupWord.ALL) for (const old of neighbour.groups.keys()) if (!told.has(old)) told.set(old, 0)
    for (const [filter, count] of told) {
      if (count === 0) neighbour.groups.delete(filter)
      else if (neighbour.groups.size < MAX_GROUPS) neighbour.groups.set(filter, count)
      this.#port.handlers.members(gateway, filter, count)
    }
    if (kind === GroupWord.ALL) neighbour.whole = true
    if (version === 0) return
    // After a gap, where a change was lost, the version stays unknown and the next beat makes this gateway ask.
    neighbour.version = neighbour.whole || version === neighbour.version + 1 ? version : 0
    neighbour.whole = false
  }

  #neighbourOf(gateway: string): Neighbour {
    let neighbour = this.#neighbours.get(gateway)
    if (neighbour === undefined) {
      neighbour = { heard: 0, version: 0, whole: false, groups: new Map() }
      this.#neighbours.set(gateway, neighbour)
    }
    return neighbour
  }

  #forget(gateway: string): void {
    for (const filter of this.#neighbours.get(gateway)?.groups.keys() ?? []) {
      this.#port.handlers.members(gateway, filter, 0)
    }
    this.#neighbours.delete(gateway)
  }

  #beatLater(): void {
    this.#cancel = this.#port.clock.after(BEAT_MS, () => {
      this.#word(GroupWord.BEAT)
      const silent = this.#port.clock.now() - SILENCE_MS
      for (const [gateway, { heard }] of [...this.#neighbours]) if (heard < silent) this.#forget(gateway)
      this.#beatLater()
    })
  }

  #word(kind: number, version = this.#version): void {
    this.#port.tell(encodeGroupNews({ kind, gateway: this.#port.id, version, members: [] }))
  }

  /** In pieces, the last of which carries the version; ALL only begins, and goes on as CHANGE. */
  #say(kind: number, members: readonly (readonly [string, number])[]): void {
    let piece: (readonly [string, number])[] = []
    let bytes = 0
    let next = kind
    const send = (version: number) => {
      this.#port.tell(encodeGroupNews({ kind: next, gateway: this.#port.id, version, members: piece }))
      next = GroupWord.CHANGE
      piece = []
      bytes = 0
    }
    for (const entry of members) {
      // A UTF-16 unit is three UTF-8 bytes at most.
      bytes += entry[0].length * 3 + 16
      piece.push(entry)
      if (bytes >= CHUNK_BYTES) send(0)
    }
    send(this.#version)
  }
}
