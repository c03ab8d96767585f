import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Forwards TCP with half of `delayMs` added each way, in order. */
export class DelayingProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly port: number

  private constructor(server: Server) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
  }

  static async start(port: number, delayMs: number): Promise<DelayingProxy> {
    const server = createServer((near) => {
      const far = connect(port, '127.0.0.1')
      pass(near, far, delayMs / 2)
      pass(far, near, delayMs / 2)
      proxy.#sockets.add(near).add(far)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const proxy = new DelayingProxy(server)
    return proxy
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}

function pass(from: Socket, to: Socket, ms: number): void {
  from.setNoDelay(true)
  from.on('error', () => to.destroy())
  from.on('data', (bytes) => setTimeout(() => to.destroyed || to.write(bytes), ms))
  from.on('end', () => setTimeout(() => to.end(), ms))
  from.on('close', () => setTimeout(() => to.destroy(), ms))
}
