/** The way to whoever sends tables: a WebSocket to a coordinator, or the process that this gateway's threads belong to. */

import WebSocket from 'ws'
import { MAX_CONTROL_BYTES } from '../../proto/control.js'

/** One connection. Nothing may be sent before {@link LineEvents.open}. */
export interface Line {
  send(bytes: Uint8Array): void
  /** Asks for a sign of life. */
  ping(): void
  /** Ends it in good order. No event follows that matters. */
  close(): void
  /** Cuts it. */
  terminate(): void
}

/** What happens on a line. Called after the dial function returned. */
export interface LineEvents {
  open(): void
  /** One control message. */
  message(bytes: Uint8Array): void
  /** The other end lives. */
  alive(): void
  lost(reason: string): void
}

/** Begins a connection. */
export type DialLine = (events: LineEvents) => Line

const HANDSHAKE_MS = 3000

/** @param coordinator base URL, `http://` or `https://`; several, with commas between, take turns from attempt to attempt */
export function dialCoordinator(coordinator: string, token: string | undefined): DialLine {
  const coordinators = coordinator.split(',').map((url) => url.trim())
  let turn = 0
  return (events) => {
    const url = new URL('/v1/control', coordinators[turn++ % coordinators.length])
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
    const socket = new WebSocket(url, {
      maxPayload: MAX_CONTROL_BYTES,
      handshakeTimeout: HANDSHAKE_MS,
      perMessageDeflate: false,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    })
    socket.on('open', () => events.open())
    socket.on('message', (data) => events.message(data as Buffer))
    socket.on('pong', () => events.alive())
    socket.on('error', (error) => events.lost(error.message))
    socket.on('close', (code, reason) => events.lost(`closed with ${code} ${reason.toString()}`))
    return {
      send: (bytes) => socket.send(bytes),
      ping: () => {
        if (socket.readyState === WebSocket.OPEN) socket.ping()
      },
      close: () => socket.close(1000),
      terminate: () => socket.terminate(),
    }
  }
}
