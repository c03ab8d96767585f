/** A gateway as far as a device sees one: real HTTP and WebSocket, sessions in a map that several stand-ins share. */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { encodeFrame, type FrameFields, FrameType, FrameView } from '../../../proto/frame.js'
import { topicMatches } from '../../../proto/topic.js'

export interface Received {
  type: number
  seq: number
  ack: number
  topic: string
  text: string
  redelivered: boolean
  headers: Record<string, string>
}

export interface StandInSession {
  id: string
  /** Last uplink seq that was taken, and last downlink seq that was given. */
  taken: number
  given: number
  /** Downlink frames that the device has not confirmed. */
  window: { seq: number; frame: FrameFields }[]
  filters: Set<string>
}

let lastSession = 0

export class GatewayStandIn {
  readonly id: string
  readonly sessions: Map<string, StandInSession>
  readonly received: Received[] = []
  readonly urls: URL[] = []
  /** Every frame, instead of echo; return false to let echo have it. */
  onFrame: ((frame: Received, send: (frame: FrameFields) => void) => boolean) | undefined
  /** Added to every answer of /healthz, milliseconds. */
  delayMs = 0
  probes = 0
  /** Refuses connections with this error. */
  refuse: { status: number; code: string } | undefined
  /** Answer of /v1/nearest. */
  nearest: () => unknown = () => ({ gateways: [this.entry()] })
  /** False: uplink frames are taken, but never confirmed. */
  confirms = true
  readonly sockets = new Set<WebSocket>()
  #wake: (() => void)[] = []
  readonly #server: Server
  readonly #upgrades = new WebSocketServer({ noServer: true })

  private constructor(id: string, sessions: Map<string, StandInSession>) {
    this.id = id
    this.sessions = sessions
    this.#server = createServer((request, response) => this.#http(request, response))
    this.#server.on('upgrade', (request, socket, head) => {
      if (this.refuse !== undefined) {
        // A client that is refused may reset the connection, and nobody else listens here any more.
        socket.on('error', () => {})
        socket.end(`HTTP/1.1 ${this.refuse.status} No\r\nconnection: close\r\n\r\n`)
        return
      }
      this.#upgrades.handleUpgrade(request, socket, head, (ws) => this.#connected(ws, request))
    })
  }

  static async start(id: string, sessions = new Map<string, StandInSession>()): Promise<GatewayStandIn> {
    const gateway = new GatewayStandIn(id, sessions)
    gateway.#server.listen(0, '127.0.0.1')
    await once(gateway.#server, 'listening')
    return gateway
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get http(): string {
    return `http://127.0.0.1:${this.port}`
  }

  get ws(): string {
    return `ws://127.0.0.1:${this.port}/v1/connect`
  }

  entry(more: object = {}): object {
    return { id: this.id, ws: this.ws, http: this.http, state: 'up', sessions: 0, capacity: 0, ...more }
  }

  /** Waits until `done` holds; looked at whenever something came. */
  async until(done: () => boolean): Promise<void> {
    while (!done()) await new Promise<void>((resolve) => this.#wake.push(resolve))
  }

  /** Sends to every connection, unacknowledged. */
  say(frame: FrameFields): void {
    for (const socket of this.sockets) socket.send(encodeFrame(frame))
  }

  cut(): void {
    for (const socket of this.sockets) socket.terminate()
  }

  async close(): Promise<void> {
    this.cut()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #http(request: IncomingMessage, response: ServerResponse): void {
    response.setHeader('access-control-allow-origin', '*')
    if (request.url === '/healthz') {
      this.probes++
      setTimeout(() => response.end('ok'), this.delayMs)
    } else if (request.url?.startsWith('/v1/nearest')) response.end(JSON.stringify(this.nearest()))
    else if (this.refuse !== undefined) {
      response.statusCode = this.refuse.status
      response.end(JSON.stringify({ error: { code: this.refuse.code, message: `refused: ${this.refuse.code}` } }))
    } else {
      response.statusCode = 426
      response.end('{"error":{"code":"bad_request","message":"this path speaks WebSocket"}}')
    }
  }

  #connected(socket: WebSocket, request: IncomingMessage): void {
    const url = new URL(request.url as string, this.http)
    this.urls.push(url)
    this.sockets.add(socket)
    const resume = this.sessions.get(url.searchParams.get('resume') ?? '')
    const session: StandInSession = resume ?? {
      id: `s${++lastSession}`,
      taken: 0,
      given: 0,
      window: [],
      filters: new Set(),
    }
    this.sessions.set(session.id, session)
    const headers = { session: session.id, gateway: this.id, resumed: String(resume !== undefined) }
    socket.send(encodeFrame({ type: FrameType.WELCOME, ack: session.taken, headers }))
    this.#confirm(session, Number(url.searchParams.get('ack') ?? 0))
    for (const { frame, seq } of session.window) socket.send(encodeFrame({ ...frame, seq, redelivered: true }))
    socket.on('message', (data: Buffer) => this.#message(socket, session, data))
    socket.on('close', () => {
      this.sockets.delete(socket)
      this.#changed()
    })
    this.#changed()
  }

  #message(socket: WebSocket, session: StandInSession, data: Buffer): void {
    const view = new FrameView()
    if (!view.read(data)) {
      socket.close(1007)
      return
    }
    const text = new TextDecoder().decode(view.payload())
    const { type, seq, ack, redelivered } = view
    const frame: Received = { type, seq, ack, topic: view.topic(), text, redelivered, headers: { ...view.headers() } }
    this.#confirm(session, ack)
    const fresh = seq === 0 || seq === session.taken + 1
    if (seq > 0 && fresh) session.taken = seq
    this.received.push(frame)
    const send = (answer: FrameFields): void => {
      if (answer.seq === undefined || answer.seq === 0) {
        socket.send(encodeFrame(answer))
        return
      }
      const given = ++session.given
      session.window.push({ seq: given, frame: answer })
      socket.send(encodeFrame({ ...answer, seq: given }))
    }
    if (fresh && this.onFrame?.(frame, send) !== true) this.#serve(session, frame, view.payload(), send)
    if (seq > 0 && this.confirms) socket.send(encodeFrame({ type: FrameType.ACK, ack: session.taken }))
    this.#changed()
  }

  /** Echo, and a fan-out of one. */
  #serve(session: StandInSession, frame: Received, payload: Uint8Array, send: (frame: FrameFields) => void): void {
    const { type, topic, seq, headers } = frame
    const id = headers['request-id']
    const kept = id === undefined ? {} : { headers: { 'request-id': id } }
    if (type === FrameType.DATA) send({ type, topic, payload, seq, ...kept })
    else if (type === FrameType.SUBSCRIBE) session.filters.add(topic)
    else if (type === FrameType.UNSUBSCRIBE) session.filters.delete(topic)
    else if (type === FrameType.PUBLISH && [...session.filters].some((filter) => topicMatches(filter, topic))) {
      send({ type, topic, payload })
    }
  }

  #confirm(session: StandInSession, ack: number): void {
    session.window = session.window.filter(({ seq }) => seq > ack)
  }

  #changed(): void {
    const wake = this.#wake
    this.#wake = []
    for (const go of wake) go()
  }
}
