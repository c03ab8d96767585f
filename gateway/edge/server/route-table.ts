import { ERRORS, SluiceError } from '../../../proto/errors.js'
import type { OwnedRequest } from './request-head.js'
import type {
  HttpAnswer,
  HttpHandler,
  HttpMethod,
  HttpStreamAnswer,
  RequestHead,
  ServerLog,
  WebSocketEndpoint,
} from './server.js'
import { json } from './server.js'

/** Bytes of body that a route takes unless it says otherwise. */
export const DEFAULT_MAX_BODY = 64 * 1024

/** What a request leads to: a handler to call with its body, or an answer that is certain already. */
export type Dispatch = { handler: HttpHandler; maxBody: number } | { answer: HttpAnswer }

interface Route {
  readonly handler: HttpHandler
  readonly maxBody: number
}

/** Which path and method leads where. Both servers dispatch through it, so both answer alike. */
export class RouteTable {
  readonly #paths = new Map<string, Map<string, Route>>()
  readonly #endpoints = new Map<string, Pick<WebSocketEndpoint<unknown>, 'plain'>>()
  readonly #log: ServerLog

  constructor(log: ServerLog) {
    this.#log = log
  }

  add(method: HttpMethod, path: string, handler: HttpHandler, maxBody = DEFAULT_MAX_BODY): void {
    let methods = this.#paths.get(path)
    if (!methods) {
      methods = new Map()
      this.#paths.set(path, methods)
    }
    methods.set(method, { handler, maxBody })
    if (method === 'GET') methods.set('HEAD', { handler, maxBody })
  }

  addEndpoint(path: string, endpoint: Pick<WebSocketEndpoint<never>, 'plain'>): void {
    this.#endpoints.set(path, endpoint)
  }

  dispatch(head: RequestHead): Dispatch {
    const methods = this.#paths.get(head.path)
    const route = methods?.get(head.method)
    if (route) return route
    const endpoint = this.#endpoints.get(head.path)
    if (endpoint && head.method === 'GET') return { answer: endpoint.plain?.(head) ?? upgradeRequired() }
    if (!methods && !endpoint) return { answer: json(404, new SluiceError('not_found', `nothing is at ${head.path}`)) }
    const allow = methods ? [...methods.keys()].join(', ') : 'GET'
    const error = new SluiceError('method_not_allowed', `${head.path} takes ${allow}, not ${head.method}`)
    return { answer: json(405, error, { allow }) }
  }

  /** Calls a handler; whatever it throws becomes an answer. */
  async run(handler: HttpHandler, request: OwnedRequest): Promise<HttpAnswer | HttpStreamAnswer> {
    try {
      return await handler(request)
    } catch (error) {
      return this.errorAnswer(error, request.path)
    }
  }

  /** A SluiceError as its own answer; anything else is a defect: logged, and 500 without details. */
  errorAnswer(error: unknown, path: string): HttpAnswer & { status: number; body: string } {
    let known: SluiceError
    if (error instanceof SluiceError) known = error
    else {
      this.#log.error({ err: error, path }, 'a request failed')
      known = new SluiceError('internal')
    }
    const headers: Record<string, string> = { 'content-type': 'application/json' }
    if (known.retryAfterMs !== undefined) headers['retry-after'] = String(Math.ceil(known.retryAfterMs / 1000))
    return { status: ERRORS[known.code].status, headers, body: JSON.stringify(known) }
  }
}

/** The answer to a body above the route's limit. */
export function bodyTooLarge(maxBody: number): HttpAnswer {
  return json(413, new SluiceError('frame_too_large', `the body is larger than ${maxBody} bytes`))
}

/** The answer to a GET of a WebSocket path that asks for no upgrade (RFC 9110 section 15.5.22). */
export function upgradeRequired(): HttpAnswer {
  return json(426, new SluiceError('bad_request', 'this path speaks WebSocket'), { upgrade: 'websocket' })
}
