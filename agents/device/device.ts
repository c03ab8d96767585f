/** The device as its user sees it. */

import type { DeviceEvents, DeviceState, RequestOptions, SendOptions } from './options.js'
import type { OnMessage } from './subscriptions.js'

/** A connected device. */
export interface Device {
  readonly id: string
  readonly state: DeviceState
  /** Id of the gateway in use and of the session; empty before the first connection. */
  readonly gateway: string
  readonly session: string
  /**
   * Sends DATA to the worker that owns this device.
   * @returns settles when it was processed (acked) or handed over (not acked)
   * The promise may be ignored. It rejects with SluiceError `overloaded` when the queue is full, `unavailable` when the device is closed
   */
  send(payload: Uint8Array | string, options?: SendOptions): Promise<void>
  /** Sends acknowledged DATA and resolves with the worker's answer. */
  request(payload: Uint8Array | string, options?: RequestOptions): Promise<Uint8Array>
  /** Publishes to every subscriber of `topic`. */
  publish(topic: string, payload: Uint8Array | string, options?: Omit<SendOptions, 'topic'>): Promise<void>
  /** Calls `fn` for what is published on topics that match; resolves, once the gateway confirmed, with a function that ends it. */
  subscribe(filter: string, fn: OnMessage): Promise<() => Promise<void>>
  /** Measures the gateways again and moves when another one is clearly better; true when it moves. */
  reprobe(): Promise<boolean>
  /** Ends the session. What was not confirmed is rejected with `unavailable`. */
  close(): void
  /** @returns a function that takes the listener away */
  on<E extends keyof DeviceEvents>(event: E, listener: DeviceEvents[E]): () => void
}
