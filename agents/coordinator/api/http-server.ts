/** The coordinator's HTTP port: the admin API, and the upgrade to control connections. */

import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { ERRORS, SluiceError } from '../../../proto/errors.js'
import type { Log } from '../clock.js'
import { type ApiRequest, isRaw, type Router } from './router.js'

/** Largest request body, in bytes. */
export const MAX_BODY = 1024 * 1024
/** A larger body is read to its end up to this, and thrown away: a client that is still sending could not read the answer. */
const MAX_DRAINED = 16 * MAX_BODY

/** Takes over the answer of one path: for streams. */
export type StreamHandler = (request: IncomingMessage, response: ServerResponse, query: URLSearchParams) => void

/** What the HTTP port serves. */
export interface HttpServerOptions {
  readonly router: Pick<Router, 'find'>
  /** Comes before everything else. True when it took the request over: another coordinator answers it. */
  readonly before?: (request: IncomingMessage, response: ServerResponse) => Promise<boolean>
  /** Answers GET on these paths themselves. */
  readonly streams: ReadonlyMap<string, StreamHandler>
  /** Takes over WebSocket upgrades on these paths. */
  readonly upgrades: ReadonlyMap<string, (request: IncomingMessage, socket: Duplex, head: Buffer) => void>
  /** Required of everything but open endpoints, when set. */
  readonly token?: string
  readonly log: Log
}

/** Listens. */
export class HttpServer {
  readonly #options: HttpServerOptions
  readonly #server: Server

  constructor(options: HttpServerOptions) {
    this.#options = options
    this.#server = createServer((request, response) => void this.#answer(request, response))
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
  }

  /** @returns the port, chosen by the system for 0 */
  async listen(host: string, port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
    return (this.#server.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A client that goes away in the middle is no error of ours.
    response.on('error', () => {})
    try {
      if ((await this.#options.before?.(request, response)) === true) return
      const url = urlOf(request)
      const stream = request.method === 'GET' ? this.#options.streams.get(url.pathname) : undefined
      if (stream !== undefined) {
        this.#authorize(request)
        stream(request, response, url.searchParams)
        return
      }
      const { endpoint, params } = this.#options.router.find(request.method ?? 'GET', url.pathname)
      if (endpoint.anyOrigin === true) response.setHeader('access-control-allow-origin', '*')
      if (endpoint.open !== true) this.#authorize(request)
      if (endpoint.method !== 'GET') refuseCrossOrigin(request)
      const answer = await endpoint.handle(apiRequest(request, params, url.searchParams))
      if (isRaw(answer)) send(request, response, answer.status ?? 200, answer.contentType, answer.body)
      else send(request, response, 200, 'application/json', `${JSON.stringify(answer ?? {})}\n`)
    } catch (error) {
      this.#fail(request, response, error)
    }
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    const known = error instanceof SluiceError ? error : new SluiceError('internal', undefined, { cause: error })
    if (known.code === 'internal') {
      const { stack } = error as Error
      this.#options.log.error(
        { method: request.method, url: request.url, error: String(error), stack },
        'a request failed',
      )
    }
    if (response.headersSent) {
      response.destroy()
      return
    }
    if (known.retryAfterMs !== undefined) response.setHeader('retry-after', Math.ceil(known.retryAfterMs / 1000))
    if (known.code === 'unauthorized') response.setHeader('www-authenticate', 'Bearer')
    // The rest of a body that is not read must not be taken for the next request.
    if (!request.complete) response.setHeader('connection', 'close')
    send(request, response, ERRORS[known.code].status, 'application/json', `${JSON.stringify(known)}\n`)
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy())
    try {
      const url = urlOf(request)
      const take = this.#options.upgrades.get(url.pathname)
      if (take === undefined) throw new SluiceError('not_found', `there is no ${url.pathname} here`)
      this.#authorize(request)
      refuseCrossOrigin(request)
      take(request, socket, head)
    } catch (error) {
      const known = error instanceof SluiceError ? error : new SluiceError('internal', undefined, { cause: error })
      const { status } = ERRORS[known.code]
      const body = JSON.stringify(known)
      const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}`
      socket.end(`${head}\r\nconnection: close\r\n\r\n${body}`)
    }
  }

  #authorize(request: IncomingMessage): void {
    const { token } = this.#options
    if (token === undefined) return
    const given = /^Bearer +(.+)$/i.exec(request.headers.authorization ?? '')?.[1]
    if (given === undefined) throw new SluiceError('unauthorized', 'this coordinator wants Authorization: Bearer TOKEN')
    // Equal lengths for the comparison, whatever was given.
    const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
    if (!timingSafeEqual(digest(given), digest(token)))
      throw new SluiceError('unauthorized', 'the token is not the right one')
  }
}

/** A page of another site must not operate a coordinator on somebody's loopback through their browser. */
function refuseCrossOrigin(request: IncomingMessage): void {
  const { origin, host } = request.headers
  if (origin === undefined) return
  if (URL.canParse(origin) && new URL(origin).host === host) return
  throw new SluiceError('forbidden', `requests from pages of ${origin} are not taken`)
}

function urlOf(request: IncomingMessage): URL {
  const text = `http://coordinator${request.url ?? '/'}`
  if (!URL.canParse(text)) throw new SluiceError('bad_request', 'the request target is no URL')
  return new URL(text)
}

function apiRequest(request: IncomingMessage, params: Record<string, string>, query: URLSearchParams): ApiRequest {
  const who = request.headers['x-sluice-user']
  return {
    method: request.method ?? 'GET',
    params,
    query,
    contentType: (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '',
    remoteAddress: request.socket.remoteAddress ?? '',
    forwardedFor: request.headers['x-forwarded-for']?.toString(),
    who: typeof who === 'string' && who !== '' ? who.slice(0, 256) : (request.socket.remoteAddress ?? 'unknown'),
    text: () => readBody(request),
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const tooLarge = new SluiceError('frame_too_large', `a request body may have at most ${MAX_BODY} bytes`)
  if (Number(request.headers['content-length'] ?? 0) > MAX_DRAINED) throw tooLarge
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_DRAINED) throw tooLarge
    if (size <= MAX_BODY) chunks.push(chunk)
  }
  if (size > MAX_BODY) throw tooLarge
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
  } catch (cause) {
    throw new SluiceError('bad_request', 'the body is not UTF-8 text', { path: 'body', cause })
  }
}

function send(request: IncomingMessage, response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}
