/**
 * Every error that Sluice tells somebody, as data: its name on the wire, its number, whether trying again can help,
 * and who is at fault. docs/errors.md lists the same codes; a test holds the two together.
 */

/** Who has to change something for the error to go away. */
export type Fault = 'device' | 'worker' | 'operator' | 'sluice'

export interface ErrorEntry {
  /** The number that the link protocol and logs carry. Never reused. */
  readonly number: number
  /** True when the same request can succeed later without being changed. */
  readonly retryable: boolean
  readonly fault: Fault
  /** HTTP status of an answer with this code. */
  readonly status: number
  readonly summary: string
}

const entry = (number: number, fault: Fault, retryable: boolean, status: number, summary: string): ErrorEntry => ({
  number,
  fault,
  retryable,
  status,
  summary,
})

export const ERRORS = {
  bad_frame: entry(1, 'device', false, 400, 'The frame cannot be decoded, or its type may not be sent by a device.'),
  bad_topic: entry(2, 'device', false, 400, 'The topic or filter is not a valid MQTT topic.'),
  bad_seq: entry(3, 'device', false, 400, 'A seq was skipped: acknowledged frames count 1, 2, 3 without a gap.'),
  frame_too_large: entry(4, 'device', false, 413, 'The frame is larger than the gateway accepts.'),
  no_device_id: entry(5, 'device', false, 400, 'The connect URL has no device parameter.'),
  bad_device_id: entry(
    6,
    'device',
    false,
    400,
    'The device id is empty, longer than 256 bytes, holds control characters, or ends as that of a long MQTT client id does.',
  ),
  unauthorized: entry(7, 'device', false, 401, 'No credentials, or credentials that do not hold.'),
  forbidden: entry(8, 'device', false, 403, 'The identity is known, but a rule forbids this.'),
  not_found: entry(9, 'operator', false, 404, 'Nothing has that name.'),
  method_not_allowed: entry(10, 'operator', false, 405, 'The path exists, but not with this method.'),
  bad_request: entry(11, 'operator', false, 400, 'The request cannot be understood; path names the part at fault.'),
  invalid_routes: entry(12, 'operator', false, 400, 'The routes file breaks a rule; path names the part at fault.'),
  conflict: entry(13, 'operator', false, 409, 'The state changed since it was read, or forbids this step.'),
  no_route: entry(20, 'operator', false, 404, 'No route matches the frame.'),
  no_worker: entry(21, 'operator', true, 503, 'The pool has no worker that accepts sessions.'),
  overloaded: entry(22, 'sluice', true, 503, 'A bounded queue is full, or an admission rate is exceeded.'),
  draining: entry(23, 'operator', true, 503, 'This gateway is being drained; another one takes new devices.'),
  worker_refused: entry(24, 'worker', true, 502, 'The worker refused the session.'),
  worker_failed: entry(25, 'worker', true, 502, "The worker's handler failed for this session."),
  stale_epoch: entry(26, 'sluice', true, 409, 'Another gateway or worker holds a newer binding of this session.'),
  session_unknown: entry(27, 'device', false, 404, 'The session to resume does not exist any more.'),
  taken_over: entry(28, 'device', false, 409, 'Another connection of the same device took the session over.'),
  slow_consumer: entry(29, 'device', true, 408, 'The device did not drain what it was sent.'),
  unavailable: entry(30, 'sluice', true, 503, 'The part that would answer is not reachable now.'),
  table_rejected: entry(40, 'operator', false, 422, 'The gateway refused a routing table; the message names the part.'),
  protocol_mismatch: entry(41, 'operator', false, 426, 'The two ends speak different versions of the protocol.'),
  internal: entry(99, 'sluice', true, 500, 'A defect in Sluice; the log has the details.'),
} as const satisfies Record<string, ErrorEntry>

export type ErrorCode = keyof typeof ERRORS

/** The one error class. `path` names the part of the input at fault, where there is one. */
export class SluiceError extends Error {
  readonly code: ErrorCode
  readonly path: string | undefined
  /** Milliseconds to wait before trying again, where the one who refuses knows. */
  readonly retryAfterMs: number | undefined
  /** Where to go instead, where there is such a place: `HOST:PORT` for MQTT. */
  readonly url: string | undefined

  constructor(
    code: ErrorCode,
    message?: string,
    details: { path?: string; retryAfterMs?: number; url?: string; cause?: unknown } = {},
  ) {
    super(message ?? ERRORS[code].summary, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'SluiceError'
    this.code = code
    this.path = details.path
    this.retryAfterMs = details.retryAfterMs
    this.url = details.url
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable
  }

  /** The body of an HTTP error answer. */
  toJSON(): { error: { code: ErrorCode; message: string; path?: string; retryAfterMs?: number } } {
    const { code, message, path, retryAfterMs } = this
    const known = retryAfterMs === undefined ? {} : { retryAfterMs }
    return { error: { code, message, ...(path === undefined ? {} : { path }), ...known } }
  }
}

/** The code with this wire number; `internal` for a number this version does not know. */
export function errorCodeOf(number: number): ErrorCode {
  for (const [code, { number: known }] of Object.entries(ERRORS)) if (known === number) return code as ErrorCode
  return 'internal'
}
