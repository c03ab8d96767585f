/**
 * Who leads: at most one coordinator writes, and when it is gone another one does within 3 s.
 *
 * Each looks at the lease every {@link STEP_MS}; its holder renews it as often. The others also hold a direct line to
 * the holder (`leader-watch.ts`), and take the lease by compare-and-set when
 *
 * - nothing listens at the holder's address any more: at once
 * - it is silent, and has not renewed for {@link STALE_MS}: it stopped, or its host is gone
 * - it speaks, but has not renewed for {@link CUT_OFF_MS} while the store answers here: it is cut off from the store
 *
 * A holder that only this coordinator cannot reach goes on renewing, and stays. Two that lead at once for a moment do
 * no harm: every write of state is fenced by the epoch (`fenced-store.ts`).
 */

import { SluiceError } from '../../../proto/errors.js'
import type { Clock, Log } from '../clock.js'
import { type LeaderNews, LeaderWatch, type Verdict } from './leader-watch.js'
import type { Leader, Lease } from './lease.js'

/** In milliseconds; see above. */
const STEP_MS = 250
const STALE_MS = 1200
const CUT_OFF_MS = 5000
/** A leader that looks at itself this late stood still, and asks whether it still leads before it does anything, in milliseconds. */
const STALL_MS = 800
/** Pause after leading failed for a reason of its own, in milliseconds: others may do better. */
const FAILED_MS = 2000

/** What the election moves. */
export interface ElectionEvents {
  /** Take the state up and lead. @throws SluiceError when that does not work now: it is tried again */
  lead(leader: Leader): Promise<void>
  /** Somebody else leads, as far as is known. */
  follow(leader: Leader | undefined, reachable: boolean): void
  /** Stop leading, now. */
  resign(reason: string): void
  /** The leader's state has changed. */
  news(news: LeaderNews): void
}

/** What an election needs. */
export interface ElectionOptions {
  readonly lease: Lease
  readonly self: Omit<Leader, 'epoch'>
  readonly token: string | undefined
  readonly clock: Clock
  readonly log: Log
  readonly events: ElectionEvents
  /** Highest epoch that is known from elsewhere: a lease that was lost must not begin anew. */
  readonly epochFloor: () => number
}

/** One coordinator's part in it. */
export class Election {
  readonly #options: ElectionOptions
  /** The lease, while it is ours. */
  #held: Leader | undefined
  #leading = false
  #watch: { readonly leader: Leader; readonly watch: LeaderWatch } | undefined
  #stepping: Promise<void> | undefined
  #cancelStep: () => void = () => {}
  #steppedAt: number
  #renewing: Promise<void> | undefined
  /** Why the store could not be asked the last time, undefined when it could. */
  #trouble: SluiceError | undefined
  #problem: string | undefined
  /** Looks in a row that ended with a problem. */
  #failures = 0
  /** A leader that stood still asks this first. */
  #doubt: Promise<void> | undefined
  #notBefore = 0
  #closed = false

  constructor(options: ElectionOptions) {
    this.#options = options
    this.#steppedAt = options.clock.now()
  }

  start(): void {
    this.#tick()
  }

  get leading(): boolean {
    return this.#leading
  }

  /** Whoever leads, as far as is known here. */
  get leader(): Leader | undefined {
    return this.#held ?? this.#options.lease.leader
  }

  /** Why the store could not be asked at the last look, undefined when it could. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** How the leader looks from here, undefined for the leader itself. */
  get verdict(): Verdict | undefined {
    return this.#watch?.watch.verdict
  }

  /**
   * Resolves when this coordinator leads, and the shared store said so just now.
   * @throws SluiceError `unavailable` when it does not, or the store cannot tell
   */
  async confirm(): Promise<void> {
    if (!this.#leading) throw new SluiceError('unavailable', 'this coordinator does not lead', { retryAfterMs: 1000 })
    // It is asked all the time: nobody waits for an answer that did not come just before.
    if (this.#trouble !== undefined) throw this.#trouble
    await this.#renew()
    if (!this.#leading) throw new SluiceError('unavailable', 'another coordinator leads now', { retryAfterMs: 1000 })
  }

  /** Somebody else was seen to lead. */
  lost(reason: string): void {
    if (this.#held !== undefined) this.#resign(reason)
  }

  /**
   * Timers that wait, when they are due after this process stood still, until it is known whether it still leads. Without
   * the store's answer they go on: tables follow the fleet while NATS is away.
   */
  guard(clock: Clock): Clock {
    return {
      now: () => clock.now(),
      wall: () => clock.wall(),
      after: (ms, fn) => {
        let cancelled = false
        const cancel = clock.after(ms, () => {
          const doubt = this.#doubts()
          if (doubt === undefined) fn()
          else
            void doubt.then(() => {
              if (!cancelled && this.#leading) fn()
            })
        })
        return () => {
          cancelled = true
          cancel()
        }
      },
    }
  }

  close(): void {
    this.#closed = true
    this.#leading = false
    this.#held = undefined
    this.#cancelStep()
    this.#watch?.watch.close()
  }

  #doubts(): Promise<void> | undefined {
    if (this.#doubt !== undefined || !this.#leading) return this.#doubt
    if (this.#options.clock.now() - this.#steppedAt < STALL_MS) return undefined
    this.#options.log.warn({}, 'this coordinator stood still; it asks whether it still leads')
    this.#doubt = this.confirm()
      .catch(() => {})
      .finally(() => {
        this.#doubt = undefined
      })
    return this.#doubt
  }

  #tick(): void {
    this.#doubts()
    this.#steppedAt = this.#options.clock.now()
    this.#stepping ??= this.#step()
      .then(
        () => this.#stepped(undefined),
        (error: unknown) => this.#stepped(error),
      )
      .finally(() => {
        this.#stepping = undefined
      })
    this.#cancelStep = this.#options.clock.after(STEP_MS, () => this.#tick())
  }

  /** A store that is away is told once, and so is its coming back. The first look may come before there is a connection. */
  #stepped(error: unknown): void {
    const { log } = this.#options
    const away = error instanceof SluiceError && error.code === 'unavailable'
    const before = this.#failures
    this.#problem = away ? error.message : undefined
    this.#failures = away ? before + 1 : 0
    if (error !== undefined && !isExpected(error)) log.error({ error: String(error) }, 'the election failed')
    else if (this.#closed) return
    else if (this.#failures === 2) log.warn({ reason: this.#problem }, 'the shared store cannot be asked who leads')
    else if (before > 1 && !away) log.info({}, 'the shared store answers again')
  }

  async #step(): Promise<void> {
    if (this.#held === undefined) await this.#asFollower()
    else {
      await this.#renew()
      if (!this.#leading && this.#held !== undefined) await this.#lead(this.#held)
    }
  }

  async #asFollower(): Promise<void> {
    const { lease, self, epochFloor } = this.#options
    const leader = await lease.read()
    if (this.#closed) return
    if (leader?.instance === self.instance && leader.epoch > epochFloor()) {
      // Taken by a write that nobody answered.
      if (this.#options.clock.now() >= this.#notBefore) await this.#lead(leader)
      return
    }
    this.#attend(leader)
    if (!this.#mayTake(leader)) return
    const held = await lease.take(self, epochFloor())
    if (!this.#closed) await this.#lead(held)
  }

  #mayTake(leader: Leader | undefined): boolean {
    const { lease, clock } = this.#options
    if (clock.now() < this.#notBefore) return false
    if (leader === undefined || leader.instance === this.#options.self.instance) return true
    const { staleMs } = lease
    const verdict = this.#watch?.watch.verdict
    return verdict === 'dead' || (verdict === 'silent' && staleMs > STALE_MS) || staleMs > CUT_OFF_MS
  }

  /** Watches whoever has the lease. */
  #attend(leader: Leader | undefined): void {
    const watched = this.#watch?.leader
    if (watched?.instance === leader?.instance && watched?.url === leader?.url) return
    this.#watch?.watch.close()
    const { token, clock, events } = this.#options
    this.#watch = leader && {
      leader,
      watch: new LeaderWatch({
        url: leader.url,
        token,
        clock,
        news: (news) => events.news(news),
        changed: (verdict) => {
          events.follow(leader, verdict === 'alive')
          if (verdict === 'dead') this.#stepNow()
        },
      }),
    }
    events.follow(leader, false)
  }

  #stepNow(): void {
    this.#cancelStep()
    this.#tick()
  }

  async #lead(leader: Leader): Promise<void> {
    const { events, log, clock } = this.#options
    this.#held = leader
    this.#watch?.watch.close()
    this.#watch = undefined
    try {
      await events.lead(leader)
    } catch (error) {
      if (error instanceof SluiceError && error.code === 'unavailable') throw error
      log.error({ error: String(error) }, 'this coordinator cannot lead')
      this.#notBefore = clock.now() + FAILED_MS
      this.#held = undefined
      events.resign('it could not begin')
      return
    }
    if (this.#held === leader && !this.#closed) this.#leading = true
    else events.resign('the lease was lost meanwhile')
  }

  #renew(): Promise<void> {
    this.#renewing ??= this.#renewOnce().finally(() => {
      this.#renewing = undefined
    })
    return this.#renewing
  }

  async #renewOnce(): Promise<void> {
    const held = this.#held
    if (held === undefined) return
    try {
      await this.#options.lease.renew(held)
      this.#trouble = undefined
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error
      if (error.code !== 'conflict') {
        this.#trouble = error
        throw error
      }
      this.#trouble = undefined
      this.#resign(error.message)
    }
  }

  #resign(reason: string): void {
    this.#held = undefined
    this.#leading = false
    this.#options.log.warn({ reason }, 'this coordinator does not lead any more')
    this.#options.events.resign(reason)
    if (!this.#closed) this.#stepNow()
  }
}

/** The store is away or somebody else was faster: both are everyday. */
function isExpected(error: unknown): boolean {
  return error instanceof SluiceError && (error.code === 'unavailable' || error.code === 'conflict')
}
