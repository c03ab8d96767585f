/**
 * The HTTP and WebSocket server that a gateway stands on, as a seam: `uws-server.ts` is the fast implementation,
 * `node-server.ts` the one that runs everywhere. One contract suite (test/gateway/edge/server) runs against both.
 */

/** What the servers have to say. A pino logger fits. */
export interface ServerLog {
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Certificate and key as paths of PEM files. */
export interface ServerTls {
  readonly cert: string
  readonly key: string
  readonly passphrase?: string
}

/** The start of a request. It owns its strings: it stays valid after the handler returned. */
export interface RequestHead {
  /** In upper case. */
  readonly method: string
  /** Without the query, not percent-decoded. */
  readonly path: string
  /** What stands behind `?`, raw. */
  readonly search: string
  readonly query: URLSearchParams
  /** The query's first parameter of this name, decoded: `query.get(name)`, for little. */
  parameter(name: string): string | null
  /** Lower-case names; a repeated header is joined with `, `. */
  readonly headers: Readonly<Record<string, string>>
  header(name: string): string | undefined
}

export interface HttpRequest extends RequestHead {
  /** The peer's address; an IPv4-mapped one in its IPv4 form. Empty when the peer is gone already. */
  readonly remoteAddress: string
  /** The whole body, empty for GET. Never longer than the route's `maxBody`. */
  readonly body: Uint8Array
}

/** A plain answer. `status` is 200 when absent. */
export interface HttpAnswer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}

/** An answer that goes on: server-sent events, for instance. */
export interface HttpStreamAnswer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Called once. The head leaves with the first write. */
  stream(out: HttpStream): void
}

export interface HttpStream {
  readonly closed: boolean
  /**
   * Copies `chunk` towards the client.
   * @returns false when the client lags: better write nothing until {@link onDrain}. A client that lags by more than
   * 1 MiB is cut off.
   */
  write(chunk: string | Uint8Array): boolean
  end(): void
  /** One callback, called every time that the client caught up. */
  onDrain(fn: () => void): void
  /** One callback, called once: the client left, or {@link end} was called. At once when that was before. */
  onClose(fn: () => void): void
}

export type HttpHandler = (
  request: HttpRequest,
) => HttpAnswer | HttpStreamAnswer | Promise<HttpAnswer | HttpStreamAnswer>

export type HttpMethod = 'GET' | 'POST' | 'PUT' | 'DELETE'

/** `ok`: on its way; `buffered`: queued here, `drain` follows; `dropped`: above `maxBackpressure` or closed, not sent. */
export type SendOutcome = 'ok' | 'buffered' | 'dropped'

/** One WebSocket connection. Valid until `close` of its endpoint was called; later calls do nothing. */
export interface ServerSocket<T> {
  /** What `upgrade` accepted it with. */
  readonly data: T
  readonly remoteAddress: string
  /** Bytes that wait in this process for the peer; 0 once closed. */
  readonly buffered: number
  /** Sends one binary message. The bytes are copied: the caller may reuse them at once. */
  send(bytes: Uint8Array): SendOutcome
  /** Sends everything that `fn` sends to this socket with as few system calls as it can. Not to be nested. */
  cork(fn: () => void): void
  /** Says goodbye with a close frame. The endpoint's `close` is called before it returns. */
  end(code: number, reason: string): void
  /** Cuts the connection. The endpoint's `close` (code 1006) is called before it returns. */
  terminate(): void
  subscribe(topic: string): void
  unsubscribe(topic: string): void
}

export type UpgradeAnswer<T> =
  /** `protocol`: one of those that the client offered. */
  | { readonly data: T; readonly protocol?: string }
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body: string }

/** What happens on one WebSocket path. `open` and `close` come exactly once for each connection that was opened. */
export interface WebSocketEndpoint<T> {
  /** Largest message in bytes; a larger one closes the connection with 1009. */
  readonly maxPayload: number
  /** A message that would wait behind more bytes than this is dropped. */
  readonly maxBackpressure: number
  /** Seconds without a sign of life, pings included, before a connection is cut: 8 to 960, or 0 for never. */
  readonly idleSeconds: number
  /** Decides on a connection. Side effects belong into `open`: a client may leave before its answer is ready. */
  upgrade(request: RequestHead): UpgradeAnswer<T> | Promise<UpgradeAnswer<T>>
  /** Answers a GET that asks for no upgrade; 426 when absent. */
  plain?(request: RequestHead): HttpAnswer
  open(socket: ServerSocket<T>): void
  /** `bytes` are valid only during the call. Text arrives as UTF-8. */
  message(socket: ServerSocket<T>, bytes: Uint8Array, isBinary: boolean): void
  /** Some of what was buffered has gone out. */
  drain(socket: ServerSocket<T>): void
  /** 1006 when the peer left without a close frame. */
  close(socket: ServerSocket<T>, code: number, reason: string): void
}

export interface HttpServer {
  readonly kind: 'uws' | 'node'
  /** Exact path. Routes and endpoints are registered before {@link listen}. @param maxBody bytes; 413 above (default 64 KiB) */
  route(method: HttpMethod, path: string, handler: HttpHandler, options?: { maxBody?: number }): void
  websocket<T>(path: string, endpoint: WebSocketEndpoint<T>): void
  /**
   * @param port 0 for any free one
   * @returns the actual port
   * @throws SluiceError `conflict` with path `port` when the port is taken, `bad_request` when it cannot be used at all
   */
  listen(host: string, port: number): Promise<number>
  /** Sends one binary message to every subscriber of `topic`, framed once. @returns false when there is none */
  publish(topic: string, bytes: Uint8Array): boolean
  subscribers(topic: string): number
  /** Takes no more connections; those that are there stay. */
  stopListening(): void
  /** Stops listening and cuts every connection. */
  close(): Promise<void>
}

/** A JSON answer. */
export function json(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): HttpAnswer {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(value) }
}

/** A plain-text answer. */
export function text(status: number, body: string, contentType = 'text/plain; charset=utf-8'): HttpAnswer {
  return { status, headers: { 'content-type': contentType }, body }
}
