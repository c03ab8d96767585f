/** What the error table's codes are in MQTT 5. */

import type { ErrorCode } from '../../../proto/errors.js'
import { Reason } from '../../../proto/mqtt/packet.js'

const ENDS: Partial<Record<ErrorCode | 'closed', number>> = {
  taken_over: Reason.SESSION_TAKEN_OVER,
  draining: Reason.SERVER_SHUTTING_DOWN,
  slow_consumer: Reason.QUOTA_EXCEEDED,
  overloaded: Reason.SERVER_BUSY,
  unauthorized: Reason.NOT_AUTHORIZED,
  forbidden: Reason.NOT_AUTHORIZED,
}

const REFUSALS: Partial<Record<ErrorCode, number>> = {
  draining: Reason.USE_ANOTHER_SERVER,
  overloaded: Reason.SERVER_BUSY,
  unauthorized: Reason.NOT_AUTHORIZED,
  forbidden: Reason.NOT_AUTHORIZED,
  bad_device_id: Reason.CLIENT_ID_NOT_VALID,
}

/** Reason code of the DISCONNECT with which a session ends. */
export function endReason(code: ErrorCode | 'closed'): number {
  return ENDS[code] ?? Reason.ADMINISTRATIVE_ACTION
}

/** Reason code of the CONNACK that refuses a session. */
export function refusalReason(code: ErrorCode): number {
  return REFUSALS[code] ?? Reason.SERVER_UNAVAILABLE
}
