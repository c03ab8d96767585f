/**
 * What waits for the upstream broker: bounded, in order, and what is dropped is QoS 0 first, the oldest of it. A message
 * with QoS 1 or 2 is refused only when nothing but such waits.
 */

/** A message on its way to the broker. */
export interface OutMessage {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
}

/** What a waiting message weighs besides topic and payload. */
const OVERHEAD = 128

interface Waiting<T> {
  readonly message: T
  readonly serial: number
}

export class OutQueue<T extends OutMessage> {
  readonly #maxMessages: number
  readonly #maxBytes: number
  /** Apart, so that the oldest QoS 0 is found at once; serials tell the order over both. */
  #loose: Waiting<T>[] = []
  #firm: Waiting<T>[] = []
  #serial = 0
  bytes = 0
  /** Messages that were dropped because the queue was full. */
  dropped = 0

  constructor(maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages
    this.#maxBytes = maxBytes
  }

  get length(): number {
    return this.#loose.length + this.#firm.length
  }

  add(message: T): void {
    const size = sizeOf(message)
    while (this.#full(size)) {
      const oldest = this.#loose.shift()
      if (oldest === undefined) {
        this.dropped++
        return
      }
      this.bytes -= sizeOf(oldest.message)
      this.dropped++
    }
    this.bytes += size
    const list = message.qos === 0 ? this.#loose : this.#firm
    list.push({ message, serial: ++this.#serial })
  }

  /** Puts back what was taken and not delivered, before everything else, in its order. It was counted in once: it always fits. */
  putBack(messages: readonly T[]): void {
    // Negative serials: before all that waits, and before what was put back earlier.
    let serial = Math.min(0, this.#loose[0]?.serial ?? 0, this.#firm[0]?.serial ?? 0) - messages.length
    const back = messages.map((message) => ({ message, serial: serial++ }))
    for (const message of messages) this.bytes += sizeOf(message)
    this.#loose = [...back.filter(({ message }) => message.qos === 0), ...this.#loose]
    this.#firm = [...back.filter(({ message }) => message.qos > 0), ...this.#firm]
  }

  /** The oldest message of all. */
  take(): T | undefined {
    const [loose, firm] = [this.#loose[0], this.#firm[0]]
    const list = firm === undefined || (loose !== undefined && loose.serial < firm.serial) ? this.#loose : this.#firm
    const message = list.shift()?.message
    if (message !== undefined) this.bytes -= sizeOf(message)
    return message
  }

  /** Drops everything, counted. */
  clear(): void {
    this.dropped += this.length
    this.#loose = []
    this.#firm = []
    this.bytes = 0
  }

  #full(size: number): boolean {
    return this.length >= this.#maxMessages || this.bytes + size > this.#maxBytes
  }
}

function sizeOf({ topic, payload }: OutMessage): number {
  return OVERHEAD + topic.length + payload.length
}
