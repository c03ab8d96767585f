/**
 * Answers for `device.request()`. A request carries the header `request-id`; a worker that answers with `frame.reply()`
 * (echo does) returns it, and the answer finds its request whatever came between. An answer without that header goes to
 * the oldest open request on its topic: frames of one topic go to one worker, in order.
 */

import { SluiceError } from '../../proto/errors.js'

/** Header that ties an answer to its request. */
export const REQUEST_ID = 'request-id'

interface Open {
  readonly topic: string
  resolve(answer: Uint8Array): void
  reject(error: Error): void
}

export class Requests {
  readonly #open = new Map<string, Open>()
  readonly #limit: number
  #last = 0

  /** @param limit most requests that wait for an answer at once */
  constructor(limit: number) {
    this.#limit = limit
  }

  /**
   * A new request's id, and the promise of its answer.
   * @throws SluiceError `overloaded` when too many are open
   */
  begin(topic: string): { id: string; answer: Promise<Uint8Array> } {
    if (this.#open.size >= this.#limit) {
      throw new SluiceError('overloaded', `${this.#limit} requests wait for an answer already`)
    }
    const id = String(++this.#last)
    const answer = new Promise<Uint8Array>((resolve, reject) => {
      this.#open.set(id, { topic, resolve, reject })
    })
    return { id, answer }
  }

  /** Gives an answer to its request; false when it is nobody's. */
  answer(topic: string, id: string | undefined, payload: Uint8Array): boolean {
    const key = id ?? this.#oldest(topic)
    const open = key === undefined ? undefined : this.#open.get(key)
    if (key === undefined || open === undefined) return false
    this.#open.delete(key)
    open.resolve(payload)
    return true
  }

  fail(id: string, error: Error): void {
    this.#open.get(id)?.reject(error)
    this.#open.delete(id)
  }

  failAll(error: Error): void {
    for (const id of [...this.#open.keys()]) this.fail(id, error)
  }

  #oldest(topic: string): string | undefined {
    for (const [id, open] of this.#open) if (open.topic === topic) return id
    return undefined
  }
}
