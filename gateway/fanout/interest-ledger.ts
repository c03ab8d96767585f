/**
 * What this gateway's subscribers want, and what of it the other gateways know. Changes are collected per event-loop
 * turn under a version number; a subscription is settled once every connected gateway has acknowledged its version.
 */

import type { Clock } from '../ports.js'

/** Longest that a subscriber waits for other gateways, in ms: one that hangs must not hold up a SUBACK. */
export const SETTLE_MS = 200

export interface LedgerPort {
  readonly clock: Pick<Clock, 'after'>
  readonly turn: (fn: () => void) => void
  /** Tells the gateways of these changes (filter to members), then of the version. */
  readonly announce: (changes: ReadonlyMap<string, number>, version: number) => void
  /** The version that every connected gateway has acknowledged; Infinity when there is none. */
  readonly acknowledged: () => number
}

export class InterestLedger {
  readonly #port: LedgerPort
  readonly #wanted = new Map<string, number>()
  /** Versions of filters that are not settled yet. */
  readonly #unsettled = new Map<string, number>()
  readonly #waiting = new Map<number, (() => void)[]>()
  readonly #changes = new Map<string, number>()
  #version = 0

  constructor(port: LedgerPort) {
    this.#port = port
  }

  /** The version that was announced last. */
  get version(): number {
    return this.#version
  }

  /** Everything that is wanted, changes that are not announced yet included. */
  get wanted(): ReadonlyMap<string, number> {
    return this.#wanted
  }

  set(filter: string, members: number, settled: () => void): void {
    const counts = filter.startsWith('$share/') ? members : Math.min(members, 1)
    if ((this.#wanted.get(filter) ?? 0) !== counts) this.#change(filter, counts)
    if (members === 0) settled()
    else this.#whenKnown(filter, settled)
  }

  /** To be called when a gateway acknowledged, connected or went away. */
  settle(): void {
    const known = this.#port.acknowledged()
    for (const version of [...this.#waiting.keys()]) if (version <= known) this.#release(version)
    if (this.#unsettled.size === 0) return
    for (const [filter, version] of this.#unsettled) if (version <= known) this.#unsettled.delete(filter)
  }

  #change(filter: string, members: number): void {
    if (members === 0) this.#wanted.delete(filter)
    else this.#wanted.set(filter, members)
    if (this.#changes.size === 0) this.#port.turn(() => this.#announce())
    this.#changes.set(filter, members)
    if (members > 0) this.#unsettled.set(filter, this.#version + 1)
    else this.#unsettled.delete(filter)
  }

  #announce(): void {
    const version = ++this.#version
    const changes = new Map(this.#changes)
    this.#changes.clear()
    this.#port.announce(changes, version)
    this.settle()
  }

  #whenKnown(filter: string, settled: () => void): void {
    const version = this.#unsettled.get(filter)
    if (version === undefined || version <= this.#port.acknowledged()) {
      settled()
      return
    }
    const waiting = this.#waiting.get(version)
    if (waiting !== undefined) waiting.push(settled)
    else {
      this.#waiting.set(version, [settled])
      this.#port.clock.after(SETTLE_MS, () => this.#release(version))
    }
  }

  #release(version: number): void {
    const waiting = this.#waiting.get(version)
    if (waiting === undefined) return
    this.#waiting.delete(version)
    for (const settled of waiting) settled()
  }
}
