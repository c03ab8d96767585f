import type { Clock } from './ports.js'

/** Turns are put together for about so long, milliseconds: others wait for what they brought them. */
const MOST_MS = 1

/**
 * The end of an event-loop turn, for what is written once a turn. libuv takes one connection from a listener in a turn (since
 * 1.45), so in a storm of connects each would have its own: its own writes to client and worker, and a wake-up of whoever
 * waits for them, which costs more than the rest. While connections come the end is put off, and many leave together.
 */
export class TurnEnd {
  readonly #clock: Clock
  readonly #later: (fn: () => void) => void
  readonly #look = (): void => this.#end()
  #waiting: (() => void)[] = []
  #spare: (() => void)[] = []
  #accepted = false
  /** When this end was put off first; undefined: it was not. */
  #since: number | undefined

  /** @param later runs a function after the pending I/O events of this turn */
  constructor(clock: Clock, later: (fn: () => void) => void = (fn) => void setImmediate(fn)) {
    this.#clock = clock
    this.#later = later
  }

  /** Calls `fn` once this turn has seen its input. */
  readonly run = (fn: () => void): void => {
    if (this.#waiting.push(fn) === 1) this.#later(this.#look)
  }

  /** A connection was accepted; the next turn may bring another one. */
  readonly accepted = (): void => {
    this.#accepted = true
  }

  #end(): void {
    if (this.#accepted && this.#mayWait()) {
      this.#later(this.#look)
      return
    }
    this.#since = undefined
    const due = this.#waiting
    this.#waiting = this.#spare
    this.#spare = due
    let done = 0
    try {
      while (done < due.length) (due[done++] as () => void)()
    } finally {
      // One that failed keeps none of the others: they have the next turn.
      for (const fn of due.splice(done)) this.run(fn)
      due.length = 0
    }
  }

  #mayWait(): boolean {
    this.#accepted = false
    const now = this.#clock.now()
    this.#since ??= now
    return now - this.#since < MOST_MS
  }
}
