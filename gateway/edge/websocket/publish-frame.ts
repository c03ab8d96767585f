import { encodeFrame, FrameType } from '../../../proto/frame.js'
import type { Message } from '../../ports.js'

/** Where a message keeps its encoded frame. The fan-out's native publish uses the same key. */
export const FRAME_KEY = 'frame'

/** A message as a PUBLISH frame without seq, encoded once and shared by all. MQTT user properties become headers. */
export function publishFrame(message: Message): Uint8Array {
  const known = message.encoded.get(FRAME_KEY)
  if (known !== undefined) return known
  const { topic, payload, properties } = message
  const headers: Record<string, string> = Object.create(null)
  for (const [name, value] of properties?.user ?? []) headers[name] = value
  const frame = encodeFrame({ type: FrameType.PUBLISH, topic, payload, headers })
  message.encoded.set(FRAME_KEY, frame)
  return frame
}
