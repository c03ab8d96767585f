/**
 * What must not be lost on its way to NATS: QoS 1 and 2, and retained messages, in the order of their publishing. They
 * wait here while NATS is away, and stay for a while after they went out, for gateways that come back and missed them.
 * Receivers drop what they have seen (replay-window.ts).
 *
 *     forgotten │ the server has them │ sent │ waiting
 *                first                 unconfirmed  next
 */

/** Bounds; what is beyond drops the oldest. */
export interface OutboxLimits {
  /** Messages, and bytes of them, that wait or are kept. */
  readonly messages: number
  readonly bytes: number
  /** Bytes, and milliseconds, that messages are kept which the server has. */
  readonly historyBytes: number
  readonly historyMs: number
}

export const OUTBOX_LIMITS: OutboxLimits = {
  messages: 100_000,
  bytes: 64 * 1024 * 1024,
  historyBytes: 16 * 1024 * 1024,
  historyMs: 30_000,
}

/** One message, encoded. */
export interface Outgoing {
  /** Below the prefix. */
  readonly subject: string
  readonly data: Uint8Array
  /** By the bus' clock. */
  readonly at: number
}

/** What a message weighs besides its bytes. */
const OVERHEAD = 200

export class Outbox {
  readonly #limits: OutboxLimits
  readonly #entries: (Outgoing | undefined)[] = []
  /** Where the first one stands in `#entries`: an index instead of shift(), which moves the whole array. */
  #head = 0
  /** Number of the first one; numbers rise by one. */
  #first = 0
  /** Number of the first one that the server may not have. */
  #unconfirmed = 0
  #next = 0
  #bytes = 0
  #confirmedBytes = 0
  /** When the newest one that was dropped from the history was added. */
  #forgotten = Number.NEGATIVE_INFINITY

  constructor(limits: Partial<OutboxLimits> = {}) {
    this.#limits = { ...OUTBOX_LIMITS, ...limits }
  }

  /** Messages that have to go out yet. */
  get waiting(): number {
    return this.#end - this.#next
  }

  /** Number of the next one to go out: what {@link confirm} is to be called with once the server took all before it. */
  get next(): number {
    return this.#next
  }

  /** @returns how many messages that the server may not have were dropped to make room */
  add(message: Outgoing): number {
    this.#entries.push(message)
    this.#bytes += weightOf(message)
    return this.#trim(message.at)
  }

  /** The next one to go out, which counts as sent from now on. */
  take(): Outgoing | undefined {
    return this.#next === this.#end ? undefined : this.#at(this.#next++)
  }

  /** The one that was taken last did not go out. */
  giveBack(): void {
    this.#next--
  }

  /** The server took everything below `number`. */
  confirm(number: number): void {
    for (; this.#unconfirmed < number && this.#unconfirmed < this.#next; this.#unconfirmed++) {
      this.#confirmedBytes += weightOf(this.#at(this.#unconfirmed))
    }
  }

  /** The connection is lost: what the server may not have goes out again. */
  disconnected(): void {
    this.#next = this.#unconfirmed
  }

  /**
   * Somebody missed what was added since `at`: it goes out again.
   * @returns false when some of it is not kept any more
   */
  rewind(at: number): boolean {
    while (this.#next > this.#first && this.#at(this.#next - 1).at >= at) this.#next--
    while (this.#unconfirmed > this.#next) {
      this.#unconfirmed--
      this.#confirmedBytes -= weightOf(this.#at(this.#unconfirmed))
    }
    return this.#forgotten < at
  }

  get #end(): number {
    return this.#first + this.#entries.length - this.#head
  }

  #at(number: number): Outgoing {
    return this.#entries[this.#head + number - this.#first] as Outgoing
  }

  #trim(now: number): number {
    const { messages, bytes, historyBytes, historyMs } = this.#limits
    let dropped = 0
    while (this.#first < this.#end) {
      const oldest = this.#at(this.#first)
      const confirmed = this.#first < this.#unconfirmed
      const full = this.#end - this.#first > messages || this.#bytes > bytes
      const old = confirmed && (this.#confirmedBytes > historyBytes || oldest.at < now - historyMs)
      if (!full && !old) break
      this.#drop(oldest, confirmed)
      if (!confirmed) dropped++
    }
    return dropped
  }

  #drop(oldest: Outgoing, confirmed: boolean): void {
    const weight = weightOf(oldest)
    this.#bytes -= weight
    if (confirmed) this.#confirmedBytes -= weight
    this.#forgotten = oldest.at
    this.#first++
    this.#unconfirmed = Math.max(this.#unconfirmed, this.#first)
    this.#next = Math.max(this.#next, this.#first)
    // The array must not hold what is gone until it is compacted.
    this.#entries[this.#head++] = undefined
    if (this.#head < 1024 || this.#head * 2 < this.#entries.length) return
    this.#entries.splice(0, this.#head)
    this.#head = 0
  }
}

function weightOf({ data }: Outgoing): number {
  return data.length + OVERHEAD
}
