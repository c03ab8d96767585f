/** Which endpoint answers a request: paths with `:name` parts, by method. Pure. */

import { SluiceError } from '../../../proto/errors.js'

/** A request as endpoints see it. */
export interface ApiRequest {
  readonly method: string
  /** Decoded `:name` parts of the path. */
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  /** `content-type` without parameters, lower case; empty for none. */
  readonly contentType: string
  /** Whoever asks, for the history. */
  readonly who: string
  /** The peer's address, and what it says of those behind it. */
  readonly remoteAddress: string
  readonly forwardedFor: string | undefined
  /** The whole body. @throws SluiceError `frame_too_large` */
  text(): Promise<string>
}

/** What an endpoint answers when JSON with status 200 is not it. */
export interface RawAnswer {
  readonly status?: number
  readonly contentType: string
  readonly body: string
}

/** One method of one path. */
export interface Endpoint {
  readonly method: 'GET' | 'POST' | 'PUT'
  /** `/v1/workers/:id/drain` */
  readonly path: string
  /** Open to everybody even when a token is set. */
  readonly open?: boolean
  /** Pages of any site may read the answer: devices in browsers come from anywhere. */
  readonly anyOrigin?: boolean
  /** Returns what is sent as JSON, or a {@link RawAnswer} made by {@link raw}. */
  readonly handle: (request: ApiRequest) => unknown
}

const RAW = new WeakSet<object>()

/** Marks an answer that is not JSON with status 200. */
export function raw(answer: RawAnswer): RawAnswer {
  RAW.add(answer)
  return answer
}

/** True for what {@link raw} returned. */
export function isRaw(answer: unknown): answer is RawAnswer {
  return typeof answer === 'object' && answer !== null && RAW.has(answer)
}

/** Finds endpoints. */
export class Router {
  readonly #endpoints: readonly { readonly parts: readonly string[]; readonly endpoint: Endpoint }[]

  constructor(endpoints: readonly Endpoint[]) {
    this.#endpoints = endpoints.map((endpoint) => ({ parts: endpoint.path.split('/'), endpoint }))
  }

  /**
   * @param path of the URL, still encoded
   * @throws SluiceError `not_found`, `method_not_allowed`, `bad_request` for a part that cannot be decoded
   */
  find(method: string, path: string): { endpoint: Endpoint; params: Record<string, string> } {
    const parts = path.split('/')
    const matching = this.#endpoints.filter((candidate) => matches(candidate.parts, parts))
    if (matching.length === 0) throw new SluiceError('not_found', `there is no ${path} here`)
    const asked = method === 'HEAD' ? 'GET' : method
    const found = matching.find(({ endpoint }) => endpoint.method === asked)
    if (found === undefined) {
      const allowed = matching.map(({ endpoint }) => endpoint.method).join(', ')
      throw new SluiceError('method_not_allowed', `${path} takes ${allowed}, not ${method}`)
    }
    return { endpoint: found.endpoint, params: paramsOf(found.parts, parts) }
  }
}

function matches(pattern: readonly string[], parts: readonly string[]): boolean {
  return (
    pattern.length === parts.length &&
    pattern.every((part, i) => (part.startsWith(':') ? parts[i] !== '' : part === parts[i]))
  )
}

function paramsOf(pattern: readonly string[], parts: readonly string[]): Record<string, string> {
  const params: Record<string, string> = {}
  for (const [i, part] of pattern.entries()) {
    if (!part.startsWith(':')) continue
    try {
      params[part.slice(1)] = decodeURIComponent(parts[i] as string)
    } catch (cause) {
      throw new SluiceError('bad_request', `${parts[i]} is not a percent-encoded text`, { cause })
    }
  }
  return params
}
