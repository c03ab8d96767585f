/**
 * Who is alive, as a pure state machine: facts go in with the time at which they were seen, states come out of `poll`.
 *
 * A member has up to two witnesses: its own control connection with heartbeats, and the gateways whose links it answers.
 * One witness that is lost makes it suspect; it is gone when no witness is left:
 *
 * - control connection closed, and a gateway's link broke too, none answers: at once (that is a kill -9)
 * - control connection closed, and no gateway ever had a link to it: after `closedMs`
 * - no heartbeat for `silentMs`, and no gateway's link answers: gone (that is a hang, or a lost machine)
 * - heartbeats late while links answer: suspect, never gone (slow, or cut off from the coordinator alone)
 */

/** All in milliseconds. */
export interface MembershipTimes {
  /** No heartbeat for this long makes a member suspect. Three heartbeats of 500 ms, less what one may be late. */
  readonly suspectMs: number
  /** No heartbeat for this long, and no gateway that vouches for it: gone. Under the promise of 3 s with room to act. */
  readonly silentMs: number
  /** How long a closed control connection may take to come back when no gateway says anything. Under the promise of 1 s. */
  readonly closedMs: number
  /** How long members known from disk may take to come back after the coordinator started. */
  readonly restoredMs: number
  /** A gateway's word counts only when it was heard itself within this time. */
  readonly witnessMs: number
  /** A member that was lost twice or more within this time is kept out for a while... */
  readonly flapWindowMs: number
  /** ...this long after the second loss, doubling with each further one... */
  readonly flapHoldMs: number
  /** ...up to this long. */
  readonly flapHoldMaxMs: number
}

/** What the promises of design.md section 4 ask for. */
export const MEMBERSHIP_TIMES: MembershipTimes = {
  suspectMs: 1300,
  silentMs: 2500,
  closedMs: 800,
  restoredMs: 3000,
  witnessMs: 1500,
  flapWindowMs: 60_000,
  flapHoldMs: 2000,
  flapHoldMaxMs: 30_000,
}

/** `held` is alive, but kept out because it came and went too often. */
export type MemberState = 'up' | 'suspect' | 'held' | 'gone'

/** A change that {@link Membership.poll} found. */
export interface Transition {
  readonly id: string
  readonly from: MemberState
  readonly to: MemberState
  readonly reason: string
}

interface Facts {
  connected: boolean
  closedAt: number
  /** How long `closedAt` may be past. */
  graceMs: number
  /** It said that it leaves: no grace. */
  left: boolean
  heardAt: number
  /** Per gateway: true while its link to this member answers. */
  readonly links: Map<string, boolean>
  state: MemberState
  /** When it last came up; undefined while it is not in. */
  upSince: number | undefined
  heldUntil: number
}

/** The members of one kind: the workers, or the gateways. Times are those of {@link Clock.now}. */
export class Membership {
  readonly #times: MembershipTimes
  readonly #members = new Map<string, Facts>()
  /** When each gateway was heard last. */
  readonly #witnesses = new Map<string, number>()
  /** When each member was lost, for those lost within the flap window. */
  readonly #losses = new Map<string, number[]>()

  constructor(times: MembershipTimes = MEMBERSHIP_TIMES) {
    this.#times = times
  }

  /** A member known from before the coordinator started: suspect until it registers, gone when it does not in time. */
  restore(id: string, now: number): void {
    const facts = newFacts(now)
    facts.connected = false
    facts.graceMs = this.#times.restoredMs
    facts.state = 'suspect'
    facts.upSince = now
    this.#members.set(id, facts)
  }

  /** A member registered, for the first time or again. @param restarted its process is another one than before */
  register(id: string, restarted: boolean, now: number): void {
    const known = this.#members.get(id)
    const facts = known ?? newFacts(now)
    if (known === undefined) facts.heldUntil = now + this.#holdFor(id, now)
    // What gateways said of the old process says nothing about the new one.
    if (restarted) facts.links.clear()
    facts.connected = true
    facts.left = false
    facts.heardAt = now
    this.#members.set(id, facts)
  }

  /** A heartbeat, or anything else on its control connection. */
  heard(id: string, now: number): void {
    const facts = this.#members.get(id)
    if (facts === undefined) return
    // Back from the dead on the same connection (it was stopped, and continued): the same rules as for coming back anew.
    if (facts.state === 'gone') facts.heldUntil = now + this.#holdFor(id, now)
    facts.heardAt = now
  }

  /** Its control connection closed. @param left it said that it goes */
  closed(id: string, left: boolean, now: number): void {
    const facts = this.#members.get(id)
    if (facts === undefined) return
    facts.connected = false
    facts.closedAt = now
    facts.graceMs = this.#times.closedMs
    facts.left = left
  }

  /** A gateway's link to a member answers, or does not any more. */
  link(gateway: string, id: string, answers: boolean, now: number): void {
    this.#witnesses.set(gateway, now)
    this.#members.get(id)?.links.set(gateway, answers)
  }

  /** Anything from a gateway: its earlier reports still stand. */
  witnessHeard(gateway: string, now: number): void {
    this.#witnesses.set(gateway, now)
  }

  /**
   * This process itself stood still for so long: what it did not hear meanwhile nobody failed to say. What came in
   * waits to be read.
   */
  stalled(ms: number): void {
    for (const facts of this.#members.values()) {
      facts.heardAt += ms
      facts.closedAt += ms
    }
    for (const [gateway, at] of this.#witnesses) this.#witnesses.set(gateway, at + ms)
  }

  /** A gateway is gone, and its word with it. */
  forgetWitness(gateway: string): void {
    this.#witnesses.delete(gateway)
    for (const facts of this.#members.values()) facts.links.delete(gateway)
  }

  /** Undefined for members that are not known, or were removed after they were gone. */
  stateOf(id: string): MemberState | undefined {
    return this.#members.get(id)?.state
  }

  /** When a member last came up, undefined while it is not in. For slow start. */
  upSince(id: string): number | undefined {
    return this.#members.get(id)?.upSince
  }

  /** True when every gateway that has a link to a member which is up has lost it. */
  unreachable(id: string): boolean {
    const links = this.#members.get(id)?.links
    return links !== undefined && links.size > 0 && [...links.values()].every((answers) => !answers)
  }

  /** True while a member that was restored from disk has neither come back nor been given up. */
  get restoring(): boolean {
    for (const facts of this.#members.values()) {
      if (!facts.connected && facts.graceMs === this.#times.restoredMs && facts.state === 'suspect') return true
    }
    return false
  }

  /** Looks at the facts as of `now`, and tells what changed. Members that are gone and unconnected are forgotten. */
  poll(now: number): Transition[] {
    const transitions: Transition[] = []
    for (const [id, facts] of this.#members) {
      const [to, reason] = this.#judge(facts, now)
      const from = facts.state
      if (to !== from) {
        this.#enter(id, facts, to, now)
        transitions.push({ id, from, to, reason })
      }
      if (to === 'gone' && !facts.connected) this.#members.delete(id)
    }
    this.#forgetLosses(now)
    return transitions
  }

  #judge(facts: Facts, now: number): [MemberState, string] {
    const { suspectMs, silentMs, witnessMs } = this.#times
    const silence = now - facts.heardAt
    const links = [...facts.links].filter(([gateway]) => now - (this.#witnesses.get(gateway) ?? -Infinity) <= witnessMs)
    const answers = links.some(([, up]) => up)
    if (!facts.connected) {
      if (facts.left) return ['gone', 'it left']
      if (answers) return ['suspect', 'its control connection closed, but its links answer']
      if (links.length > 0) return ['gone', 'its control connection closed and its links broke']
      // One that was silent before it closed gets no second wait; one from disk was never heard, and has a wait of its own.
      const silent = silence >= silentMs && facts.graceMs !== this.#times.restoredMs
      if (silent || now - facts.closedAt >= facts.graceMs) return ['gone', 'its control connection closed']
      return ['suspect', 'its control connection closed']
    }
    if (silence >= silentMs && !answers) return ['gone', `no heartbeat for ${silentMs} ms, and no link answers`]
    if (now < facts.heldUntil) return ['held', 'it came and went too often']
    if (silence >= suspectMs) return ['suspect', 'its heartbeats are late']
    return ['up', 'it is heard']
  }

  #enter(id: string, facts: Facts, to: MemberState, now: number): void {
    const wasIn = facts.state === 'up' || facts.state === 'suspect'
    const isIn = to === 'up' || to === 'suspect'
    facts.state = to
    if (isIn && !wasIn) facts.upSince = now
    if (!isIn) facts.upSince = undefined
    if (wasIn && to === 'gone' && !facts.left) this.#losses.set(id, [...(this.#losses.get(id) ?? []), now].slice(-8))
  }

  /** The first loss is forgiven: a supervisor restarts what crashed once. */
  #holdFor(id: string, now: number): number {
    const { flapWindowMs, flapHoldMs, flapHoldMaxMs } = this.#times
    const losses = (this.#losses.get(id) ?? []).filter((at) => now - at < flapWindowMs).length
    return losses < 2 ? 0 : Math.min(flapHoldMaxMs, flapHoldMs * 2 ** (losses - 2))
  }

  #forgetLosses(now: number): void {
    for (const [id, losses] of this.#losses) {
      if (losses.every((at) => now - at >= this.#times.flapWindowMs)) this.#losses.delete(id)
    }
  }
}

function newFacts(now: number): Facts {
  return {
    connected: true,
    closedAt: now,
    graceMs: 0,
    left: false,
    heardAt: now,
    links: new Map(),
    state: 'gone',
    upSince: undefined,
    heldUntil: 0,
  }
}
