/**
 * A relay with nothing in it: uWebSockets.js, one link over TCP with one write a turn, and an echo behind it. No sessions, no
 * frames, no routes, no limits, nothing counted, nobody who may be slow. What a hop in JavaScript costs at the least.
 *
 *     node bare-relay.js PORT                  the echo behind
 *     node bare-relay.js PORT ECHO_PORT        the edge in front of it
 */

import type { WebSocket } from 'uWebSockets.js'
import { connect, createServer, type Socket } from 'node:net'
import { loadUws } from '../../../gateway/edge/server/uws-server.js'

/** u16 length, u16 socket. */
const HEAD = 4
const ROOM = 64 * 1024

type OnRecord = (socket: number, chunk: Buffer, start: number, end: number) => void

class Link {
  readonly #socket: Socket
  #batch = new Uint8Array(ROOM)
  #used = 0
  #scheduled = false

  constructor(socket: Socket, onRecord: OnRecord, read: () => void) {
    this.#socket = socket.setNoDelay(true)
    let carry: Buffer = Buffer.alloc(0)
    socket.on('data', (bytes) => {
      const chunk = carry.length === 0 ? bytes : Buffer.concat([carry, bytes])
      let pos = 0
      while (pos + HEAD <= chunk.length) {
        const end = pos + HEAD + chunk.readUInt16LE(pos)
        if (end > chunk.length) break
        onRecord(chunk.readUInt16LE(pos + 2), chunk, pos + HEAD, end)
        pos = end
      }
      carry = chunk.subarray(pos)
      read()
    })
  }

  send(socket: number, bytes: Uint8Array): void {
    if (this.#used + HEAD + bytes.length > ROOM) this.flush()
    const batch = this.#batch
    const at = this.#used
    batch[at] = bytes.length
    batch[at + 1] = bytes.length >> 8
    batch[at + 2] = socket
    batch[at + 3] = socket >> 8
    batch.set(bytes, at + HEAD)
    this.#used = at + HEAD + bytes.length
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.flush()
    })
  }

  flush(): void {
    if (this.#used === 0) return
    this.#socket.write(this.#batch.subarray(0, this.#used))
    if (this.#socket.writableLength > 0) this.#batch = new Uint8Array(ROOM)
    this.#used = 0
  }
}

const [port, echoPort] = process.argv.slice(2).map(Number)
if (echoPort === undefined) {
  createServer((socket) => {
    const link = new Link(
      socket,
      (from, chunk, start, end) => link.send(from, chunk.subarray(start, end)),
      () => link.flush(),
    )
  }).listen(port, '127.0.0.1')
} else {
  const uws = await loadUws()
  type Device = WebSocket<{ id: number }>
  const devices = new Map<number, { socket: Device; due: Uint8Array[] }>()
  const due: { socket: Device; due: Uint8Array[] }[] = []
  let ids = 0
  const deliver: OnRecord = (id, chunk, start, end) => {
    const device = devices.get(id)
    if (device === undefined) return
    if (device.due.push(new Uint8Array(chunk.buffer, chunk.byteOffset + start, end - start)) === 1) due.push(device)
  }
  const link = new Link(connect(echoPort, '127.0.0.1'), deliver, () => {
    for (const device of due.splice(0)) {
      device.socket.cork(() => {
        for (const bytes of device.due) device.socket.send(bytes, true)
      })
      device.due = []
    }
  })
  const app = uws.App()
  app.ws<{ id: number }>('/*', {
    compression: uws.DISABLED,
    maxBackpressure: 16 * 1024 * 1024,
    open: (socket) => {
      const id = ids++ & 0xffff
      socket.getUserData().id = id
      devices.set(id, { socket, due: [] })
    },
    message: (socket, message) => link.send(socket.getUserData().id, new Uint8Array(message)),
    close: (socket) => void devices.delete(socket.getUserData().id),
  })
  app.listen('127.0.0.1', port as number, (token) => {
    if (!token) throw new Error(`port ${port} is taken`)
  })
}
