/** `/v1/peer` on the gateway's HTTP port: where other gateways dial in for what is published here. */

import { SluiceError } from '../proto/errors.js'
import type { ServerSocket, WebSocketEndpoint } from './edge/server/server.js'
import { type PeerBus, peerAuthorized } from './fanout/peer-bus.js'
import type { PeerConnection } from './fanout/peer-guest.js'

/** Largest message between gateways: a batch of published messages. */
const MAX_PEER_MESSAGE = 64 * 1024 * 1024

/** What a connection carries between `open` and `close`. */
export interface PeerData {
  connection: PeerConnection | undefined
}

/** @param token shared secret of the fleet; without one every caller is taken for a gateway */
export function createPeerEndpoint(bus: PeerBus, token: string | undefined): WebSocketEndpoint<PeerData> {
  return {
    maxPayload: MAX_PEER_MESSAGE,
    maxBackpressure: 2 * MAX_PEER_MESSAGE,
    idleSeconds: 60,
    upgrade(request) {
      if (peerAuthorized(request.header('authorization'), token)) return { data: { connection: undefined } }
      const error = new SluiceError('unauthorized', "the fleet's token is missing or wrong")
      return { status: 401, headers: { 'content-type': 'application/json' }, body: JSON.stringify(error) }
    },
    open(socket: ServerSocket<PeerData>) {
      socket.data.connection = bus.acceptPeer({
        send: (bytes) => void socket.send(bytes),
        close: (code, reason) => socket.end(code, reason),
        get buffered() {
          return socket.buffered
        },
      })
    },
    message: (socket, bytes) => socket.data.connection?.message(bytes),
    drain: () => {},
    close: (socket) => socket.data.connection?.closed(),
  }
}
