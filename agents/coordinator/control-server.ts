/** The control connections: one WebSocket each at `/v1/control`, registered within 5 s, checked, bounded. */

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { type FromCoordinator, MAX_CONTROL_BYTES, packControl } from '../../proto/control.js'
import { SluiceError } from '../../proto/errors.js'
import type { Clock, Log } from './clock.js'
import { readMessage, readRegistration } from './control-messages.js'
import type { ControlPlane, Peer, PeerPort } from './control-plane.js'

/** Path of the upgrade request. */
export const CONTROL_PATH = '/v1/control'
/** How long a connection may stay without registering. */
const REGISTER_MS = 5000
/** A peer that lets this much wait for it is closed: it is sent a snapshot when it comes back. */
const MAX_BUFFERED = 2 * MAX_CONTROL_BYTES
/** Bad messages of one connection before it is closed. */
const MAX_BAD_MESSAGES = 10
/** How often a connection that went silent is probed; one without an answer by the next probe is closed. */
const PROBE_MS = 15_000

/** What the control connections need. */
export interface ControlServerOptions {
  readonly plane: Pick<ControlPlane, 'registerWorker' | 'registerGateway'>
  readonly clock: Clock
  readonly log: Log
}

/** Accepts upgrades that the HTTP server hands over. */
export class ControlServer {
  readonly #options: ControlServerOptions
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_CONTROL_BYTES,
    perMessageDeflate: false,
    clientTracking: false,
  })
  readonly #connections = new Set<ControlConnection>()

  constructor(options: ControlServerOptions) {
    this.#options = options
  }

  /** Takes over an upgrade request; the caller checked path and token. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      const connection = new ControlConnection(webSocket, this.#options, () => this.#connections.delete(connection))
      this.#connections.add(connection)
    })
  }

  /** Open connections, registered or not. */
  get size(): number {
    return this.#connections.size
  }

  /** Closes all connections; peers come back to whoever answers next. */
  close(): void {
    for (const connection of this.#connections) connection.end(1001, 'the coordinator stops')
    this.#server.close()
  }
}

/** One connection, from upgrade to close. */
class ControlConnection implements Peer {
  readonly #socket: WebSocket
  readonly #options: ControlServerOptions
  #port: PeerPort | undefined
  #bad = 0
  #alive = true
  #cancelTimer: () => void

  constructor(socket: WebSocket, options: ControlServerOptions, onClosed: () => void) {
    this.#socket = socket
    this.#options = options
    this.#cancelTimer = options.clock.after(REGISTER_MS, () => {
      this.refuse('bad_request', `nothing registered within ${REGISTER_MS} ms`)
    })
    socket.on('message', (data, isBinary) => this.#onMessage(data as Buffer, isBinary))
    socket.on('pong', () => {
      this.#alive = true
    })
    socket.on('error', (error) => options.log.warn({ error: error.message }, 'control connection failed'))
    socket.on('close', (code) => {
      this.#cancelTimer()
      onClosed()
      this.#port?.closed(code === 1000)
    })
  }

  send(message: FromCoordinator): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return
    if (this.#socket.bufferedAmount > MAX_BUFFERED) {
      this.#options.log.warn(
        { buffered: this.#socket.bufferedAmount },
        'a control connection does not drain; it is closed',
      )
      this.#socket.terminate()
      return
    }
    this.#socket.send(packControl(message))
  }

  refuse(code: string, message: string): void {
    this.send({ t: 'refused', code, message })
    this.end(1008, message)
  }

  /** Closes, by force when the peer does not answer the close. */
  end(code: number, reason: string): void {
    // A close reason is at most 123 bytes [RFC 6455 section 5.5].
    this.#socket.close(code, reason.replace(/[^\x20-\x7e]/g, '?').slice(0, 120))
    const cancel = this.#options.clock.after(1000, () => this.#socket.terminate())
    this.#socket.once('close', cancel)
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    this.#alive = true
    try {
      if (!isBinary) throw new SluiceError('bad_request', 'control messages are binary')
      if (this.#port === undefined) this.#register(data)
      else this.#port.message(readMessage(data))
    } catch (error) {
      this.#failed(error)
    }
  }

  #register(data: Buffer): void {
    const registration = readRegistration(data)
    const { plane } = this.#options
    this.#cancelTimer()
    this.#port =
      registration.t === 'register_worker'
        ? plane.registerWorker(registration, this)
        : plane.registerGateway(registration, this)
    this.#probeLater()
  }

  #failed(error: unknown): void {
    const { log } = this.#options
    const known = error instanceof SluiceError ? error : new SluiceError('internal', undefined, { cause: error })
    if (known.code === 'internal')
      log.error({ error: String(error), stack: (error as Error).stack }, 'a control message failed')
    else log.warn({ code: known.code, path: known.path, reason: known.message }, 'bad control message')
    if (this.#port === undefined || ++this.#bad >= MAX_BAD_MESSAGES) this.refuse(known.code, known.message)
  }

  #probeLater(): void {
    this.#alive = true
    this.#cancelTimer = this.#options.clock.after(PROBE_MS, () => {
      this.#alive = false
      this.#socket.ping()
      this.#probeAgain()
    })
  }

  #probeAgain(): void {
    this.#cancelTimer = this.#options.clock.after(PROBE_MS, () => {
      if (this.#alive) this.#probeLater()
      else this.#socket.terminate()
    })
  }
}
