/** MQTT over WebSocket (MQTT 5.0 section 6): the messages of a connection are one byte stream. */

import type { RequestHead, ServerSocket, UpgradeAnswer, WebSocketEndpoint } from '../server/server.js'
import type { AcceptedTransport, MqttEdge } from './edge.js'
import type { SharedBytes } from './shared-bytes.js'
import type { ByteTransport } from './transport.js'

/** What an MQTT connection hangs on its socket. */
export interface MqttSocketData {
  connection: AcceptedTransport | undefined
}

/** Subprotocols of MQTT clients; the second one is from before the specification named one. */
const PROTOCOLS = ['mqtt', 'mqttv3.1']

export interface MqttEndpointOptions {
  /** Largest WebSocket message in bytes; packets may span several. 2 MiB. */
  readonly maxPayload?: number
  /** Bytes that may wait for a client; more cuts it off. 64 MiB: the edge itself stops earlier. */
  readonly maxBackpressure?: number
}

/** The endpoint to register at `/mqtt`. */
export function createMqttEndpoint(
  edge: MqttEdge,
  options: MqttEndpointOptions = {},
): WebSocketEndpoint<MqttSocketData> {
  return {
    maxPayload: options.maxPayload ?? 2 * 1024 * 1024,
    maxBackpressure: options.maxBackpressure ?? 64 * 1024 * 1024,
    // MQTT has its own keep-alive.
    idleSeconds: 0,
    upgrade,
    open(socket) {
      socket.data.connection = edge.accept(new WebSocketTransport(socket))
    },
    message(socket, bytes, isBinary) {
      // [MQTT-6.0.0-1]
      if (!isBinary) socket.end(1003, 'MQTT is binary')
      // The server's memory dies with this call.
      else socket.data.connection?.receive(Buffer.from(bytes))
    },
    drain(socket) {
      socket.data.connection?.drained()
    },
    close(socket) {
      socket.data.connection?.lost()
      socket.data.connection = undefined
    },
  }
}

/** [MQTT-6.0.0-3], [MQTT-6.0.0-4] */
function upgrade(request: RequestHead): UpgradeAnswer<MqttSocketData> {
  const offered = (request.header('sec-websocket-protocol') ?? '').split(',').map((name) => name.trim())
  const protocol = PROTOCOLS.find((name) => offered.includes(name))
  if (protocol === undefined) return { status: 400, body: 'offer the WebSocket subprotocol mqtt' }
  return { data: { connection: undefined }, protocol }
}

class WebSocketTransport implements ByteTransport {
  readonly #socket: ServerSocket<MqttSocketData>
  readonly remoteAddress: string

  constructor(socket: ServerSocket<MqttSocketData>) {
    this.#socket = socket
    this.remoteAddress = socket.remoteAddress
  }

  write(bytes: Uint8Array): boolean {
    // A dropped message would tear a hole into the byte stream.
    if (this.#socket.send(bytes) === 'dropped') this.#socket.terminate()
    return true
  }

  writeShared(shared: SharedBytes): void {
    this.write(shared.bytes)
  }

  get buffered(): number {
    return this.#socket.buffered
  }

  end(): void {
    this.#socket.end(1000, '')
  }

  destroy(): void {
    this.#socket.terminate()
  }

  // The server cannot stop reading one socket: what comes is held by the packet reader, which is bounded.
  pause(): void {}
  resume(): void {}
}
