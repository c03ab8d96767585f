import type { Message } from '../../ports.js'

/** The will of a client that is connected. */
export interface ConnectedWill {
  readonly message: Message
  /** Seconds from the end of the connection. */
  readonly delay: number
}

/** A will whose connection is gone and whose delay runs (MQTT 5.0 section 3.1.3.2.2). */
export interface PendingWill extends ConnectedWill {
  /** Wall clock when it is published; the end of the session comes first if it is earlier. */
  dueAt: number
}
