/** A session on its way from one gateway to another. */

import type { Protocol } from '../ports.js'
import type { BindingSnapshot } from './binding-terms.js'

/** A session between two gateways. Plain data: it travels as msgpack. */
export interface ExportedSession {
  readonly id: string
  readonly device: string
  readonly protocol: Protocol
  readonly headers: Readonly<Record<string, string>>
  /** Wall clock, milliseconds. */
  readonly since: number
  /** {@link UNKNOWN} when only the device and the worker know. */
  readonly uplinkAcked: number
  /** Last downlink seq that the device confirmed. */
  readonly confirmed: number
  /** Downlink frames beyond `confirmed`; `binding` is an index into `bindings`. */
  readonly frames: readonly { readonly bytes: Uint8Array; readonly binding: number; readonly workerSeq: number }[]
  readonly bindings: readonly BindingSnapshot[]
}

/** The uplink seq of a session whose former gateway is not there to tell. */
export const UNKNOWN = -1
