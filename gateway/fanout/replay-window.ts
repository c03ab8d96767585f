/**
 * Tells a message that was seen from a new one, by its sender's running number. NATS hands a connection one copy for
 * each of its subscriptions that match, and a gateway with `a/+` and `+/b` has two.
 */

/** How far a number may lag behind the highest one: copies come next to each other, what
 * one gateway missed comes behind what all got meanwhile. */
export const WINDOW = 4096
/** Senders that are remembered. */
const MAX_SENDERS = 1024

interface Sender {
  highest: number
  readonly seen: Float64Array
}

export class ReplayWindow {
  readonly #senders = new Map<string, Sender>()

  /** True the first time; false for a repetition, or a number that is older than the window. */
  accept(sender: string, seq: number): boolean {
    const state = this.#senders.get(sender) ?? this.#add(sender)
    if (seq <= state.highest - WINDOW) return false
    const at = seq % WINDOW
    if (state.seen[at] === seq) return false
    state.seen[at] = seq
    if (seq > state.highest) state.highest = seq
    return true
  }

  #add(sender: string): Sender {
    if (this.#senders.size >= MAX_SENDERS) {
      for (const oldest of this.#senders.keys()) {
        this.#senders.delete(oldest)
        break
      }
    }
    const made = { highest: 0, seen: new Float64Array(WINDOW).fill(-1) }
    this.#senders.set(sender, made)
    return made
  }
}
