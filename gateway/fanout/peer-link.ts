/**
 * This gateway's connection to another one: over it go the filters that subscribers here want, and back come the
 * messages that match. It is dialed again for as long as the other gateway stands in the routing table.
 */

import { WebSocket } from 'ws'
import type { Clock, Message } from '../ports.js'
import type { BusHandlers, PeerStatus } from './bus.js'
import type { FanoutCounters } from './counters.js'
import type { InterestLedger } from './interest-ledger.js'
import { OctetWriter } from './octets.js'
import {
  PEER_PROTOCOL,
  type PeerSink,
  readRecords,
  writeAsk,
  writeHello,
  writeInterest,
  writeMark,
} from './peer-wire.js'

/** TLS files for `https` gateways, as node:tls takes them. */
export interface PeerTls {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

export interface LinkPort {
  readonly id: string
  readonly clock: Clock
  /** 0 to 1. */
  readonly random: () => number
  readonly token: string | undefined
  readonly tls: PeerTls | undefined
  readonly handlers: BusHandlers
  readonly counters: FanoutCounters
  readonly ledger: () => InterestLedger
  /** Runs a function on the next event-loop turn. */
  readonly turn: (fn: () => void) => void
  /** Connected, acknowledged a version, or lost. */
  readonly changed: () => void
}

const FIRST_RETRY_MS = 100
const MAX_RETRY_MS = 5000
/** A gateway that says nothing for two of these is taken for dead. */
const PING_MS = 2500
/** Interest goes in messages of this size: a server need not accept large ones. */
const CHUNK = 32 * 1024
/** Largest message from another gateway: a batch, or one device message with its properties. */
const MAX_MESSAGE = 64 * 1024 * 1024
const MAX_INTEREST_WAITING = 64 * 1024 * 1024

export class PeerLink implements PeerSink {
  readonly peer: string
  readonly url: string
  readonly #port: LinkPort
  readonly #out = new OctetWriter(4096)
  #socket: WebSocket | undefined
  #cancel: () => void = () => {}
  #retryMs = FIRST_RETRY_MS
  #reason: string | undefined
  #acked = 0
  #greeted = false
  #upToDate = false
  #alive = false
  #closed = false
  #asked = 1
  #flushing = false
  readonly #questions = new Map<number, (answer: Uint8Array | undefined) => void>()

  constructor(peer: string, url: string, port: LinkPort) {
    this.peer = peer
    this.url = url
    this.#port = port
    this.#dial()
  }

  /** True when the other gateway has said hello on the present connection. */
  get connected(): boolean {
    return this.#greeted
  }

  /** True when it has also told everything that it retains. */
  get upToDate(): boolean {
    return this.#upToDate
  }

  /** The last version of the interest that the other gateway acknowledged. */
  get acked(): number {
    return this.#acked
  }

  get status(): PeerStatus {
    if (this.#greeted) return { id: this.peer, state: 'connected' }
    return { id: this.peer, state: 'connecting', ...(this.#reason !== undefined && { reason: this.#reason }) }
  }

  announce(changes: ReadonlyMap<string, number>, version: number): void {
    if (this.#socket?.readyState !== WebSocket.OPEN) return
    for (const [filter, members] of changes) {
      writeInterest(this.#out, filter, members)
      if (this.#out.length >= CHUNK) this.#flush()
    }
    writeMark(this.#out, version)
    this.#flush()
    if (this.#socket.bufferedAmount > MAX_INTEREST_WAITING) this.#socket.terminate()
  }

  close(): void {
    this.#closed = true
    this.#cancel()
    this.#socket?.terminate()
    this.#lost()
  }

  hello(protocol: number, id: string): void {
    if (protocol !== PEER_PROTOCOL) throw new RangeError(`protocol ${protocol}, not ${PEER_PROTOCOL}`)
    if (id !== this.peer) throw new RangeError(`${this.url} is gateway '${id}', not '${this.peer}'`)
    this.#greeted = true
    this.#reason = undefined
    this.#retryMs = FIRST_RETRY_MS
    this.#port.changed()
  }

  ack(version: number): void {
    this.#acked = version
    this.#port.changed()
  }

  message(message: Message, shared: readonly string[]): void {
    this.#port.counters.busIn++
    this.#port.handlers.message(message, true, shared)
  }

  retained(message: Message): void {
    this.#port.handlers.retained(message)
  }

  synced(): void {
    this.#upToDate = true
    this.#port.changed()
  }

  interest(): void {}
  mark(): void {}
  ask(): void {}

  answer(number: number, body: Uint8Array): void {
    const waiting = this.#questions.get(number)
    this.#questions.delete(number)
    waiting?.(body)
  }

  /** Asks the other gateway; `answered` gets undefined when the connection is lost first. Questions of one turn leave together. */
  question(body: Uint8Array, answered: (answer: Uint8Array | undefined) => void): void {
    if (!this.#greeted) {
      answered(undefined)
      return
    }
    const number = this.#asked++
    this.#questions.set(number, answered)
    writeAsk(this.#out, number, body)
    if (this.#questions.size === 1 || this.#out.length >= CHUNK) this.#flush()
    else this.#flushSoon()
  }

  #dial(): void {
    const { token, tls } = this.#port
    const socket = new WebSocket(peerUrl(this.url), {
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE,
      handshakeTimeout: 3000,
      ...(token !== undefined && { headers: { authorization: `Bearer ${token}` } }),
      ...tls,
    })
    this.#socket = socket
    socket.on('open', () => this.#greet())
    socket.on('message', (data: Buffer) => this.#take(data))
    socket.on('pong', () => {
      this.#alive = true
    })
    socket.on('error', (error) => {
      this.#reason = error.message
    })
    socket.on('close', (code, reason) => {
      if (this.#socket !== socket) return
      if (code !== 1006) this.#reason = `closed with ${code} ${reason.toString()}`
      this.#lost()
      this.#retry()
    })
  }

  #greet(): void {
    const ledger = this.#port.ledger()
    writeHello(this.#out, this.#port.id)
    this.announce(ledger.wanted, ledger.version)
    this.#alive = true
    this.#watch()
  }

  #watch(): void {
    this.#cancel = this.#port.clock.after(PING_MS, () => {
      if (!this.#alive) {
        this.#reason = `said nothing for ${2 * PING_MS} ms`
        this.#socket?.terminate()
        return
      }
      this.#alive = false
      this.#socket?.ping()
      this.#watch()
    })
  }

  #take(data: Buffer): void {
    this.#alive = true
    this.#port.counters.busInBytes += data.length
    try {
      readRecords(data, this)
    } catch (error) {
      this.#port.counters.busMalformed++
      this.#socket?.close(1002, String(error).slice(0, 100))
    }
  }

  #lost(): void {
    this.#cancel()
    this.#socket = undefined
    this.#greeted = this.#upToDate = false
    this.#acked = 0
    const questions = [...this.#questions.values()]
    this.#questions.clear()
    for (const answered of questions) answered(undefined)
    this.#port.changed()
  }

  #retry(): void {
    if (this.#closed) return
    // Between half and all of the interval, so that gateways that lost the same peer do not come back together.
    const wait = this.#retryMs * (0.5 + this.#port.random() / 2)
    this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS)
    this.#cancel = this.#port.clock.after(wait, () => this.#dial())
  }

  #flushSoon(): void {
    if (this.#flushing) return
    this.#flushing = true
    this.#port.turn(() => {
      this.#flushing = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#out.length > 0) this.#socket?.send(this.#out.take())
  }
}

/** `http://HOST:PORT` as the WebSocket URL of its peers. */
export function peerUrl(http: string): string {
  return `${http.replace(/^http/, 'ws').replace(/\/+$/, '')}/v1/peer`
}
