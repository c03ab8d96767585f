/** A FRAME record from its parts, without an intermediate buffer. */

import { frameHeadSize, writeVarint } from '../../proto/frame.js'
import { LinkKind, type RecordBatch } from '../../proto/link.js'

const TAG_TYPE = 0x08
const TAG_TOPIC = 0x22
const TAG_PAYLOAD = 0x2a
const utf8 = new TextEncoder()

/** Writes a FRAME record from its parts: the payload is copied once, from where it lies into the batch. */
export function writeFrameParts(
  batch: RecordBatch,
  binding: number,
  type: number,
  topic: string,
  payload: Uint8Array,
): void {
  // Topics are short and ASCII as a rule: written here, without a call into C++.
  const encoded = isAscii(topic) ? undefined : utf8.encode(topic)
  const topicLength = encoded?.length ?? topic.length
  let pos = batch.begin(LinkKind.FRAME, binding, frameHeadSize(topicLength, payload.length) + payload.length)
  const into = batch.bytes
  if (type !== 0) {
    into[pos++] = TAG_TYPE
    into[pos++] = type
  }
  into[pos++] = TAG_TOPIC
  pos = writeVarint(into, pos, topicLength)
  if (encoded === undefined) for (let i = 0; i < topicLength; i++) into[pos + i] = topic.charCodeAt(i)
  else into.set(encoded, pos)
  pos += topicLength
  if (payload.length > 0) {
    into[pos++] = TAG_PAYLOAD
    pos = writeVarint(into, pos, payload.length)
    into.set(payload, pos)
    pos += payload.length
  }
  batch.end(pos)
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) return false
  return true
}
