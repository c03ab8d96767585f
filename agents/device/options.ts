/** What a device is told and gives back: the SDK's public shapes. */

import { SluiceError } from '../../proto/errors.js'
import { DEFAULT_PROBES, type Location, type ProbeLimits } from './candidates.js'
import type { ConnectionTimes } from './connection.js'
import type { OutboxLimits } from './outbox.js'
import type { Platform } from './platform.js'

export interface DeviceOptions {
  /** Coordinators or gateways to ask for the nearest gateway (`http://…`), or gateways to use directly (`ws://…`). */
  bootstrap: string | readonly string[]
  /** Stable id of this device, 1 to 256 bytes. */
  device: string
  token?: string
  /** Degrees; without it the gateways are ranked by round trip alone. */
  location?: Location
  /** How long {@link connect} waits for the first connection, in milliseconds; 30,000 by default. */
  timeoutMs?: number
  limits?: Partial<DeviceLimits>
  /** For tests, and for machines with a WebSocket of another kind. */
  platform?: Platform
}

export interface DeviceLimits extends OutboxLimits, ProbeLimits, ConnectionTimes {
  /** Bytes in the socket above which fire-and-forget frames are refused. */
  readonly buffered: number
  /** Requests that wait for an answer at once. */
  readonly requests: number
  /** Silence after which the gateway is asked whether it is there, and how long it may take to answer. Milliseconds. */
  readonly keepAliveMs: number
  readonly silenceMs: number
  /** How often the gateways are measured again, in milliseconds; 0: only when told. */
  readonly reprobeMs: number
  /** Waits between attempts grow from the first to the most, each with full jitter. Milliseconds. */
  readonly backoffFirstMs: number
  readonly backoffMostMs: number
}

export const DEFAULT_DEVICE_LIMITS: DeviceLimits = {
  ...DEFAULT_PROBES,
  frames: 1024,
  bytes: 4 * 1024 * 1024,
  inFlight: 256,
  welcomeMs: 5000,
  ackMs: 20,
  buffered: 1024 * 1024,
  requests: 1024,
  keepAliveMs: 25_000,
  silenceMs: 10_000,
  reprobeMs: 600_000,
  backoffFirstMs: 200,
  backoffMostMs: 10_000,
}

export type DeviceState = 'connecting' | 'connected' | 'closed'

/** What came for the device. `payload` is the receiver's own. */
export interface DeviceMessage {
  readonly topic: string
  readonly payload: Uint8Array
  readonly headers: Readonly<Record<string, string>>
  /** True when it may have come before. */
  readonly redelivered: boolean
}

export interface DeviceEvents {
  state: (state: DeviceState) => void
  /** The gateway asked to move; the SDK does. */
  goaway: (details: { code: string; url: string | undefined; retryAfterMs: number | undefined }) => void
  /** Something went wrong; `closed` follows when it is for good. */
  error: (error: SluiceError) => void
  /** DATA of a worker that answers no request. */
  data: (message: DeviceMessage) => void
}

export interface SendOptions {
  topic?: string
  /** True: kept and sent again until it was processed; the promise settles then. False (default): at most once. */
  acked?: boolean
  headers?: Readonly<Record<string, string>>
}

export interface RequestOptions {
  topic?: string
  headers?: Readonly<Record<string, string>>
  /** Milliseconds until the promise is rejected with `unavailable`; 10,000 by default. */
  timeoutMs?: number
}

/** @throws SluiceError `bad_request` or `bad_device_id` naming the option at fault */
export function checkOptions(options: DeviceOptions): string[] {
  const bootstrap = typeof options.bootstrap === 'string' ? [options.bootstrap] : [...options.bootstrap]
  if (bootstrap.length === 0) throw new SluiceError('bad_request', 'connect: bootstrap is empty', { path: 'bootstrap' })
  for (const url of bootstrap) {
    if (URL.canParse(url) && /^(https?|wss?):/.test(url)) continue
    throw new SluiceError('bad_request', `connect: bootstrap ${url} is not an http(s):// or ws(s):// URL`, {
      path: 'bootstrap',
    })
  }
  const size = new TextEncoder().encode(options.device).length
  if (size === 0 || size > 256)
    throw new SluiceError('bad_device_id', 'connect: device has to be 1 to 256 bytes', { path: 'device' })
  return bootstrap
}
