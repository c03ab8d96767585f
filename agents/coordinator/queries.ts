/** Questions to gateways over the control connection, each with a deadline. */

import type { Query } from '../../proto/control.js'
import { SluiceError } from '../../proto/errors.js'
import type { Clock } from './clock.js'

/** Questions under way to one gateway at most; more fail at once. */
const MAX_PENDING = 1000

interface Pending {
  readonly gateway: string
  readonly settle: (body: unknown) => void
  readonly fail: (error: SluiceError) => void
}

/** Numbers questions and matches answers to them. */
export class Queries {
  readonly #clock: Clock
  readonly #pending = new Map<number, Pending>()
  #next = 1

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * Asks one gateway.
   * @param deadlineMs how long an answer may take
   * @throws SluiceError `unavailable` when it does not answer in time, or its connection ends
   */
  ask(
    gateway: string,
    send: (query: Query) => void,
    what: Omit<Query, 't' | 'id'>,
    deadlineMs: number,
  ): Promise<unknown> {
    const id = this.#next++
    return new Promise((resolve, reject) => {
      if (this.#pending.size >= MAX_PENDING) {
        reject(new SluiceError('overloaded', `${MAX_PENDING} questions to gateways wait for an answer already`))
        return
      }
      const cancel = this.#clock.after(deadlineMs, () => {
        this.#pending.delete(id)
        reject(new SluiceError('unavailable', `gateway ${gateway} did not answer within ${deadlineMs} ms`))
      })
      const settle = (body: unknown): void => {
        cancel()
        resolve(body)
      }
      const fail = (error: SluiceError): void => {
        cancel()
        reject(error)
      }
      this.#pending.set(id, { gateway, settle, fail })
      send({ ...what, t: 'query', id })
    })
  }

  /** An answer came; one that nobody waits for any more is dropped, as is one from another gateway than was asked. */
  answered(gateway: string, id: number, body: unknown): void {
    const pending = this.#pending.get(id)
    if (pending?.gateway !== gateway) return
    this.#pending.delete(id)
    pending.settle(body)
  }

  /** A gateway's connection ended: its answers will not come. Without a gateway: all of them. */
  abandon(gateway?: string): void {
    for (const [id, pending] of this.#pending) {
      if (gateway !== undefined && pending.gateway !== gateway) continue
      this.#pending.delete(id)
      pending.fail(new SluiceError('unavailable', `gateway ${pending.gateway} is not connected any more`))
    }
  }
}
