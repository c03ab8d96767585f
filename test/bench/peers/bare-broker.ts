/**
 * An MQTT broker with nothing in it: whoever subscribes to anything gets every PUBLISH, as it came, by one write to the handle
 * of its `node:net` socket, the way that Sluice writes. No sessions, no topics, no QoS, no limits. What a delivery costs at the
 * least over Node's sockets.
 */

import { createServer, type Socket } from 'node:net'
import { SharedBytes } from '../../../gateway/edge/mqtt/shared-bytes.js'
import {
  awaitWrite,
  handleOf,
  type StreamHandle,
  WAITS,
  writeSharedTo,
} from '../../../gateway/edge/mqtt/socket-handle.js'

const CONNECT = 1
const PUBLISH = 3
const SUBSCRIBE = 8

const subscribers = new Map<Socket, StreamHandle>()

createServer({ noDelay: true }, (socket) => {
  let carry: Buffer = Buffer.alloc(0)
  socket.on('error', () => {})
  socket.on('close', () => subscribers.delete(socket))
  socket.on('data', (bytes) => {
    const chunk = carry.length === 0 ? bytes : Buffer.concat([carry, bytes])
    let pos = 0
    for (;;) {
      const end = packetEnd(chunk, pos)
      if (end < 0) break
      take(socket, chunk, pos, end)
      pos = end
    }
    carry = chunk.subarray(pos)
  })
}).listen(Number(process.argv[2]), '127.0.0.1')

/** Where the packet that begins at `pos` ends; -1 while it is not whole (MQTT 3.1.1 section 2.2.3). */
function packetEnd(bytes: Buffer, pos: number): number {
  let length = 0
  for (let i = pos + 1, scale = 1; i < bytes.length; i++, scale *= 128) {
    const byte = bytes[i] as number
    length += (byte & 0x7f) * scale
    if (byte >= 0x80) continue
    const end = i + 1 + length
    return end <= bytes.length ? end : -1
  }
  return -1
}

function take(socket: Socket, bytes: Buffer, start: number, end: number): void {
  const type = (bytes[start] as number) >> 4
  if (type === CONNECT) socket.write(Uint8Array.of(0x20, 2, 0, 0))
  else if (type === SUBSCRIBE) {
    const handle = handleOf(socket)
    if (handle === undefined) throw new Error('this Node gives no access to the handles of sockets')
    subscribers.set(socket, handle)
    // The length of a short SUBSCRIBE is one byte; its identifier follows.
    socket.write(Uint8Array.of(0x90, 3, bytes[start + 2] as number, bytes[start + 3] as number, 0))
  } else if (type === PUBLISH) {
    const packet = bytes.subarray(start, end)
    const shared = new SharedBytes(packet)
    for (const handle of subscribers.values()) if (writeSharedTo(handle, shared) === WAITS) awaitWrite(packet, () => {})
  }
}
