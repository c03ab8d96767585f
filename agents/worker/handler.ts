/** The contract between Sluice and the user's code. */

import type { SendOptions } from './send-options.js'
import type { WorkerFrame } from './worker-frame.js'

/** One device's stay, for as long as this worker owns it. The object is the same across reconnects of the device. */
export interface WorkerSession {
  readonly id: string
  readonly device: string
  /** Id of the gateway that holds the device now. */
  readonly gateway: string
  /** `websocket` or `mqtt`. */
  readonly protocol: string
  /** What routes can match: upgrade headers, MQTT 5 user properties. */
  readonly attributes: Readonly<Record<string, string>>
  /** True when the previous owner was lost, so that it may have processed what comes now. */
  readonly redelivered: boolean
  /** False when the session ended here: nothing can be sent any more. */
  readonly open: boolean
  /** The handler's own, kept with the session. */
  data: unknown
  /**
   * Sends to the device.
   * @returns false when nothing was sent: the session ended, or a queue is full ({@link drained} tells when it is not any more)
   * @throws SluiceError `frame_too_large` above 1 MiB
   */
  send(payload: Uint8Array | string, options?: SendOptions): boolean
  /** Resolves when {@link send} may be tried again, at once when it may now, or when the session ended. */
  drained(): Promise<void>
  /** Ends the session: the device is disconnected with `reason`. `handler.close` is called afterwards. */
  close(reason: string): void
}

/** What a handler file default-exports. Everything but `frame` may be left out. */
export interface WorkerHandler {
  /** A session begins here. A throw or a rejection refuses it, and the gateway tries another worker. */
  open?(session: WorkerSession): void | Promise<void>
  /**
   * One frame. Frames of one session come in order, and the next one waits until this one's promise settles; sessions do
   * not wait for each other. An acknowledged frame (seq > 0) is acknowledged when this returns or settles.
   * A throw or a rejection: a fire-and-forget frame is logged and dropped; an acknowledged one stays unacknowledged and
   * the session ends with `worker_failed`, so that the device sends it again when it is back.
   */
  frame(session: WorkerSession, frame: WorkerFrame): void | Promise<void>
  /** The session ended here: by the device, by {@link WorkerSession.close}, or because it was lost. Not called after `detach`. */
  close?(session: WorkerSession, reason: string): void | Promise<void>
  /** The session moves to another worker: what this returns (up to 8 MiB) is given to the new owner's `attach`. */
  detach?(session: WorkerSession): Uint8Array | undefined | Promise<Uint8Array | undefined>
  /** A session moves in, with what the former owner's `detach` returned. `open` is called instead when there is no state. */
  attach?(session: WorkerSession, state: Uint8Array): void | Promise<void>
}

/** Where the SDK tells what happens; pino has this shape. */
export interface WorkerLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** True for what `await` would wait for. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}
