/**
 * Where a worker's answers go: the response topic and correlation data of the client's latest request with the same
 * topic (MQTT 5.0 section 4.10). Made with the first request that names one.
 */

/** Topics that are remembered for one client; the oldest goes first. */
const REMEMBERED = 64

export interface Reply {
  readonly topic: string
  readonly correlation: Uint8Array | undefined
}

export class Replies {
  readonly #byTopic = new Map<string, Reply>()

  remember(topic: string, reply: Reply): void {
    this.#byTopic.delete(topic)
    if (this.#byTopic.size >= REMEMBERED) {
      for (const oldest of this.#byTopic.keys()) {
        this.#byTopic.delete(oldest)
        break
      }
    }
    this.#byTopic.set(topic, reply)
  }

  forget(topic: string): void {
    this.#byTopic.delete(topic)
  }

  find(topic: string): Reply | undefined {
    return this.#byTopic.get(topic)
  }

  /** All of them, oldest first. */
  entries(): Iterable<readonly [topic: string, reply: Reply]> {
    return this.#byTopic
  }
}
