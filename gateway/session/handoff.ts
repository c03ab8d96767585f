/**
 * One change of a binding's owner, from the moment the former one lets go or is lost until the next one has accepted:
 * what waits meanwhile, what travels, since when, and what the receipt tells. A bound binding has none.
 * Used again and again: in a storm of connects each would live just long enough to be moved among the long-lived objects.
 */

import type { BindingLimits, Handover } from './binding-terms.js'
import { HeldFrames } from './held-frames.js'

/** Ended ones that are kept for the next. */
const MOST_SPARE = 1024
const spare: Handoff[] = []

export class Handoff {
  /** State of the former owner, kept until a new one accepted it. */
  carried: Uint8Array | undefined
  /** True when the next owner may get what the former one processed already. */
  redelivered = false
  /** Attaches that failed one after the other. */
  attempts = 0
  /** Told once: a worker accepted, and whether it held the session already; or the binding is over. */
  settled: ((resumed: boolean) => void) | undefined
  #since = 0
  /** When the current step began. A new binding waits for no former owner: whoever is there may have it at once. */
  #stepAt = Number.NEGATIVE_INFINITY
  #from = ''
  #clean = true
  #warned = false
  #held: HeldFrames | undefined

  /**
   * @param now milliseconds of the host's clock, as everywhere here
   * @param from the former owner; empty for a first attach
   */
  static begin(now: number, from: string): Handoff {
    const handoff = spare.pop() ?? new Handoff()
    handoff.#since = now
    handoff.#from = from
    return handoff
  }

  private constructor() {}

  /** It is over, and this object somebody else's from now on. */
  end(resumed: boolean): void {
    const { settled } = this
    this.carried = undefined
    this.settled = undefined
    this.redelivered = false
    this.attempts = 0
    this.#stepAt = Number.NEGATIVE_INFINITY
    this.#clean = true
    this.#warned = false
    this.#held = undefined
    if (spare.length < MOST_SPARE) spare.push(this)
    settled?.(resumed)
  }

  /** The next step begins: its deadline counts from here. */
  step(now: number): void {
    this.#stepAt = now
  }

  /** How long the current step takes already, milliseconds. */
  waited(now: number): number {
    return now - this.#stepAt
  }

  /** Takes the place of what is known: the binding comes from another gateway. */
  adopt(from: string, carried: Uint8Array | undefined): void {
    this.#from = from
    this.carried = carried
    this.redelivered = true
  }

  /** The owner is gone, and its state with it. */
  lose(worker: string): void {
    this.#from = worker
    this.#clean = false
    this.redelivered = true
    this.carried = undefined
  }

  /** Keeps a frame until there is an owner. */
  hold(bytes: Uint8Array, seq: number): void {
    this.#held ??= new HeldFrames()
    this.#held.push(bytes, seq)
  }

  /** True when no more frames may be held. */
  full({ heldFrames, heldBytes }: BindingLimits): boolean {
    const held = this.#held
    return held !== undefined && (held.count >= heldFrames || held.bytes >= heldBytes)
  }

  /** Visits the held frames, in order: they are the new owner's. */
  release(visit: (bytes: Uint8Array, seq: number) => void): void {
    this.#held?.each(visit)
    this.#held = undefined
  }

  /** True once, when frames were held for `holdMs`. */
  heldTooLong(now: number, holdMs: number): boolean {
    if (this.#warned || now - this.#since < holdMs) return false
    this.#warned = true
    return true
  }

  /** Gives the fire-and-forget frames up; returns how many there were. */
  dropUnacknowledged(): number {
    const dropped = this.#held?.dropUnacknowledged() ?? 0
    if (this.#held?.count === 0) this.#held = undefined
    return dropped
  }

  /** The new owner `to` accepted. */
  receipt(to: string, lastSeq: number, firstSeq: number, now: number): Handover {
    return { from: this.#from, to, clean: this.#clean, lastSeq, firstSeq, pauseMs: now - this.#since }
  }
}
