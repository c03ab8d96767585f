/** What a handler sees of a frame: nothing is decoded, and no byte copied, before it is asked for. */

import { FrameType, FrameView } from '../../proto/frame.js'
import type { SendOptions } from './send-options.js'

/** Header that ties an answer to the request of a device's SDK. */
export const REQUEST_ID = 'request-id'

/** Where replies go. */
export interface ReplyTo {
  send(payload: Uint8Array | string, options?: SendOptions): boolean
}

/**
 * One frame from a device. Valid until the handler returns, or until the promise that it returned settles:
 * afterwards the object is used for another frame. `payload` is a view, not a copy: `slice()` what must live longer.
 */
export class WorkerFrame {
  readonly #view = new FrameView()
  /** The session that it belongs to; the SDK sets it. */
  session: ReplyTo | undefined
  #start = 0
  #end = 0
  #topic: string | undefined
  #headers: Readonly<Record<string, string>> | undefined

  /** Points this object at the frame in `bytes[start, end)`; false when it is not one. The SDK calls it, handlers never. */
  read(bytes: Uint8Array, start: number, end: number): boolean {
    this.#topic = undefined
    this.#headers = undefined
    this.#start = start
    this.#end = end
    return this.#view.read(bytes, start, end)
  }

  /** A copy of the encoded frame. */
  encoded(): Uint8Array {
    return this.#view.bytes.slice(this.#start, this.#end)
  }

  /** Length of the encoded frame in bytes. */
  get size(): number {
    return this.#end - this.#start
  }

  /** `data` for DATA, `publish` for PUBLISH; a gateway sends nothing else to a worker. */
  get type(): 'data' | 'publish' {
    return this.#view.type === FrameType.PUBLISH ? 'publish' : 'data'
  }

  /** 0: fire and forget. Otherwise the device's own number, acknowledged when the handler is done. */
  get seq(): number {
    return this.#view.seq
  }

  /** The MQTT topic, empty when there is none. Throws a TypeError when it is not UTF-8. */
  get topic(): string {
    this.#topic ??= this.#view.topic()
    return this.#topic
  }

  /** A view of the payload. */
  get payload(): Uint8Array {
    return this.#view.payload()
  }

  /** The frame's headers (MQTT 5: its user properties). Throws a TypeError when one is not UTF-8. */
  get headers(): Readonly<Record<string, string>> {
    this.#headers ??= this.#view.headers()
    return this.#headers
  }

  /**
   * Answers this frame: on its topic, acknowledged when it came acknowledged, and found by `device.request()`.
   * @returns and throws as `session.send` does
   */
  reply(payload: Uint8Array | string): boolean {
    const options: SendOptions = { topic: this.topic, acked: this.seq > 0 }
    const request = this.#view.headerCount === 0 ? undefined : this.headers[REQUEST_ID]
    if (request !== undefined) options.headers = { [REQUEST_ID]: request }
    return this.session?.send(payload, options) ?? false
  }

  /** True when the frame may have been processed before, here or at another worker. */
  get redelivered(): boolean {
    return this.#view.redelivered
  }
}
