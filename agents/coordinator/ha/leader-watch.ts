/**
 * The direct line to the leader: an answer that never ends, with a line every {@link BEAT_MS}. It is how the others know
 * within a second that it is gone, however long the shared store takes to say so.
 */

import { type ClientRequest, get as httpGet, type IncomingMessage, type ServerResponse } from 'node:http'
import { get as httpsGet } from 'node:https'
import type { Clock } from '../clock.js'

/** Path of the line. */
export const WATCH_PATH = '/v1/coordinators/watch'
/** The leader says something this often, in milliseconds. */
const BEAT_MS = 200
/** Nothing for this long is silence, in milliseconds: five beats. */
const SILENT_MS = 1000
/** Pause between attempts to reach a leader that does not answer, in milliseconds. */
const REDIAL_MS = 200
/** A line is tiny; more than this is not ours. */
const MAX_LINE = 4096
/** A reader that lets this many bytes wait is closed: it has not read for minutes. */
const MAX_WAITING = 65_536

/** What the leader says of itself. */
export interface LeaderNews {
  readonly epoch: number
  /** Of the state in the shared store: followers read it again when it changed. */
  readonly revision: number
}

/**
 * - `unknown`: not heard yet, for less than {@link SILENT_MS}
 * - `alive`: it said something within {@link SILENT_MS}
 * - `dead`: nothing listens at its address; its host is there
 * - `silent`: it does not answer, or it answers that it does not lead; it may be alive
 */
export type Verdict = 'unknown' | 'alive' | 'dead' | 'silent'

/** What a watch needs. */
export interface LeaderWatchOptions {
  /** Base URL of the leader. */
  readonly url: string
  readonly token: string | undefined
  readonly clock: Clock
  readonly news: (news: LeaderNews) => void
  readonly changed: (verdict: Verdict) => void
}

/** Watches one leader until it is closed. */
export class LeaderWatch {
  readonly #options: LeaderWatchOptions
  #verdict: Verdict = 'unknown'
  #request: ClientRequest | undefined
  #cancelSilence: () => void = () => {}
  #cancelRedial: () => void = () => {}
  #closed = false

  constructor(options: LeaderWatchOptions) {
    this.#options = options
    this.#listenFor()
    this.#dial()
  }

  get verdict(): Verdict {
    return this.#verdict
  }

  close(): void {
    this.#closed = true
    this.#cancelSilence()
    this.#cancelRedial()
    this.#request?.destroy()
  }

  #dial(): void {
    const { url, token } = this.#options
    const target = new URL(WATCH_PATH, url)
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const request = (target.protocol === 'https:' ? httpsGet : httpGet)(target, { headers, agent: false })
    this.#request = request
    let heard = false
    request.on('response', (response) => {
      if (response.statusCode !== 200) {
        response.resume()
        return this.#failed(request, 'silent')
      }
      readLines(response, (line) => {
        heard = true
        this.#heard(request, line)
      })
      // It was there a moment ago: whether it still is, the next attempt tells.
      response.on('close', () => this.#failed(request, heard ? undefined : 'silent'))
    })
    request.on('error', (error: NodeJS.ErrnoException) => {
      this.#failed(request, heard ? undefined : error.code === 'ECONNREFUSED' ? 'dead' : 'silent')
    })
  }

  #heard(request: ClientRequest, line: string): void {
    const news = readNews(line)
    if (request !== this.#request || this.#closed || news === undefined) return
    this.#listenFor()
    this.#judge('alive')
    this.#options.news(news)
  }

  /** @param verdict undefined: ask again at once before it is judged */
  #failed(request: ClientRequest, verdict: Verdict | undefined): void {
    if (request !== this.#request || this.#closed) return
    this.#request = undefined
    request.destroy()
    if (verdict !== undefined) this.#judge(verdict)
    this.#cancelRedial = this.#options.clock.after(verdict === undefined ? 0 : REDIAL_MS, () => this.#dial())
  }

  #listenFor(): void {
    this.#cancelSilence()
    this.#cancelSilence = this.#options.clock.after(SILENT_MS, () => {
      if (this.#verdict !== 'dead') this.#judge('silent')
      this.#listenFor()
      if (this.#request !== undefined) this.#failed(this.#request, 'silent')
    })
  }

  #judge(verdict: Verdict): void {
    if (verdict === this.#verdict || this.#closed) return
    this.#verdict = verdict
    this.#options.changed(verdict)
  }
}

function readLines(response: IncomingMessage, take: (line: string) => void): void {
  let rest = ''
  response.setEncoding('utf8')
  response.on('error', () => {})
  response.on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > MAX_LINE) response.destroy()
    for (const line of lines) take(line)
  })
}

function readNews(line: string): LeaderNews | undefined {
  try {
    const { epoch, revision } = JSON.parse(line) as LeaderNews
    return Number.isSafeInteger(epoch) && Number.isSafeInteger(revision) ? { epoch, revision } : undefined
  } catch {
    return undefined
  }
}

/** The leader's end of the lines. */
export class WatchLines {
  readonly #news: () => LeaderNews
  readonly #clock: Clock
  readonly #readers = new Set<ServerResponse>()
  #told = ''
  #closed = false
  #cancelTimer: (() => void) | undefined

  constructor(news: () => LeaderNews, clock: Clock) {
    this.#news = news
    this.#clock = clock
  }

  /** Takes over a request. */
  readonly handle = (_request: IncomingMessage, response: ServerResponse): void => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
    this.#readers.add(response)
    response.on('close', () => this.#readers.delete(response))
    response.write(this.#line())
    if (this.#closed) response.destroy()
    else if (this.#cancelTimer === undefined) this.#beat()
  }

  /** Says at once what is new. */
  tell(): void {
    const line = this.#line()
    if (line === this.#told) return
    this.#told = line
    for (const reader of this.#readers) {
      if (reader.writableLength > MAX_WAITING) reader.destroy()
      else reader.write(line)
    }
  }

  close(): void {
    this.#closed = true
    this.#cancelTimer?.()
    for (const reader of this.#readers) reader.destroy()
  }

  #beat(): void {
    this.#cancelTimer = this.#clock.after(BEAT_MS, () => {
      this.#told = ''
      this.tell()
      this.#beat()
    })
  }

  #line(): string {
    return `${JSON.stringify(this.#news())}\n`
  }
}
