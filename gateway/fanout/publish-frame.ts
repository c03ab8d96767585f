/** A message as WebSocket devices get it. */

import { encodeFrame, FrameType } from '../../proto/frame.js'
import type { Message } from '../ports.js'

/** Key of the frame in `message.encoded`. */
export const FRAME_KEY = 'frame'

/**
 * The message as an encoded `sluice.v1.Frame` of type PUBLISH without seq; made on first use and then shared by all.
 * User properties become headers; of a repeated name the last one counts, since a map has each key once.
 */
export function encodePublishFrame(message: Message): Uint8Array {
  const known = message.encoded.get(FRAME_KEY)
  if (known !== undefined) return known
  const { topic, payload } = message
  const headers = headersOf(message)
  const frame = encodeFrame({ type: FrameType.PUBLISH, topic, payload, ...(headers && { headers }) })
  message.encoded.set(FRAME_KEY, frame)
  return frame
}

function headersOf(message: Message): Record<string, string> | undefined {
  const user = message.properties?.user
  if (user === undefined || user.length === 0) return undefined
  // Without a prototype: a device may name a property `__proto__`.
  const headers: Record<string, string> = Object.create(null)
  for (const [name, value] of user) headers[name] = value
  return headers
}
