import type { Clock } from '../../ports.js'
import type { Stayer } from './context.js'

/** How long a worker may take to answer a client that left, milliseconds. */
const STAY_MS = 1000
/** Clients waited for at a time; beyond them the session of one that leaves ends at once. */
const MAX_STAYING = 10_000

/**
 * Clients that published and left at once, as `mosquitto_pub` does: the worker's session outlives the connection for a
 * moment, so that what they published is heard, and answered to whoever subscribed to the answer.
 */
export class LateAnswers {
  readonly #clock: Clock
  readonly #staying = new Map<string, Stayer>()
  #closed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @returns false when nobody is waited for any more */
  stay(connection: Stayer): boolean {
    if (this.#closed || this.#staying.size >= MAX_STAYING) return false
    const { device } = connection.session
    this.#staying.set(device, connection)
    this.#clock.after(STAY_MS, () => {
      if (this.#staying.get(device) === connection) this.end(device)
    })
    return true
  }

  end(device: string): void {
    const connection = this.#staying.get(device)
    if (connection === undefined) return
    this.#staying.delete(device)
    connection.forget()
  }

  close(): void {
    this.#closed = true
    for (const device of [...this.#staying.keys()]) this.end(device)
  }
}
