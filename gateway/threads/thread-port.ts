/**
 * A thread's end of the channel to its gateway's process: the line to the coordinator leads through it, and so does
 * what the whole gateway says of itself.
 */

import type { DialLine, LineEvents } from '../control/line.js'
import type { GatewayView } from '../http-api.js'
import { joinExpositions, joinStatus, joinUnready } from './join.js'
import type { Channel, FromThread, Subject, ToThread } from './thread-message.js'

export class ThreadPort {
  readonly #channel: Channel<FromThread>
  readonly #asked = new Map<number, (bodies: readonly unknown[]) => void>()
  #line = 0
  #events: LineEvents | undefined
  #view: GatewayView | undefined
  #number = 0

  constructor(channel: Channel<FromThread>) {
    this.#channel = channel
  }

  /** Reaches the coordinator through the gateway's process. */
  readonly dial: DialLine = (events) => {
    const line = ++this.#line
    this.#events = events
    const send = (message: FromThread) => {
      if (line === this.#line && this.#events !== undefined) this.#channel.send(message)
    }
    this.#channel.send({ t: 'dial', line })
    const end = () => {
      send({ t: 'hang_up', line })
      if (line === this.#line) this.#events = undefined
    }
    return {
      send: (bytes) => send({ t: 'send', line, bytes }),
      // The channel breaks when the process dies, and this one ends with it.
      ping: () => events.alive(),
      close: end,
      terminate: end,
    }
  }

  /** What devices and operators see on the shared port, whichever thread they meet: all threads as one. */
  widen(view: GatewayView): GatewayView {
    this.#view = view
    const texts = async () => (await this.#ask('metrics')).filter((text) => typeof text === 'string')
    const joined: Pick<GatewayView, Subject> = {
      unready: async () => joinUnready(await this.#ask('unready')),
      status: async () => joinStatus(await this.#ask('status')),
      metrics: async () => joinExpositions(await texts()),
    }
    // Everything else is the same in every thread, and read when it is asked for.
    return Object.assign(Object.create(view) as GatewayView, joined)
  }

  /** A message that is not about this thread's life. */
  take(message: ToThread): void {
    switch (message.t) {
      case 'open':
        if (message.line === this.#line) this.#events?.open()
        break
      case 'receive':
        if (message.line === this.#line) this.#events?.message(message.bytes)
        break
      case 'lost':
        if (message.line === this.#line) this.#events?.lost(message.reason)
        break
      case 'question':
        void this.#answer(message.id, message.subject)
        break
      case 'told':
        this.#asked.get(message.id)?.(message.bodies)
        this.#asked.delete(message.id)
        break
      default:
        break
    }
  }

  async #answer(id: number, subject: Subject): Promise<void> {
    // Null crosses the channel, undefined is what a missing thread says.
    const body = (await this.#view?.[subject]()) ?? null
    this.#channel.send({ t: 'answer', id, body })
  }

  #ask(subject: Subject): Promise<readonly unknown[]> {
    return new Promise((resolve) => {
      const id = ++this.#number
      this.#asked.set(id, resolve)
      this.#channel.send({ t: 'ask', id, subject })
    })
  }
}
