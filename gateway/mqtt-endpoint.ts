/** `/mqtt` on the gateway's HTTP port: MQTT over WebSocket (MQTT 5.0 section 6). The messages are a byte stream. */

import { SluiceError } from '../proto/errors.js'
import type { AcceptedTransport, MqttEdge } from './edge/mqtt/edge.js'
import type { ByteTransport } from './edge/mqtt/transport.js'
import type { RequestHead, ServerSocket, UpgradeAnswer, WebSocketEndpoint } from './edge/server/server.js'

/** Path of the endpoint. */
export const MQTT_PATH = '/mqtt'

/** Subprotocols, best first: MQTT 3.1.1 and 5 [MQTT-6.0.0-4], and what 3.1 clients say. */
const SUBPROTOCOLS = ['mqtt', 'mqttv3.1']
const MAX_MESSAGE = 4 * 1024 * 1024
const MAX_WAITING = 16 * 1024 * 1024
/** Bytes that may come in while the edge asked for a pause: the server cannot stop reading, so they are kept. */
const MAX_HELD = 4 * 1024 * 1024

export function createMqttEndpoint(edge: MqttEdge): WebSocketEndpoint<MqttStream> {
  return {
    maxPayload: MAX_MESSAGE,
    maxBackpressure: MAX_WAITING,
    idleSeconds: 0,
    upgrade,
    open(socket) {
      socket.data.opened(socket, edge)
    },
    message(socket, bytes, isBinary) {
      // [MQTT-6.0.0-1]: anything but binary data closes the connection.
      if (isBinary) socket.data.received(bytes)
      else socket.end(1003, 'MQTT packets are binary messages')
    },
    drain: (socket) => socket.data.drained(),
    close: (socket) => socket.data.closed(),
  }
}

function upgrade(request: RequestHead): UpgradeAnswer<MqttStream> {
  const offered = (request.header('sec-websocket-protocol') ?? '').split(',').map((name) => name.trim())
  const protocol = SUBPROTOCOLS.find((name) => offered.includes(name))
  if (protocol !== undefined) return { data: new MqttStream(), protocol }
  const error = new SluiceError('bad_request', "this path speaks MQTT: offer the WebSocket subprotocol 'mqtt'")
  return { status: 400, headers: { 'content-type': 'application/json' }, body: JSON.stringify(error) }
}

/** One WebSocket as the MQTT edge's byte transport. */
export class MqttStream implements ByteTransport {
  #socket: ServerSocket<MqttStream> | undefined
  #accepted: AcceptedTransport | undefined
  #held: Buffer[] | undefined
  #heldBytes = 0

  get remoteAddress(): string {
    return this.#socket?.remoteAddress ?? ''
  }

  get buffered(): number {
    return this.#socket?.buffered ?? 0
  }

  opened(socket: ServerSocket<MqttStream>, edge: MqttEdge): void {
    this.#socket = socket
    this.#accepted = edge.accept(this)
  }

  received(bytes: Uint8Array): void {
    // The edge keeps views of what it is given, and these bytes die with this call.
    const owned = Buffer.from(bytes)
    if (this.#held === undefined) {
      this.#accepted?.receive(owned)
      return
    }
    this.#heldBytes += owned.length
    if (this.#heldBytes > MAX_HELD) this.#socket?.terminate()
    else this.#held.push(owned)
  }

  drained(): void {
    this.#accepted?.drained()
  }

  closed(): void {
    this.#socket = undefined
    this.#accepted?.lost()
  }

  write(bytes: Uint8Array): boolean {
    if (this.#socket?.send(bytes) === 'dropped') this.#socket.terminate()
    return true
  }

  end(): void {
    this.#socket?.end(1000, '')
  }

  destroy(): void {
    this.#socket?.terminate()
  }

  pause(): void {
    this.#held ??= []
  }

  resume(): void {
    const held = this.#held
    this.#held = undefined
    this.#heldBytes = 0
    for (const bytes of held ?? []) this.received(bytes)
  }
}
