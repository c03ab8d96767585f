/** Plain data about bindings: their deadlines and bounds, what a finished handoff tells, what travels to another gateway. */

/** Milliseconds; chosen with the promises of design section 4 'Failures' in mind. */
export interface BindingLimits {
  /** How long an owner may take to let go before it is left behind. */
  readonly detachMs: number
  /** How long a new owner may take to accept. */
  readonly attachMs: number
  /** How long a binding waits for the table or the link after its owner was lost, before the gateway chooses by itself. */
  readonly fallbackMs: number
  /** How long frames wait for any worker before the device is told `no_worker`. */
  readonly holdMs: number
  readonly heldFrames: number
  readonly heldBytes: number
}

export const DEFAULT_BINDING_LIMITS: BindingLimits = {
  detachMs: 3000,
  attachMs: 2000,
  fallbackMs: 500,
  holdMs: 5000,
  heldFrames: 1024,
  heldBytes: 1024 * 1024,
}

/** What a finished attach tells about itself. */
export interface Handover {
  readonly from: string
  readonly to: string
  /** True when the former owner let go by itself, with its state. */
  readonly clean: boolean
  readonly lastSeq: number
  readonly firstSeq: number
  readonly pauseMs: number
}

/** A binding on its way to another gateway. */
export interface BindingSnapshot {
  readonly pool: string
  readonly slot: number
  readonly worker: string
  readonly epoch: number
  /** Last downlink seq that the worker gave. */
  readonly sent: number
  /** State that no worker took over yet. */
  readonly carried?: Uint8Array
}
