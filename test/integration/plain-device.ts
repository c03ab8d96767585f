import WebSocket from 'ws'
import { FrameView } from '../../proto/frame.js'

/** A plain WebSocket client that encodes frames by hand. */
export class PlainDevice {
  readonly frames: FrameView[] = []
  readonly #socket: WebSocket
  #waiting: (() => void)[] = []
  readonly closed: Promise<number>

  constructor(url: string) {
    this.#socket = new WebSocket(url)
    this.#socket.binaryType = 'nodebuffer'
    this.#socket.on('message', (data) => {
      const view = new FrameView()
      if (view.read(data as Buffer)) this.frames.push(view)
      for (const wake of this.#waiting.splice(0)) wake()
    })
    this.closed = new Promise((resolve) => this.#socket.once('close', (code) => resolve(code)))
  }

  send(bytes: Uint8Array | string): void {
    this.#socket.send(bytes)
  }

  /** The next frame of this type, from the oldest on. */
  async next(type: number): Promise<FrameView> {
    for (;;) {
      const at = this.frames.findIndex((frame) => frame.type === type)
      if (at >= 0) return this.frames.splice(at, 1)[0] as FrameView
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  close(): void {
    this.#socket.close()
  }
}
