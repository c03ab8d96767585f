/** `ws` by itself: `/` echoes; what comes on `/pub` is framed once and written to everybody on `/sub`. */

import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'

const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]), perMessageDeflate: false })
const subscribers = new Set<Duplex>()

server.on('connection', (socket: WebSocket, request) => {
  if (request.url === '/sub') {
    subscribers.add(request.socket)
    socket.on('close', () => subscribers.delete(request.socket))
  } else if (request.url === '/pub') socket.on('message', (data: Buffer) => publish(data))
  else socket.on('message', (data: Buffer) => socket.send(data))
})

function publish(data: Buffer): void {
  const frame = Buffer.concat([frameHead(data.length), data])
  for (const socket of subscribers) socket.write(frame)
}

/** The head of an unmasked binary message below 64 KiB (RFC 6455 section 5.2). */
function frameHead(length: number): Buffer {
  return length < 126 ? Buffer.from([0x82, length]) : Buffer.from([0x82, 126, length >> 8, length & 0xff])
}
