/** Remembers which gateways there are and which is next: the one in use, then the others by rank, then all anew. */

import {
  type Candidate,
  clearlyBetter,
  directCandidate,
  findCandidates,
  type Location,
  measure,
  type ProbeLimits,
  type Ranked,
  rank,
} from './candidates.js'
import type { Platform } from './platform.js'

export class GatewayChooser {
  readonly #platform: Platform
  readonly #bootstrap: readonly string[]
  readonly #location: Location | undefined
  readonly #limits: ProbeLimits
  #ranked: Ranked[] = []
  #tried = new Set<string>()
  #current: string | undefined
  #named: string | undefined

  constructor(platform: Platform, bootstrap: readonly string[], location: Location | undefined, limits: ProbeLimits) {
    this.#platform = platform
    this.#bootstrap = bootstrap
    this.#location = location
    this.#limits = limits
  }

  /**
   * The next gateway to try; undefined when all were tried: wait, then ask again.
   * @throws SluiceError `unavailable` when no bootstrap URL answers
   */
  async next(): Promise<Candidate | undefined> {
    const named = this.#named
    this.#named = undefined
    if (named !== undefined) return this.#ranked.find(({ ws }) => ws === named) ?? directCandidate(named)
    if (this.#ranked.length === 0) await this.#survey()
    const next = this.#ranked.find(({ id }) => !this.#tried.has(id))
    if (next !== undefined) this.#tried.add(next.id)
    else this.#forget()
    return next
  }

  /** A gateway accepted the device. */
  settled(candidate: Candidate): void {
    this.#current = candidate.id
    this.#tried.clear()
    this.#ranked.sort((a, b) => Number(b.id === candidate.id) - Number(a.id === candidate.id))
  }

  /**
   * The gateway in use asked the device to leave: it is tried last, and `url` first if it named one. Only when the device
   * itself measured another one as clearly nearer than that, it goes there: the gateway knows distances, not round trips.
   */
  leave(url: string | undefined): void {
    const { id } = this.#ranked[0] ?? {}
    if (id !== undefined && id === this.#current) this.#ranked.push(...this.#ranked.splice(0, 1))
    this.#current = undefined
    const named = this.#ranked.find(({ ws }) => ws === url)
    const nearest = this.#ranked.find((one) => one.id !== id)
    if (named !== undefined && nearest !== undefined && clearlyBetter(nearest, named)) return
    if (url !== undefined && /^wss?:/.test(url) && URL.canParse(url)) this.#named = url
    // Without another one to go to, the next question is for everybody.
    else if (this.#ranked.length < 2) this.#forget()
  }

  /** Measures again; the gateway to move to, or undefined when the one in use is still good enough. */
  async better(): Promise<Candidate | undefined> {
    await this.#survey()
    const best = this.#ranked[0]
    if (best === undefined || best.id === this.#current || !Number.isFinite(best.score)) return undefined
    this.#named = best.ws
    return best
  }

  #forget(): void {
    this.#ranked = []
    this.#tried.clear()
  }

  async #survey(): Promise<void> {
    const found = await findCandidates(this.#platform, this.#bootstrap, this.#location, this.#limits)
    this.#ranked = rank(await measure(this.#platform, found, this.#limits), this.#current)
    this.#tried.clear()
  }
}
