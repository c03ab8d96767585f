/** Which sessions this worker owns, and the fence that keeps two owners apart. */

import type { Attach } from '../../proto/link.js'
import { EpochMemory } from './epoch-memory.js'
import type { SessionHost, SessionLink } from './live-session.js'
import { bindingKey, LiveSession } from './live-session.js'

export class SessionTable {
  readonly #sessions = new Map<string, LiveSession>()
  readonly #departed = new EpochMemory()
  readonly #host: SessionHost
  readonly #capacity: number

  /** @param capacity most sessions that are held; an ATTACH above it is refused with `overloaded` */
  constructor(host: Omit<SessionHost, 'left'>, capacity: number) {
    this.#host = { ...host, left: (session) => this.#left(session) }
    this.#capacity = capacity
  }

  get size(): number {
    return this.#sessions.size
  }

  /**
   * Takes an ATTACH: goes on with the session that is here, or begins one, or refuses.
   * @returns the session that the binding belongs to now, undefined when it was refused
   */
  attach(link: SessionLink, binding: number, attach: Attach): LiveSession | undefined {
    const key = bindingKey(attach)
    const present = this.#sessions.get(key)
    if (present !== undefined && present.device !== attach.device) {
      const message = `session ${attach.session} belongs to another device`
      link.refused(binding, { epoch: attach.epoch - 1, code: 'forbidden', message })
      return undefined
    }
    const known = Math.max(present?.epoch ?? 0, this.#departed.get(key))
    if (attach.epoch <= known) {
      const message = `epoch ${attach.epoch} of session ${attach.session} is not above ${known}`
      link.refused(binding, { epoch: known, code: 'stale_epoch', message })
      return undefined
    }
    if (present?.continues(attach) === true) {
      present.rebind(link, binding, attach)
      return present
    }
    return this.#begin(link, binding, attach, present)
  }

  /**
   * Ends a session whose gateway did not come back.
   * @param epoch what it had when the link broke; a higher one: it was attached since, and who lost it again waits anew
   */
  expire(session: LiveSession, epoch: number): void {
    const lost = session.link === undefined && session.epoch === epoch
    if (lost && this.#sessions.get(session.key) === session) session.end('gateway_lost')
  }

  /** Ends every session. */
  endAll(reason: string): void {
    for (const session of [...this.#sessions.values()]) session.end(reason)
  }

  #begin(
    link: SessionLink,
    binding: number,
    attach: Attach,
    present: LiveSession | undefined,
  ): LiveSession | undefined {
    if (present !== undefined) {
      present.link?.close(present.binding, { code: 'taken_over', message: 'the session was attached anew' })
      present.end('taken_over')
    } else if (this.#sessions.size >= this.#capacity) {
      const message = `this worker holds ${this.#capacity} sessions already`
      link.refused(binding, { epoch: attach.epoch - 1, code: 'overloaded', message, retryAfterMs: 1000 })
      return undefined
    }
    const session = new LiveSession(this.#host, link, binding, attach)
    this.#departed.forget(session.key)
    this.#sessions.set(session.key, session)
    session.begin(attach.state)
    return this.#sessions.get(session.key) === session ? session : undefined
  }

  #left(session: LiveSession): void {
    if (this.#sessions.get(session.key) !== session) return
    this.#sessions.delete(session.key)
    this.#departed.remember(session.key, session.epoch)
  }
}
