import type { Clock, Fanout, Message } from '../../ports.js'

/** What a journal says of QoS 2 messages. */
export interface HeldJournal {
  /** Those that were held when the process died, oldest first, each with its place. */
  heldOver(): Iterable<readonly [device: string, place: number, message: Message]>
  released(device: string, place: number): void
}

/**
 * QoS 2 messages that a former process had acknowledged with PUBREC and not given to the fan-out. They are given to it
 * when links to other gateways had their time to come up, or when their client is back: what it publishes next comes later.
 */
export class HeldOver {
  readonly #journal: HeldJournal
  readonly #fanout: Fanout
  readonly #byDevice = new Map<string, [place: number, message: Message][]>()
  #cancel: () => void = () => {}

  constructor(journal: HeldJournal, fanout: Fanout) {
    this.#journal = journal
    this.#fanout = fanout
    for (const [device, place, message] of journal.heldOver()) {
      const known = this.#byDevice.get(device)
      if (known === undefined) this.#byDevice.set(device, [[place, message]])
      else known.push([place, message])
    }
  }

  /** Gives all of them after `ms`. @param given called then */
  start(clock: Clock, ms: number, given: () => void): void {
    if (this.#byDevice.size === 0) return
    this.#cancel = clock.after(ms, () => {
      this.giveAll()
      given()
    })
  }

  /** The client is back. */
  give(device: string): void {
    const held = this.#byDevice.get(device)
    if (held === undefined) return
    this.#byDevice.delete(device)
    for (const [place, message] of held) {
      this.#fanout.publish(message, () => this.#journal.released(device, place))
    }
  }

  giveAll(): void {
    this.#cancel()
    for (const device of [...this.#byDevice.keys()]) this.give(device)
  }
}
