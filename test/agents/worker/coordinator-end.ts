/** A coordinator as far as a worker talks to one: a real WebSocket server with a script in the test. */

import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { type FromCoordinator, packControl, type ToCoordinator, unpackControl } from '../../../proto/control.js'

export class CoordinatorEnd {
  readonly received: ToCoordinator[] = []
  readonly sockets = new Set<WebSocket>()
  /** Answers to `register_worker`; replace it to refuse. */
  answer: FromCoordinator = { t: 'registered', id: 'c', coordinator: 'c-1', heartbeatMs: 30 }
  #wake: (() => void)[] = []
  readonly #server: Server
  readonly #sockets: WebSocketServer

  private constructor(server: Server) {
    this.#server = server
    this.#sockets = new WebSocketServer({ server, path: '/v1/control' })
    this.#sockets.on('connection', (socket) => {
      this.sockets.add(socket)
      socket.on('close', () => this.sockets.delete(socket))
      socket.on('message', (data: Buffer) => this.#receive(socket, data))
    })
  }

  static async start(): Promise<CoordinatorEnd> {
    const server = createServer()
    const end = new CoordinatorEnd(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return end
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  send(message: FromCoordinator): void {
    for (const socket of this.sockets) socket.send(packControl(message))
  }

  /** The next message of this kind; earlier ones of other kinds are skipped. */
  async next<T extends ToCoordinator['t']>(kind: T): Promise<Extract<ToCoordinator, { t: T }>> {
    for (;;) {
      const message = this.received.shift()
      if (message?.t === kind) return message as Extract<ToCoordinator, { t: T }>
      if (message === undefined) await new Promise<void>((resolve) => this.#wake.push(resolve))
    }
  }

  cut(): void {
    for (const socket of this.sockets) socket.terminate()
  }

  async close(): Promise<void> {
    this.cut()
    this.#sockets.close()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #receive(socket: WebSocket, data: Buffer): void {
    const message = unpackControl(data) as ToCoordinator
    this.received.push(message)
    if (message.t === 'register_worker') socket.send(packControl(this.answer))
    const wake = this.#wake
    this.#wake = []
    for (const go of wake) go()
  }
}
