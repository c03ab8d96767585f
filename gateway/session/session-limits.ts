/** Bounds of one session's windows. Beyond them a device is told `overloaded`, or disconnected as `slow_consumer`. */
export interface SessionLimits {
  readonly uplinkFrames: number
  readonly uplinkBytes: number
  readonly downlinkFrames: number
  readonly downlinkBytes: number
}

export const DEFAULT_SESSION_LIMITS: SessionLimits = {
  uplinkFrames: 1024,
  uplinkBytes: 4 * 1024 * 1024,
  downlinkFrames: 4096,
  downlinkBytes: 4 * 1024 * 1024,
}
