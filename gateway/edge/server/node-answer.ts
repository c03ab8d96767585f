import type { IncomingMessage, ServerResponse } from 'node:http'
import { bodyTooLarge } from './route-table.js'
import type { HttpAnswer, HttpStream, HttpStreamAnswer } from './server.js'

/** Bytes that a streaming client may lag behind before it is cut off. */
const MAX_STREAM_LAG = 1024 * 1024

/** One HTTP answer on `node:http`. */
export class NodeAnswer {
  readonly #res: ServerResponse

  constructor(res: ServerResponse) {
    this.#res = res
    res.on('error', () => undefined)
  }

  /** @param hangUp closes the connection behind the answer: the rest of the request is not wanted */
  send(answer: HttpAnswer | HttpStreamAnswer, hangUp = false): void {
    const res = this.#res
    if (res.destroyed) return
    const status = answer.status ?? 200
    if ('stream' in answer) {
      res.writeHead(status, answer.headers)
      res.flushHeaders()
      answer.stream(new NodeStream(res))
      return
    }
    const body = answer.body ?? ''
    const headers: Record<string, string | number> = { ...answer.headers, 'content-length': Buffer.byteLength(body) }
    if (hangUp) headers.connection = 'close'
    res.writeHead(status, headers)
    res.end(body)
  }
}

/** The whole body; an answer when it is too large; undefined when the client left before its end. */
export async function readBody(req: IncomingMessage, maxBody: number): Promise<Uint8Array | HttpAnswer | undefined> {
  if (Number(req.headers['content-length'] ?? 0) > maxBody) return bodyTooLarge(maxBody)
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of req as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > maxBody) return bodyTooLarge(maxBody)
      chunks.push(chunk)
    }
  } catch {
    return undefined
  }
  return Buffer.concat(chunks)
}

class NodeStream implements HttpStream {
  closed = false
  readonly #res: ServerResponse
  #left: (() => void) | undefined

  constructor(res: ServerResponse) {
    this.#res = res
    res.on('close', () => this.#gone())
  }

  write(chunk: string | Uint8Array): boolean {
    if (this.closed || chunk.length === 0) return !this.closed
    // Copied: the caller may reuse the bytes, and Node keeps them until the kernel takes them.
    const fine = this.#res.write(typeof chunk === 'string' ? chunk : Buffer.from(chunk))
    if (this.#res.writableLength > MAX_STREAM_LAG) this.#res.destroy()
    return fine
  }

  end(): void {
    if (this.closed) return
    this.#res.end()
    this.#gone()
  }

  onDrain(fn: () => void): void {
    this.#res.on('drain', fn)
  }

  onClose(fn: () => void): void {
    if (this.closed) fn()
    else this.#left = fn
  }

  #gone(): void {
    if (this.closed) return
    this.closed = true
    this.#left?.()
  }
}
