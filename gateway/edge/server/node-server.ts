import { readFileSync } from 'node:fs'
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { SluiceError } from '../../../proto/errors.js'
import type { Clock } from '../../ports.js'
import { checkPort, listenError } from './listen-error.js'
import { sharedPort } from './listening.js'
import { NodeAnswer, readBody } from './node-answer.js'
import { frameBinary, NodeSocket, TopicSets } from './node-socket.js'
import { addHeader, emptyHeaders, OwnedRequest, plainAddress } from './request-head.js'
import { RouteTable, upgradeRequired } from './route-table.js'
import type {
  HttpHandler,
  HttpMethod,
  HttpServer,
  ServerLog,
  ServerTls,
  UpgradeAnswer,
  WebSocketEndpoint,
} from './server.js'

/** What uWebSockets.js gives a client to send its whole request; here alike. */
const HEADERS_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 30_000
const MAX_HEADER_BYTES = 16 * 1024

export interface NodeServerOptions {
  readonly log: ServerLog
  /** Runs the idle check. */
  readonly clock: Clock
  readonly tls?: ServerTls
  /** Several threads listen on the same port; see {@link sharedPort}. */
  readonly shared?: boolean
  /** Told of each connection: a storm of them brings one a turn of the event loop. */
  readonly accepted?: () => void
}

/** {@link HttpServer} on `node:http` and `ws`. */
export class NodeServer implements HttpServer {
  readonly kind = 'node'
  readonly #http: Server
  readonly #routes: RouteTable
  readonly #options: NodeServerOptions
  readonly #endpoints = new Map<string, NodeEndpoint<unknown>>()
  readonly #topics = new TopicSets()
  readonly #connections = new Set<Socket>()

  constructor(options: NodeServerOptions) {
    this.#options = options
    this.#routes = new RouteTable(options.log)
    const limits = {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      noDelay: true,
    }
    this.#http = options.tls ? createServerOn(options.tls, limits) : createServer(limits)
    this.#http.on('request', (req, res) => this.#request(req, res))
    this.#http.on('upgrade', (req, socket: Socket, head) => this.#upgrade(req, socket, head))
    this.#http.on('connection', (socket) => {
      options.accepted?.()
      this.#connections.add(socket)
      socket.once('close', () => this.#connections.delete(socket))
    })
  }

  route(method: HttpMethod, path: string, handler: HttpHandler, options: { maxBody?: number } = {}): void {
    this.#routes.add(method, path, handler, options.maxBody)
  }

  websocket<T>(path: string, endpoint: WebSocketEndpoint<T>): void {
    this.#routes.addEndpoint(path, endpoint)
    const { log, clock } = this.#options
    this.#endpoints.set(path, new NodeEndpoint<T>(path, endpoint, this.#topics, log, clock) as NodeEndpoint<unknown>)
  }

  listen(host: string, port: number): Promise<number> {
    checkPort(port)
    const shared = this.#options.shared ?? false
    return new Promise((resolve, reject) => {
      const onError = (error: Error) => reject(listenError(error, host, port))
      this.#http.once('error', onError)
      this.#http.listen({ host, port, exclusive: !shared, ...sharedPort(shared) }, () => {
        this.#http.off('error', onError)
        this.#http.on('error', (error) => this.#options.log.error({ err: error }, 'the HTTP listener failed'))
        resolve((this.#http.address() as AddressInfo).port)
      })
    })
  }

  publish(topic: string, bytes: Uint8Array): boolean {
    return this.#topics.publish(topic, frameBinary(bytes))
  }

  subscribers(topic: string): number {
    return this.#topics.subscribers(topic)
  }

  stopListening(): void {
    if (this.#http.listening) this.#http.close()
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      if (this.#http.listening) this.#http.close(() => resolve())
      else resolve()
    })
    for (const endpoint of this.#endpoints.values()) endpoint.stop()
    for (const socket of this.#connections) socket.destroy()
    await closed
  }

  async #request(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const request = ownRequest(req)
    request.remoteAddress = plainAddress(req.socket.remoteAddress ?? '')
    const answer = new NodeAnswer(res)
    const found = this.#routes.dispatch(request)
    if ('answer' in found) return answer.send(found.answer)
    const body = await readBody(req, found.maxBody)
    if (body === undefined) return
    if (!(body instanceof Uint8Array)) return answer.send(body, true)
    request.body = body
    answer.send(await this.#routes.run(found.handler, request))
  }

  async #upgrade(req: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    // Until `ws` takes over nobody else listens, and an unheard error would end the process.
    socket.on('error', () => socket.destroy())
    const request = ownRequest(req)
    const endpoint = this.#endpoints.get(request.path)
    if (!endpoint || request.header('upgrade')?.toLowerCase() !== 'websocket') {
      const found = this.#routes.dispatch(request)
      return refuse(socket, 'answer' in found ? found.answer : upgradeRequired())
    }
    let decision: UpgradeAnswer<unknown>
    try {
      decision = await endpoint.behavior.upgrade(request)
    } catch (error) {
      return refuse(socket, this.#routes.errorAnswer(error, request.path))
    }
    if (!('data' in decision)) return refuse(socket, decision)
    endpoint.accept(req, socket, head, decision.data, decision.protocol)
  }
}

/** One WebSocket path: its `ws` server, its connections, and the one timer that looks for dead ones. */
class NodeEndpoint<T> {
  readonly behavior: WebSocketEndpoint<T>
  readonly #path: string
  readonly #topics: TopicSets
  readonly #log: ServerLog
  readonly #clock: Clock
  readonly #server: WebSocketServer
  readonly #sockets = new Set<NodeSocket<T>>()
  readonly #forget = (socket: NodeSocket<T>) => this.#sockets.delete(socket)
  #protocol: string | undefined
  #cancelSweep: (() => void) | undefined

  constructor(path: string, behavior: WebSocketEndpoint<T>, topics: TopicSets, log: ServerLog, clock: Clock) {
    this.behavior = behavior
    this.#path = path
    this.#topics = topics
    this.#log = log
    this.#clock = clock
    this.#server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: behavior.maxPayload,
      skipUTF8Validation: true,
      // Called synchronously inside handleUpgrade, so the field is the one set for this connection.
      handleProtocols: () => this.#protocol ?? false,
    })
  }

  accept(req: IncomingMessage, tcp: Socket, head: Buffer, data: T, protocol: string | undefined): void {
    if (tcp.destroyed) return
    this.#protocol = protocol
    // What `open` sends goes out with the answer to the upgrade.
    tcp.cork()
    this.#server.handleUpgrade(req, tcp, head, (ws) => this.#open(ws, tcp, data))
    tcp.uncork()
  }

  stop(): void {
    this.#cancelSweep?.()
    for (const socket of this.#sockets) socket.terminate()
  }

  #open(ws: WebSocket, tcp: Socket, data: T): void {
    const socket = new NodeSocket<T>(ws, tcp, data, this.behavior, this.#topics, this.#forget)
    this.#sockets.add(socket)
    this.#startSweep()
    // `ws` says goodbye itself for what breaks the protocol; `close` would only tell what the peer made of it.
    ws.on('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') socket.closed(1009, 'message too large')
    })
    ws.on('pong', () => socket.heard())
    ws.on('ping', () => socket.heard())
    ws.on('message', (bytes, isBinary) => this.#message(socket, bytes as Buffer, isBinary))
    ws.on('close', (code, reason) => socket.closed(code, reason.toString()))
    tcp.on('drain', () => socket.drained())
    try {
      this.behavior.open(socket)
    } catch (error) {
      this.#failed(socket, error)
    }
  }

  #message(socket: NodeSocket<T>, bytes: Buffer, isBinary: boolean): void {
    if (!socket.isOpen) return
    socket.heard()
    try {
      this.behavior.message(socket, bytes, isBinary)
    } catch (error) {
      this.#failed(socket, error)
    }
  }

  #failed(socket: NodeSocket<T>, error: unknown): void {
    this.#log.error({ err: error, path: this.#path }, 'a WebSocket handler failed')
    socket.end(1011, 'internal error')
  }

  /** Pings whoever was silent for half of the idle time, and cuts whoever stays so for all of it. */
  #startSweep(): void {
    const { idleSeconds } = this.behavior
    if (this.#cancelSweep || idleSeconds === 0) return
    this.#cancelSweep = this.#clock.after((idleSeconds * 1000) / 4, () => {
      this.#cancelSweep = undefined
      for (const socket of this.#sockets) socket.sweep()
      if (this.#sockets.size > 0) this.#startSweep()
    })
  }
}

function ownRequest(req: IncomingMessage): OwnedRequest {
  const headers = emptyHeaders()
  const raw = req.rawHeaders
  for (let i = 0; i + 1 < raw.length; i += 2) addHeader(headers, (raw[i] as string).toLowerCase(), raw[i + 1] as string)
  const url = req.url ?? '/'
  const mark = url.indexOf('?')
  const path = mark < 0 ? url : url.slice(0, mark)
  const search = mark < 0 ? '' : url.slice(mark + 1)
  return new OwnedRequest(req.method ?? 'GET', path, search, headers)
}

type Refusal = { status?: number; headers?: Readonly<Record<string, string>>; body?: string | Uint8Array }

/** Answers an upgrade request with something else and hangs up. */
function refuse(socket: Duplex, { status = 200, headers = {}, body = '' }: Refusal): void {
  const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`]
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`)
  lines.push(`content-length: ${Buffer.byteLength(body)}`, 'connection: close', '', '')
  socket.write(lines.join('\r\n'))
  socket.end(body)
}

function createServerOn({ cert, key, passphrase }: ServerTls, limits: ServerOptions): Server {
  try {
    const files = { cert: readFileSync(cert), key: readFileSync(key) }
    return createTlsServer({ ...limits, ...files, ...(passphrase !== undefined && { passphrase }) })
  } catch (error) {
    throw new SluiceError('bad_request', `the TLS certificate cannot be used: ${error}`, { path: 'tls', cause: error })
  }
}
