import type { HttpResponse, us_socket_context_t } from 'uWebSockets.js'
import { STATUS_CODES } from 'node:http'
import { bodyTooLarge } from './route-table.js'
import type { HttpAnswer, HttpStream, HttpStreamAnswer, RequestHead } from './server.js'

/** Bytes that a streaming client may lag behind before it is cut off. */
export const MAX_STREAM_LAG = 1024 * 1024

/** One HTTP answer on uWebSockets.js. The native response may not be touched once it ended or its client left. */
export class UwsAnswer {
  readonly #res: HttpResponse
  #over = false
  #stream: UwsStream | undefined

  constructor(res: HttpResponse) {
    this.#res = res
    res.onAborted(() => {
      this.#over = true
      this.#stream?.left()
    })
  }

  send(answer: HttpAnswer | HttpStreamAnswer, headOnly: boolean): void {
    if (this.#over) return
    const status = answer.status ?? 200
    this.#res.cork(() => {
      this.#res.writeStatus(`${status} ${STATUS_CODES[status] ?? ''}`)
      for (const [name, value] of Object.entries(answer.headers ?? {})) this.#res.writeHeader(name, value)
      if ('stream' in answer) return this.#begin(answer)
      this.#over = true
      const body = answer.body ?? ''
      if (headOnly) this.#res.endWithoutBody(Buffer.byteLength(body))
      else this.#res.end(body)
    })
  }

  #begin(answer: HttpStreamAnswer): void {
    this.#stream = new UwsStream(this.#res, () => {
      this.#over = true
    })
    answer.stream(this.#stream)
  }

  upgrade<U>(data: U, request: RequestHead, accepted: Accepted, context: us_socket_context_t): void {
    if (this.#over) return
    this.#over = true
    upgradeNow(this.#res, data, request, accepted, context)
  }

  readBody(maxBody: number, contentLength: string | undefined, done: (body: Uint8Array) => void): void {
    const refuse = () => this.send(bodyTooLarge(maxBody), false)
    if (Number(contentLength ?? 0) > maxBody) {
      refuse()
      return
    }
    const chunks: Buffer[] = []
    let size = 0
    this.#res.onData((chunk, isLast) => {
      if (this.#over) return
      size += chunk.byteLength
      if (size > maxBody) return refuse()
      // The chunk dies with this call.
      chunks.push(Buffer.from(Buffer.from(chunk)))
      if (isLast) done(Buffer.concat(chunks))
    })
  }
}

/** An upgrade that was decided on, and the protocol that was chosen. */
interface Accepted {
  readonly protocol?: string
}

/** Upgrades in the call that brought the request. */
export function upgradeNow<U>(
  res: HttpResponse,
  data: U,
  request: RequestHead,
  { protocol }: Accepted,
  context: us_socket_context_t,
): void {
  // No extensions: per-message deflate costs more memory than an idle session.
  const key = request.headers['sec-websocket-key'] ?? ''
  // Not within cork(): where the upgrade leaves the socket at its old address, the end of the cork takes it for HTTP
  // still, and now and then closes the fresh WebSocket. A handler that decides at once is corked by the server anyway;
  // one that does not gets a warning of uWebSockets.js on standard error, so endpoints had better decide at once.
  res.upgrade(data, key, protocol ?? '', '', context)
}

class UwsStream implements HttpStream {
  closed = false
  readonly #res: HttpResponse
  readonly #onEnd: () => void
  #drained: (() => void) | undefined
  #left: (() => void) | undefined
  #lag = 0

  constructor(res: HttpResponse, onEnd: () => void) {
    this.#res = res
    this.#onEnd = onEnd
    res.onWritable(() => {
      this.#lag = 0
      this.#drained?.()
      return true
    })
  }

  write(chunk: string | Uint8Array): boolean {
    if (this.closed || chunk.length === 0) return !this.closed
    let fine = true
    this.#res.cork(() => {
      fine = this.#res.write(chunk)
    })
    if (fine) return true
    this.#lag += chunk.length
    if (this.#lag > MAX_STREAM_LAG) this.#res.close()
    return false
  }

  end(): void {
    if (this.closed) return
    this.#onEnd()
    this.#res.cork(() => this.#res.end())
    this.left()
  }

  onDrain(fn: () => void): void {
    this.#drained = fn
  }

  onClose(fn: () => void): void {
    if (this.closed) fn()
    else this.#left = fn
  }

  left(): void {
    if (this.closed) return
    this.closed = true
    this.#left?.()
  }
}
