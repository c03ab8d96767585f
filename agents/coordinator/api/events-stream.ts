/** `GET /v1/events`: server-sent events (HTML standard, section 9.2) for the dashboard. */

import type { ServerResponse } from 'node:http'
import type { Clock } from '../clock.js'
import type { ControlPlane } from '../control-plane.js'
import type { FleetEvent } from '../event-hub.js'
import { fleetStatus } from '../status.js'
import type { StreamHandler } from './http-server.js'

/** The whole status is sent this often, whatever happens. */
const STATUS_MS = 1000
/** A reader that lets this many bytes wait is closed; it comes back with the last id it saw. */
const MAX_BUFFERED = 1024 * 1024
/** Readers at once. */
const MAX_READERS = 100

/** Streams to all who listen; `close` ends them. */
export class EventStreams {
  readonly #plane: ControlPlane
  readonly #clock: Clock
  readonly #readers = new Set<ServerResponse>()
  #cancelTimer: (() => void) | undefined
  readonly #stopListening: () => void

  constructor(plane: ControlPlane, clock: Clock) {
    this.#plane = plane
    this.#clock = clock
    this.#stopListening = plane.events.listen((event) => {
      const text = textOf(event)
      for (const reader of this.#readers) this.#write(reader, text)
    })
  }

  /** Takes over a request. */
  readonly handle: StreamHandler = (request, response, query) => {
    if (this.#readers.size >= MAX_READERS) {
      response.writeHead(503, { 'content-type': 'application/json', 'retry-after': '5' })
      response.end('{"error":{"code":"overloaded","message":"too many readers of events"}}\n')
      return
    }
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    })
    this.#readers.add(response)
    response.on('close', () => {
      this.#readers.delete(response)
      if (this.#readers.size === 0) this.#stopTimer()
    })
    const last = Number(request.headers['last-event-id'] ?? query.get('after') ?? Number.NaN)
    this.#write(response, `retry: 1000\n\n${this.#statusText()}`)
    if (Number.isFinite(last)) for (const event of this.#plane.events.since(last)) this.#write(response, textOf(event))
    this.#cancelTimer ??= this.#statusLater()
  }

  close(): void {
    this.#stopListening()
    this.#stopTimer()
    for (const reader of this.#readers) reader.end()
  }

  #statusLater(): () => void {
    return this.#clock.after(STATUS_MS, () => {
      const text = this.#statusText()
      for (const reader of this.#readers) this.#write(reader, text)
      this.#cancelTimer = this.#readers.size > 0 ? this.#statusLater() : undefined
    })
  }

  #stopTimer(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  #statusText(): string {
    const { running } = this.#plane.moves.list(this.#clock.wall())
    const moves = running.map(({ receipts: _receipts, ...move }) => move)
    return `event: status\ndata: ${JSON.stringify({ ...fleetStatus(this.#plane, this.#clock.now()), moves })}\n\n`
  }

  #write(response: ServerResponse, text: string): void {
    if (response.writableLength > MAX_BUFFERED) response.destroy()
    else response.write(text)
  }
}

function textOf(event: FleetEvent): string {
  return `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
}
