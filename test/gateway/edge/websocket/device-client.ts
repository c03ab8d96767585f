import { once } from 'node:events'
import { type ClientOptions, WebSocket } from 'ws'
import { encodeFrame, type FrameFields } from '../../../../proto/frame.js'
import { decode } from './fakes.js'

/** A device that keeps every frame it gets. */
export class DeviceClient {
  readonly ws: WebSocket
  readonly frames: FrameFields[] = []
  closed: { code: number; reason: string } | undefined
  #waiting: (() => void)[] = []

  constructor(url: string, options: ClientOptions = {}) {
    this.ws = new WebSocket(url, { perMessageDeflate: false, ...options })
    this.ws.on('error', () => undefined)
    this.ws.on('message', (bytes) => {
      this.frames.push(decode(bytes as Buffer))
      this.#wake()
    })
    this.ws.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() }
      this.#wake()
    })
  }

  /** Connects and has WELCOME behind it; `frames` starts behind it. */
  static async connect(
    url: string,
    options: ClientOptions = {},
  ): Promise<{ client: DeviceClient; welcome: FrameFields }> {
    const client = new DeviceClient(url, options)
    const welcome = await client.next()
    return { client, welcome }
  }

  send(frame: FrameFields): void {
    this.ws.send(encodeFrame(frame))
  }

  /** Takes the next frame. */
  async next(): Promise<FrameFields> {
    await this.until(() => this.frames.length > 0)
    const frame = this.frames.shift()
    if (!frame) throw new Error(`closed with ${JSON.stringify(this.closed)} before a frame came`)
    return frame
  }

  async until(fits: () => boolean): Promise<void> {
    while (!fits() && !this.closed) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  async untilClosed(): Promise<{ code: number; reason: string }> {
    await this.until(() => false)
    return this.closed as { code: number; reason: string }
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}

/** How an HTTP server refuses an upgrade. */
export async function refusal(url: string): Promise<{ status: number; retryAfter: string | undefined; body: unknown }> {
  const ws = new WebSocket(url)
  ws.on('error', () => undefined)
  const [, response] = await once(ws, 'unexpected-response')
  let body = ''
  for await (const chunk of response) body += chunk
  return { status: response.statusCode, retryAfter: response.headers['retry-after'], body: JSON.parse(body) }
}
