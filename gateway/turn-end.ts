import type { Clock } from './ports.js'

/** A turn goes on this long at most, milliseconds: others wait for what it brought them. */
const MOST_MS = 1

/**
 * The end of an event-loop turn, for what is written once a turn. libuv takes one connection from a listener in a turn (since
 * 1.45), so in a storm of connects each would have its own: its own writes to client and worker, and a wake-up of whoever
 * waits for them, which costs more than the rest. While connections come the end is put off, and many leave together.
 */
export class TurnEnd {
  readonly #clock: Clock
  readonly #look = (): void => this.#end()
  #waiting: (() => void)[] = []
  #spare: (() => void)[] = []
  #accepted = false
  /** When this end was put off first; undefined: it was not. */
  #since: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Calls `fn` once this turn has seen its input. */
  readonly run = (fn: () => void): void => {
    if (this.#waiting.push(fn) === 1) setImmediate(this.#look)
  }

  /** A connection was accepted; the next turn may bring another one. */
  readonly accepted = (): void => {
    this.#accepted = true
  }

  #end(): void {
    if (this.#accepted && this.#mayWait()) {
      setImmediate(this.#look)
      return
    }
    this.#since = undefined
    const due = this.#waiting
    this.#waiting = this.#spare
    this.#spare = due
    for (const fn of due) fn()
    due.length = 0
  }

  #mayWait(): boolean {
    this.#accepted = false
    const now = this.#clock.now()
    this.#since ??= now
    return now - this.#since < MOST_MS
  }
}
