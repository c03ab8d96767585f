/**
 * A shared subscription group (MQTT 5.0 section 4.8.2): each message goes to one member. Members may sit on other
 * gateways: then the publishing gateway chooses the gateway in proportion to its members (smooth weighted round
 * robin, so ten messages over weights 3 and 2 split 6 to 4), and the chosen gateway chooses among its own.
 */

import type { Target } from './target.js'

interface Seat {
  weight: number
  current: number
}

/** The least a group needs to know of a member. */
export interface Member {
  readonly available: boolean
}

export class SharedGroup<S extends Member> {
  /** `$share/GROUP/FILTER`. */
  readonly filter: string
  readonly #members = new Map<S, Target<S>>()
  /** Other gateways with members, by id. Made when the first one appears. */
  #remotes: Map<string, Seat> | undefined
  readonly #here: Seat = { weight: 0, current: 0 }
  #ring: Target<S>[] | undefined
  #next = 0

  constructor(filter: string) {
    this.filter = filter
  }

  /** Local members. */
  get size(): number {
    return this.#members.size
  }

  get empty(): boolean {
    return this.#members.size === 0 && this.#remotes === undefined
  }

  target(subscriber: S): Target<S> | undefined {
    return this.#members.get(subscriber)
  }

  set(target: Target<S>): void {
    this.#members.set(target.subscriber, target)
    this.#changed()
  }

  delete(subscriber: S): boolean {
    const removed = this.#members.delete(subscriber)
    if (removed) this.#changed()
    return removed
  }

  /** Another gateway has this many members; 0 removes it. */
  setRemote(gateway: string, members: number): void {
    if (members > 0) {
      this.#remotes ??= new Map()
      const seat = this.#remotes.get(gateway)
      if (seat) seat.weight = members
      else this.#remotes.set(gateway, { weight: members, current: 0 })
    } else if (this.#remotes?.delete(gateway) && this.#remotes.size === 0) this.#remotes = undefined
  }

  /** The member whose turn it is, a gateway's id when a member there is to get it, undefined when there is nobody. */
  pick(): Target<S> | string | undefined {
    if (this.#remotes === undefined) return this.pickLocal()
    const chosen = this.#pickSeat(this.#here.weight > 0)
    if (chosen !== undefined) return chosen
    const local = this.pickLocal()
    // All members here are offline: somebody elsewhere is preferred to a queue.
    return local?.subscriber.available === false ? (this.#pickSeat(false) ?? local) : local
  }

  /** The next available member here; when none is, the next one all the same (its session may queue). */
  pickLocal(): Target<S> | undefined {
    this.#ring ??= [...this.#members.values()]
    const ring = this.#ring
    const length = ring.length
    if (length === 0) return undefined
    let at = this.#next % length
    for (let i = 0; i < length; i++) {
      const candidate = (this.#next + i) % length
      if ((ring[candidate] as Target<S>).subscriber.available) {
        at = candidate
        break
      }
    }
    this.#next = (at + 1) % length
    return ring[at]
  }

  /** Smooth weighted round robin over the gateways; undefined means this one. */
  #pickSeat(withHere: boolean): string | undefined {
    let total = 0
    let best: Seat | undefined
    let chosen: string | undefined
    if (withHere) {
      best = this.#here
      total = best.weight
      best.current += best.weight
    }
    for (const [gateway, seat] of this.#remotes as Map<string, Seat>) {
      seat.current += seat.weight
      total += seat.weight
      if (best !== undefined && seat.current <= best.current) continue
      best = seat
      chosen = gateway
    }
    if (best) best.current -= total
    return chosen
  }

  #changed(): void {
    this.#ring = undefined
    this.#here.weight = this.#members.size
  }
}
