/** How something is sent to a device. */

/** Names and texts that travel with a frame (MQTT 5: user properties). */
export type Headers = Readonly<Record<string, string>>

/** How `session.send` sends. */
export interface SendOptions {
  /** MQTT topic of the answer; empty by default. */
  topic?: string
  /** True: kept until the device confirmed it, and sent again after a loss. False: at most once. */
  acked?: boolean
  headers?: Headers
}
