import type { Message } from '../../ports.js'

/** A QoS 1 message of a client that the fan-out still delivers. */
export interface HandOver {
  readonly packetId: number
  /** What the acknowledgement will say. */
  readonly reason: number
  /** A worker has processed it, or none gets it. */
  processed: boolean
}

/**
 * Messages whose PUBACK waits for the fan-out: it delivers to many in slices, and what is acknowledged must be in every
 * journal. Made with the first one.
 */
export class HandOvers {
  readonly #byMessage = new Map<Message, HandOver>()
  readonly #byId = new Map<number, HandOver>()

  add(message: Message, handOver: HandOver): void {
    this.#byMessage.set(message, handOver)
    this.#byId.set(handOver.packetId, handOver)
  }

  /** A worker processed the message. @returns true when its acknowledgement has to wait for the fan-out */
  processed(packetId: number): boolean {
    const found = this.#byId.get(packetId)
    if (found === undefined) return false
    found.processed = true
    return true
  }

  /** The fan-out is through with the message. @returns undefined for one that was forgotten */
  finished(message: Message): HandOver | undefined {
    const found = this.#byMessage.get(message)
    if (found === undefined) return undefined
    this.#byMessage.delete(message)
    if (this.#byId.get(found.packetId) === found) this.#byId.delete(found.packetId)
    return found
  }

  /** The message was refused: nothing is to be said any more. */
  forget(packetId: number): void {
    const found = this.#byId.get(packetId)
    if (found === undefined) return
    this.#byId.delete(packetId)
    for (const [message, handOver] of this.#byMessage) if (handOver === found) this.#byMessage.delete(message)
  }
}
