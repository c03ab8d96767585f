import type { EdgeState, Fanout, Message, Subscriber } from '../../ports.js'

/** A connection that takes fan-out messages. */
export interface MessageOutlet {
  publish(message: Message): void
}

/**
 * A WebSocket session's subscriptions. They belong to the session: they outlive a connection and go on with the next one.
 * What is published in between is lost, since a WebSocket subscription is fire and forget.
 */
export class SessionSubscriptions implements Subscriber, EdgeState {
  readonly device: string
  readonly #fanout: Fanout
  readonly #missed: () => void
  outlet: MessageOutlet | undefined

  /** @param missed called for each message that finds the device away */
  constructor(device: string, fanout: Fanout, missed: () => void) {
    this.device = device
    this.#fanout = fanout
    this.#missed = missed
  }

  get available(): boolean {
    return this.outlet !== undefined
  }

  deliver(message: Message): void {
    if (this.outlet !== undefined) this.outlet.publish(message)
    else this.#missed()
  }

  ended(): void {
    this.outlet = undefined
    this.#fanout.unsubscribeAll(this)
  }
}
