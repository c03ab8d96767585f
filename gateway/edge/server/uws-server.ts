import type * as Uws from 'uWebSockets.js'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { SluiceError } from '../../../proto/errors.js'
import { checkPort, findListenError } from './listen-error.js'
import { addHeader, emptyHeaders, OwnedRequest } from './request-head.js'
import { RouteTable } from './route-table.js'
import type {
  HttpAnswer,
  HttpHandler,
  HttpMethod,
  HttpServer,
  ServerLog,
  ServerTls,
  UpgradeAnswer,
  WebSocketEndpoint,
} from './server.js'
import { UwsAnswer, upgradeNow } from './uws-answer.js'
import { addressText, hardBackpressure, hardPayloadLimit, socketOf, UwsSocket, type UwsUserData } from './uws-socket.js'

/** Loads the native part. @throws whatever is wrong with it: the system's libc, the platform, the Node version */
export async function loadUws(): Promise<typeof Uws> {
  // A CommonJS module whose exports are made at run time: everything is under `default`.
  const loaded = (await import('uWebSockets.js')) as unknown as { default: typeof Uws }
  return loaded.default
}

export interface UwsServerOptions {
  readonly log: ServerLog
  readonly tls?: ServerTls
  /** Several threads listen on the same port and the kernel spreads connections over them. */
  readonly shared?: boolean
}

/** {@link HttpServer} on uWebSockets.js. */
export class UwsServer implements HttpServer {
  readonly kind = 'uws'
  readonly #uws: typeof Uws
  readonly #app: Uws.TemplatedApp
  readonly #routes: RouteTable
  readonly #log: ServerLog
  readonly #shared: boolean
  #listening: Uws.us_listen_socket | undefined

  constructor(uws: typeof Uws, options: UwsServerOptions) {
    this.#uws = uws
    this.#log = options.log
    this.#routes = new RouteTable(options.log)
    this.#shared = options.shared ?? false
    this.#app = options.tls ? uws.SSLApp(tlsOptions(options.tls)) : uws.App()
  }

  route(method: HttpMethod, path: string, handler: HttpHandler, options: { maxBody?: number } = {}): void {
    this.#routes.add(method, path, handler, options.maxBody)
  }

  websocket<T>(path: string, endpoint: WebSocketEndpoint<T>): void {
    this.#routes.addEndpoint(path, endpoint)
    const guard = (socket: UwsSocket<T>, error: unknown) => this.#socketFailed(path, socket, error)
    this.#app.ws<UwsUserData<T>>(path, {
      maxPayloadLength: hardPayloadLimit(endpoint.maxPayload),
      maxBackpressure: hardBackpressure(endpoint),
      idleTimeout: endpoint.idleSeconds,
      sendPingsAutomatically: true,
      compression: this.#uws.DISABLED,
      upgrade: (res, req, context) => this.#upgrade(endpoint, res, req, context),
      open: (ws) => {
        const user = ws.getUserData()
        const socket = new UwsSocket<T>(ws, user.socket as T, endpoint)
        user.socket = socket
        try {
          endpoint.open(socket)
        } catch (error) {
          guard(socket, error)
        }
      },
      message: (ws, message, isBinary) => {
        const socket = socketOf(ws)
        try {
          const bytes = new Uint8Array(message)
          if (bytes.length > endpoint.maxPayload) socket.end(1009, 'message too large')
          else endpoint.message(socket, bytes, isBinary)
        } catch (error) {
          guard(socket, error)
        }
      },
      drain: (ws) => socketOf(ws).drained(),
      close: (ws, code, reason) => socketOf(ws).closed(code, Buffer.from(reason).toString()),
    })
  }

  listen(host: string, port: number): Promise<number> {
    checkPort(port)
    // Registered last: uWS tries routes in the order of their patterns' weight, and WebSocket paths must come first.
    this.#app.any('/*', (res, req) => this.#request(res, req))
    return new Promise((resolve, reject) => {
      const onListen = (token: Uws.us_listen_socket | false) => {
        if (!token) return findListenError(host, port).then(reject)
        this.#listening = token
        resolve(this.#uws.us_socket_local_port(token as Uws.us_socket))
      }
      // Without this flag a second process on the same port succeeds silently and takes half of the connections.
      if (this.#shared) this.#app.listen(host, port, onListen)
      else listenExclusively(this.#app, host, port, onListen)
    })
  }

  publish(topic: string, bytes: Uint8Array): boolean {
    return this.#app.publish(topic, bytes, true)
  }

  subscribers(topic: string): number {
    return this.#app.numSubscribers(topic)
  }

  stopListening(): void {
    if (this.#listening) this.#uws.us_listen_socket_close(this.#listening)
    this.#listening = undefined
  }

  async close(): Promise<void> {
    this.stopListening()
    this.#app.close()
  }

  #request(res: Uws.HttpResponse, req: Uws.HttpRequest): void {
    const request = ownRequest(req, req.getMethod().toUpperCase())
    request.remoteAddress = addressText(res.getRemoteAddress())
    const answer = new UwsAnswer(res)
    const found = this.#routes.dispatch(request)
    if ('answer' in found) {
      answer.send(found.answer, request.method === 'HEAD')
      return
    }
    const run = async (body: Uint8Array) => {
      request.body = body
      answer.send(await this.#routes.run(found.handler, request), request.method === 'HEAD')
    }
    if (request.method === 'GET' || request.method === 'HEAD') run(request.body)
    else answer.readBody(found.maxBody, request.header('content-length'), run)
  }

  #upgrade<T>(
    endpoint: WebSocketEndpoint<T>,
    res: Uws.HttpResponse,
    req: Uws.HttpRequest,
    context: Uws.us_socket_context_t,
  ): void {
    const request = ownRequest(req, 'GET')
    let decision: Decision<T> | Promise<Decision<T>>
    try {
      decision = endpoint.upgrade(request)
    } catch (error) {
      decision = this.#routes.errorAnswer(error, request.path)
    }
    if (!(decision instanceof Promise)) {
      // The usual case, and there are storms of it: no closure, and nobody has to tell us that the client left.
      if ('data' in decision) upgradeNow<UwsUserData<T>>(res, { socket: decision.data }, request, decision, context)
      else new UwsAnswer(res).send(decision, false)
      return
    }
    const answer = new UwsAnswer(res)
    decision
      .catch((error: unknown) => this.#routes.errorAnswer(error, request.path))
      .then((settled) => {
        if ('data' in settled) answer.upgrade<UwsUserData<T>>({ socket: settled.data }, request, settled, context)
        else answer.send(settled, false)
      })
      .catch((error: unknown) => this.#log.error({ err: error, path: request.path }, 'an upgrade failed'))
  }

  #socketFailed<T>(path: string, socket: UwsSocket<T>, error: unknown): void {
    this.#log.error({ err: error, path }, 'a WebSocket handler failed')
    socket.end(1011, 'internal error')
  }
}

/** What becomes of a request for an upgrade. */
type Decision<T> = UpgradeAnswer<T> | HttpAnswer

type OnListen = (token: Uws.us_listen_socket | false) => void

function listenExclusively(app: Uws.TemplatedApp, host: string, port: number, onListen: OnListen): void {
  // The typings know this form without a host only; the native part takes (host, port, options, callback).
  const listen = app.listen as unknown as (host: string, port: number, options: number, callback: OnListen) => void
  listen.call(app, host, port, 1 satisfies Uws.ListenOptions.LIBUS_LISTEN_EXCLUSIVE_PORT, onListen)
}

function ownRequest(req: Uws.HttpRequest, method: string): OwnedRequest {
  const headers = emptyHeaders()
  req.forEach((name, value) => {
    addHeader(headers, name, value)
  })
  return new OwnedRequest(method, req.getUrl(), req.getQuery() ?? '', headers)
}

/** Checks the files first: uWebSockets.js does not say what is wrong with them. */
function tlsOptions(tls: ServerTls): Uws.AppOptions {
  try {
    const { passphrase } = tls
    createSecureContext({
      cert: readFileSync(tls.cert),
      key: readFileSync(tls.key),
      ...(passphrase !== undefined && { passphrase }),
    })
  } catch (error) {
    throw new SluiceError('bad_request', `the TLS certificate cannot be used: ${error}`, { path: 'tls', cause: error })
  }
  const options: Uws.AppOptions = {
    cert_file_name: tls.cert,
    key_file_name: tls.key,
    ssl_prefer_low_memory_usage: true,
  }
  return tls.passphrase === undefined ? options : { ...options, passphrase: tls.passphrase }
}
