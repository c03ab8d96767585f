/**
 * Who is behind the numbers on a link. An array where a map would do: every record of a worker looks here, and a session
 * costs 8 bytes instead of 40. A number is a place in the array and how often that place was taken before, so that what a
 * worker still says to a former holder reaches nobody. A place is taken again only after all others that were free.
 */

import { SluiceError } from '../../proto/errors.js'
import type { BindingEvents } from '../worker-port.js'

/** Bits of a number that are the place; the others, below the sign, count its holders. */
const PLACE_BITS = 23
const MASK = 2 ** PLACE_BITS - 1
/** Holders after which the count begins again. 0 is not used: number 0 stands for no binding. */
const LAST_TURN = 2 ** (31 - PLACE_BITS) - 1
/** Ends the list of free places. */
const NONE = -1
/** In a place without a holder that is not free: the worker may still have its number. */
const RETIRED = -2

export class BindingNumbers {
  /** A holder, or the next place that is free. */
  readonly #places: (BindingEvents | number)[] = []
  #turns = new Uint8Array(64)
  #firstFree = NONE
  #lastFree = NONE
  #size = 0

  get size(): number {
    return this.#size
  }

  /** @returns its number, 1 to 2 ** 31 - 1 */
  add(holder: BindingEvents): number {
    const place = this.#takePlace()
    this.#places[place] = holder
    this.#size++
    return ((this.#turns[place] as number) << PLACE_BITS) | place
  }

  get(number: number): BindingEvents | undefined {
    const place = number & MASK
    const holder = this.#places[place]
    return typeof holder === 'object' && this.#turns[place] === number >>> PLACE_BITS ? holder : undefined
  }

  /** @returns false when nobody had it */
  delete(number: number): boolean {
    if (this.get(number) === undefined) return false
    this.#free(number & MASK)
    this.#size--
    return true
  }

  /** As {@link delete}, but the number is not given again before its worker {@link release}d it. */
  retire(number: number): boolean {
    if (this.get(number) === undefined) return false
    this.#places[number & MASK] = RETIRED
    this.#size--
    return true
  }

  /** The worker does not have this number any more. */
  release(number: number): void {
    const place = number & MASK
    if (this.#places[place] === RETIRED && this.#turns[place] === number >>> PLACE_BITS) this.#free(place)
  }

  /** Takes all numbers away, from the worker, too; returns who had one. */
  clear(): BindingEvents[] {
    const holders: BindingEvents[] = []
    for (const [place, holder] of this.#places.entries()) {
      if (typeof holder === 'object') holders.push(holder)
      else if (holder !== RETIRED) continue
      this.#free(place)
    }
    this.#size = 0
    return holders
  }

  #free(place: number): void {
    this.#places[place] = NONE
    if (this.#firstFree === NONE) this.#firstFree = place
    else this.#places[this.#lastFree] = place
    this.#lastFree = place
  }

  #takePlace(): number {
    const place = this.#firstFree
    if (place === NONE) return this.#newPlace()
    this.#firstFree = this.#places[place] as number
    const turn = this.#turns[place] as number
    this.#turns[place] = turn === LAST_TURN ? 1 : turn + 1
    return place
  }

  #newPlace(): number {
    const place = this.#places.length
    if (place > MASK) throw new SluiceError('overloaded', 'a link has no more numbers for bindings')
    if (place === this.#turns.length) {
      const more = new Uint8Array(place * 2)
      more.set(this.#turns)
      this.#turns = more
    }
    this.#turns[place] = 1
    return place
  }
}
