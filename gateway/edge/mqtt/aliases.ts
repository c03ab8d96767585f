/** Topic aliases of one connection (MQTT 5.0 section 3.3.2.3.4); made when the first one is used. */

/** Aliases that the client set. */
export class InboundAliases {
  readonly #topics: (string | undefined)[] = []

  set(alias: number, topic: string): void {
    this.#topics[alias] = topic
  }

  get(alias: number): string | undefined {
    return this.#topics[alias]
  }
}

/** Aliases that the gateway sets: the first topics get them, for as long as the connection lasts. */
export class OutboundAliases {
  readonly #aliases = new Map<string, number>()
  readonly #maximum: number

  constructor(maximum: number) {
    this.#maximum = maximum
  }

  /** The alias of the topic when the client knows it, 0 otherwise. */
  known(topic: string): number {
    return this.#aliases.get(topic) ?? 0
  }

  /** Gives the topic an alias while there are some left; 0 otherwise. */
  assign(topic: string): number {
    if (this.#aliases.size >= this.#maximum) return 0
    this.#aliases.set(topic, this.#aliases.size + 1)
    return this.#aliases.size
  }

  /** Takes back the alias that was assigned last: the packet that told it was not sent. */
  forget(topic: string): void {
    this.#aliases.delete(topic)
  }
}
