import type { WebSocket } from 'uWebSockets.js'
import type { SendOutcome, ServerSocket, WebSocketEndpoint } from './server.js'

/** What hangs on each native socket: the endpoint's data until it is open, then its {@link UwsSocket}. One field, one slot. */
export interface UwsUserData<T> {
  socket: T | UwsSocket<T>
}

/**
 * The socket that hangs on an open native one. This build puts the fields of the user data on the native object itself,
 * where they are read without a call into C++; one that does not is asked.
 */
export function socketOf<T>(ws: WebSocket<UwsUserData<T>>): UwsSocket<T> {
  const { socket } = ws as Partial<UwsUserData<T>>
  return (socket ?? ws.getUserData().socket) as UwsSocket<T>
}

/**
 * uWebSockets.js cuts a connection above its own limit without the close frame 1009 that the contract asks for. So its limit
 * is set higher, and messages in between are refused by us, politely. What lies above it is not worth buffering.
 */
export function hardPayloadLimit(maxPayload: number): number {
  return Math.min(16 * maxPayload, 0x7fffffff)
}

/**
 * uWebSockets.js drops the close frame, too, behind more than this. So sends are held to `maxBackpressure` by us, and the
 * native limit leaves room for one last message and the goodbye. It still bounds what publish queues.
 */
export function hardBackpressure<T>({ maxBackpressure, maxPayload }: WebSocketEndpoint<T>): number {
  return Math.min(maxBackpressure + maxPayload + 64 * 1024, 0x7fffffff)
}

const OUTCOMES: readonly SendOutcome[] = ['buffered', 'ok', 'dropped']

/** {@link ServerSocket} on uWebSockets.js. Few fields, no closures: there is one per idle connection. */
export class UwsSocket<T> implements ServerSocket<T> {
  #ws: WebSocket<UwsUserData<T>> | undefined
  readonly #endpoint: WebSocketEndpoint<T>
  /** The kernel took less than it was given, and has not caught up. */
  #lagging = false
  readonly data: T

  constructor(ws: WebSocket<UwsUserData<T>>, data: T, endpoint: WebSocketEndpoint<T>) {
    this.#ws = ws
    this.#endpoint = endpoint
    this.data = data
  }

  get remoteAddress(): string {
    return this.#ws ? addressText(this.#ws.getRemoteAddress()) : ''
  }

  get buffered(): number {
    return this.#ws ? this.#ws.getBufferedAmount() : 0
  }

  send(bytes: Uint8Array): SendOutcome {
    const ws = this.#ws
    if (!ws) return 'dropped'
    // Asking costs a call into C++: only who lags is asked.
    if (this.#lagging && ws.getBufferedAmount() > this.#endpoint.maxBackpressure) return 'dropped'
    const outcome = OUTCOMES[ws.send(bytes, true)] as SendOutcome
    if (outcome !== 'ok') this.#lagging = true
    return outcome
  }

  cork(fn: () => void): void {
    if (this.#ws) this.#ws.cork(fn)
  }

  end(code: number, reason: string): void {
    this.#ws?.end(code, reason)
  }

  terminate(): void {
    this.#ws?.close()
  }

  subscribe(topic: string): void {
    this.#ws?.subscribe(topic)
  }

  unsubscribe(topic: string): void {
    this.#ws?.unsubscribe(topic)
  }

  drained(): void {
    if (this.#ws?.getBufferedAmount() === 0) this.#lagging = false
    this.#endpoint.drain(this)
  }

  /** The native socket is gone. A peer that sent no status code shows up as 1005 (RFC 6455 section 7.1.5). */
  closed(code: number, reason: string): void {
    this.#ws = undefined
    this.#endpoint.close(this, code, reason)
  }
}

/** The text of a binary address of 4 or 16 bytes; empty for none. */
export function addressText(binary: ArrayBuffer): string {
  const bytes = new Uint8Array(binary)
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.length !== 16) return ''
  const mapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff
  if (mapped) return bytes.subarray(12).join('.')
  const groups: string[] = []
  for (let i = 0; i < 16; i += 2) groups.push((((bytes[i] as number) << 8) | (bytes[i + 1] as number)).toString(16))
  return groups.join(':')
}
