import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { plainAddress } from './request-head.js'
import type { SendOutcome, ServerSocket, WebSocketEndpoint } from './server.js'

/** Quarters of the idle time: silent for two earns a ping, for more than four the end. */
const PING_AT = 2
const DEAD_AT = 4

/**
 * {@link ServerSocket} on `ws`. `ws` does the handshake, parses and answers control frames; data frames are written
 * by us: one buffer each instead of two, and shared between the subscribers of a topic. Both write synchronously
 * to the same stream, so their order holds.
 */
export class NodeSocket<T> implements ServerSocket<T> {
  readonly data: T
  readonly #ws: WebSocket
  readonly #tcp: Socket
  readonly #endpoint: WebSocketEndpoint<T>
  readonly #topicSets: TopicSets
  readonly #onGone: (socket: NodeSocket<T>) => void
  #topics: Set<string> | undefined
  #silentFor = 0
  #open = true

  constructor(
    ws: WebSocket,
    tcp: Socket,
    data: T,
    endpoint: WebSocketEndpoint<T>,
    topicSets: TopicSets,
    onGone: (socket: NodeSocket<T>) => void,
  ) {
    this.#ws = ws
    this.#tcp = tcp
    this.data = data
    this.#endpoint = endpoint
    this.#topicSets = topicSets
    this.#onGone = onGone
  }

  get isOpen(): boolean {
    return this.#open
  }

  get remoteAddress(): string {
    return plainAddress(this.#tcp.remoteAddress ?? '')
  }

  get buffered(): number {
    return this.#open ? this.#tcp.writableLength : 0
  }

  send(bytes: Uint8Array): SendOutcome {
    return this.#open ? this.sendFramed(frameBinary(bytes)) : 'dropped'
  }

  /** Sends what {@link frameBinary} made. The buffer must not change any more. */
  sendFramed(frame: Buffer): SendOutcome {
    if (!this.#open || this.#tcp.writableLength > this.#endpoint.maxBackpressure) return 'dropped'
    return this.#tcp.write(frame) ? 'ok' : 'buffered'
  }

  cork(fn: () => void): void {
    if (!this.#open) return
    this.#tcp.cork()
    try {
      fn()
    } finally {
      this.#tcp.uncork()
    }
  }

  end(code: number, reason: string): void {
    if (!this.#open) return
    this.#ws.close(code, reason)
    this.closed(code, reason)
  }

  terminate(): void {
    if (!this.#open) return
    this.#ws.terminate()
    this.closed(1006, '')
  }

  subscribe(topic: string): void {
    if (!this.#open) return
    this.#topics ??= new Set()
    this.#topics.add(topic)
    this.#topicSets.add(topic, this)
  }

  unsubscribe(topic: string): void {
    if (this.#topics?.delete(topic)) this.#topicSets.remove(topic, this)
  }

  /** The peer gave a sign of life. */
  heard(): void {
    this.#silentFor = 0
  }

  /** Called four times in each idle time. */
  sweep(): void {
    this.#silentFor++
    if (this.#silentFor > DEAD_AT) this.terminate()
    else if (this.#silentFor >= PING_AT) this.#ws.ping()
  }

  drained(): void {
    if (this.#open) this.#endpoint.drain(this)
  }

  closed(code: number, reason: string): void {
    if (!this.#open) return
    this.#open = false
    if (this.#topics) for (const topic of this.#topics) this.#topicSets.remove(topic, this)
    this.#onGone(this)
    this.#endpoint.close(this, code, reason)
  }
}

/** Who subscribed to what, on every path of one server. */
export class TopicSets {
  readonly #sets = new Map<string, Set<Pick<NodeSocket<unknown>, 'sendFramed'>>>()

  add(topic: string, socket: Pick<NodeSocket<unknown>, 'sendFramed'>): void {
    const set = this.#sets.get(topic)
    if (set) set.add(socket)
    else this.#sets.set(topic, new Set([socket]))
  }

  remove(topic: string, socket: Pick<NodeSocket<unknown>, 'sendFramed'>): void {
    const set = this.#sets.get(topic)
    if (set?.delete(socket) && set.size === 0) this.#sets.delete(topic)
  }

  publish(topic: string, frame: Buffer): boolean {
    const set = this.#sets.get(topic)
    if (!set) return false
    for (const socket of set) socket.sendFramed(frame)
    return true
  }

  subscribers(topic: string): number {
    return this.#sets.get(topic)?.size ?? 0
  }
}

/** An unmasked, final binary frame (RFC 6455 section 5.2) with a copy of `bytes`. */
export function frameBinary(bytes: Uint8Array): Buffer {
  const { length } = bytes
  const headSize = length < 126 ? 2 : length < 0x10000 ? 4 : 10
  const frame = Buffer.allocUnsafe(headSize + length)
  frame[0] = 0x82
  if (headSize === 2) frame[1] = length
  else if (headSize === 4) {
    frame[1] = 126
    frame.writeUInt16BE(length, 2)
  } else {
    frame[1] = 127
    frame.writeUInt32BE(0, 2)
    frame.writeUInt32BE(length, 6)
  }
  frame.set(bytes, headSize)
  return frame
}
