/**
 * The worker's end of one link: records in, records out, one write per tick or when there is much. What the records mean is
 * docs/link-protocol.md's subject; who owns a session is the session table's.
 */

import { timingSafeEqual } from 'node:crypto'
import type { Socket } from 'node:net'
import { SluiceError } from '../../proto/errors.js'
import { appendRedelivered, encodeHeaders, frameHeadSize, writeFrameHead } from '../../proto/frame.js'
import type { AttachRefused, CloseBinding, Detached } from '../../proto/link.js'
import { HEALTH_LINK, LINK_PROTOCOL, LinkKind, RecordBatch, RecordReader, SHORT_CHUNK } from '../../proto/link.js'
import { writeAttached } from '../../proto/link-attach.js'
import { packLinkControl, readAck, readAttach, readClose, readDetach, readHello } from '../../proto/link-control.js'
import type { Clock } from './clock.js'
import type { WorkerLog } from './handler.js'
import type { LiveSession, SessionLink } from './live-session.js'
import type { Headers } from './send-options.js'
import type { SessionTable } from './session-table.js'
import { TopicBytes } from './topic-bytes.js'
import { WorkerFrame } from './worker-frame.js'

export interface LinkLimits {
  /** Bytes that may wait for one gateway before `send` returns false. */
  readonly linkBytes: number
  /** How long a fresh connection may take to say HELLO, in milliseconds. */
  readonly helloMs: number
}

/** What a link knows of its worker. */
export interface LinkHost {
  readonly id: string
  readonly pool: string
  readonly token: string | undefined
  readonly limits: LinkLimits
  readonly log: WorkerLog
  readonly clock: Clock
  readonly sessions: SessionTable
  /** Sessions that live links hold, over the whole worker. */
  readonly load: number
  /** It wants its sessions moved elsewhere, and has no coordinator to tell. */
  readonly draining: boolean
  /** HELLO was exchanged. */
  up(link: GatewayLink): void
  /** The connection is gone; `held` are the sessions that were bound on it. */
  down(link: GatewayLink, held: readonly LiveSession[]): void
}

const NO_BYTES = new Uint8Array(0)
/** A batch buffer that grew above this in a burst is not kept. */
const KEEP_BATCH = 1024 * 1024

export class GatewayLink implements SessionLink {
  gateway = ''
  readonly #socket: Socket
  readonly #host: LinkHost
  readonly #batch = new RecordBatch()
  readonly #topics = new TopicBytes()
  readonly #bindings = new Map<number, LiveSession>()
  #frame = new WorkerFrame()
  #acks: LiveSession[] = []
  #flushing = false
  /** The kernel did not take all of the last batch at once. */
  #lagging = false
  #closed = false
  #wasFull = false
  #reported = -1
  readonly #stopHelloTimer: () => void

  constructor(socket: Socket, host: LinkHost) {
    this.#socket = socket
    this.#host = host
    const reader = new RecordReader((kind, binding, bytes, start, end) =>
      this.#record(kind, binding, bytes, start, end),
    )
    this.#stopHelloTimer = host.clock.after(host.limits.helloMs, () =>
      this.#fail(new SluiceError('protocol_mismatch', `no HELLO within ${host.limits.helloMs} ms`)),
    )
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => {
      try {
        if (chunk.length < SHORT_CHUNK) this.#readBriefly(reader, chunk)
        else reader.push(chunk)
      } catch (error) {
        this.#fail(error)
      }
    })
    socket.on('drain', () => this.#drained())
    socket.on('error', () => undefined)
    socket.on('close', () => this.#ended())
  }

  /** Sessions that are bound on this link. */
  get size(): number {
    return this.#bindings.size
  }

  /** A coordinator looks whether the worker lives; it takes no publishes. */
  get isHealthCheck(): boolean {
    return this.gateway.startsWith(HEALTH_LINK)
  }

  get full(): boolean {
    if (this.#batch.length + this.#socket.writableLength < this.#host.limits.linkBytes) return false
    this.#wasFull = true
    return true
  }

  attached(binding: number, epoch: number, resumed: boolean): void {
    if (this.#closed) return
    writeAttached(this.#batch, binding, epoch, resumed)
    this.#flushSoon()
  }

  refused(binding: number, refusal: AttachRefused): void {
    this.#bindings.delete(binding)
    this.#control(LinkKind.REFUSED, binding, packLinkControl(refusal))
  }

  detached(binding: number, detached: Detached): void {
    this.#bindings.delete(binding)
    this.#control(LinkKind.DETACHED, binding, packLinkControl(detached))
  }

  close(binding: number, close: CloseBinding): void {
    this.#bindings.delete(binding)
    this.#control(LinkKind.CLOSE, binding, packLinkControl(close))
  }

  frame(binding: number, topic: string, payload: Uint8Array, headers: Headers | undefined): void {
    this.#parts(LinkKind.FRAME, binding, 0, topic, payload, headers === undefined ? NO_BYTES : encodeHeaders(headers))
  }

  frameKept(binding: number, bytes: Uint8Array, redelivered: boolean): void {
    const pos = this.#batch.begin(LinkKind.FRAME, binding, bytes.length + 2)
    this.#batch.bytes.set(bytes, pos)
    const end = pos + bytes.length
    this.#batch.end(redelivered ? appendRedelivered(this.#batch.bytes, end) : end)
    this.#filled()
  }

  /** A PUBLISH for the fan-out; false when the link is full or gone. */
  publish(topic: string, payload: Uint8Array): boolean {
    if (this.#closed || this.full) return false
    this.#parts(LinkKind.PUBLISH, 0, 1, topic, payload, NO_BYTES)
    return true
  }

  ackSoon(session: LiveSession): void {
    if (session.ackWaits) return
    session.ackWaits = true
    this.#acks.push(session)
    this.#flushSoon()
  }

  /** Tells the gateway the worker's load, when it is not what it was told last. */
  reportLoad(sessions: number): void {
    if (sessions === this.#reported || this.gateway === '') return
    this.#reported = sessions
    this.#control(LinkKind.LOAD, 0, packLinkControl({ sessions }))
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Writes what waits, then closes the connection. */
  end(): void {
    this.#flush()
    this.#socket.destroySoon()
  }

  /** What a short chunk brings is answered when all of it is read; the turn need not be asked to do it. */
  #readBriefly(reader: RecordReader, chunk: Buffer): void {
    this.#flushing = true
    try {
      reader.push(chunk)
    } finally {
      this.#flush()
    }
  }

  #record(kind: number, binding: number, bytes: Uint8Array, start: number, end: number): void {
    if (this.gateway === '' && kind !== LinkKind.HELLO)
      throw new SluiceError('protocol_mismatch', 'the first record is not HELLO')
    if (kind === LinkKind.FRAME) this.#onFrame(binding, bytes, start, end)
    else if (kind === LinkKind.ACK) this.#bindings.get(binding)?.confirmed(readAck(bytes, start, end))
    else if (kind === LinkKind.ATTACH) this.#onAttach(binding, bytes, start, end)
    else if (kind === LinkKind.DETACH) this.#onDetach(binding, readDetach(bytes, start, end).epoch)
    else if (kind === LinkKind.CLOSE) this.#onClose(binding, readClose(bytes, start, end))
    else if (kind === LinkKind.PING) this.#control(LinkKind.PONG, 0, bytes.subarray(start, end))
    else if (kind === LinkKind.HELLO) this.#onHello(bytes, start, end)
    // Anything else is a newer gateway's, and not for this version.
  }

  #onFrame(binding: number, bytes: Uint8Array, start: number, end: number): void {
    const session = this.#bindings.get(binding)
    // Sent before the gateway knew that the binding ended.
    if (session === undefined) return
    if (!this.#frame.read(bytes, start, end))
      throw new SluiceError('bad_frame', `a frame of binding ${binding} cannot be read`)
    if (session.deliver(this.#frame)) this.#frame = new WorkerFrame()
  }

  #onAttach(binding: number, bytes: Uint8Array, start: number, end: number): void {
    const attach = readAttach(bytes, start, end)
    if (binding === 0 || this.#bindings.has(binding)) {
      throw new SluiceError(
        'bad_request',
        `ATTACH to binding ${binding}, which is ${binding === 0 ? 'reserved' : 'in use'}`,
      )
    }
    const session = this.#host.sessions.attach(this, binding, attach)
    if (session !== undefined && session.link === this) this.#bindings.set(binding, session)
  }

  #onDetach(binding: number, epoch: number): void {
    const session = this.#bindings.get(binding)
    if (session?.epoch === epoch) session.leave()
  }

  #onClose(binding: number, close: CloseBinding): void {
    if (binding === 0)
      throw new SluiceError('protocol_mismatch', `the gateway refused the link: ${close.code}: ${close.message ?? ''}`)
    const session = this.#bindings.get(binding)
    this.#bindings.delete(binding)
    session?.closed(close.code)
  }

  #onHello(bytes: Uint8Array, start: number, end: number): void {
    const { id, pool, token, log, load, draining } = this.#host
    const hello = readHello(bytes, start, end)
    if (hello.protocol !== LINK_PROTOCOL) {
      const message = `the gateway speaks link protocol ${hello.protocol}, this worker ${LINK_PROTOCOL}: run the same version of Sluice on both`
      throw new SluiceError('protocol_mismatch', message)
    }
    if (hello.role !== 'gateway')
      throw new SluiceError('protocol_mismatch', `a ${hello.role} connected to a worker's link`)
    if (token !== undefined && !sameToken(hello.token ?? '', token)) {
      throw new SluiceError(
        'unauthorized',
        'the gateway gave a wrong link token, or none: give both sides the same one',
      )
    }
    if (this.gateway !== '' || hello.id === '')
      throw new SluiceError('protocol_mismatch', 'HELLO came twice, or without an id')
    this.gateway = hello.id
    this.#stopHelloTimer()
    this.#control(
      LinkKind.HELLO,
      0,
      packLinkControl({
        protocol: LINK_PROTOCOL,
        id,
        role: 'worker',
        pool,
        sessions: load,
        ...(draining ? { draining } : {}),
      }),
    )
    if (!this.isHealthCheck) log.info({ gateway: hello.id }, 'gateway linked')
    this.#host.up(this)
  }

  /** Head, payload and headers, each copied once, straight into the batch. */
  #parts(kind: number, binding: number, type: number, topic: string, payload: Uint8Array, headers: Uint8Array): void {
    const name = topic === '' ? NO_BYTES : this.#topics.of(topic)
    const batch = this.#batch
    const room = frameHeadSize(name.length, payload.length) + payload.length + headers.length
    // Before `bytes` is read: begin may replace the buffer.
    const pos = batch.begin(kind, binding, room)
    const body = writeFrameHead(batch.bytes, pos, type, 0, name, payload.length)
    batch.bytes.set(payload, body)
    if (headers.length > 0) batch.bytes.set(headers, body + payload.length)
    batch.end(body + payload.length + headers.length)
    this.#filled()
  }

  #control(kind: number, binding: number, body: Uint8Array): void {
    if (this.#closed) return
    this.#batch.add(kind, binding, body)
    this.#flushSoon()
  }

  /** A frame was added: it leaves with this turn, or now when there is much already. */
  #filled(): void {
    if (this.#batch.ripe) this.#write()
    else this.#flushSoon()
  }

  #flushSoon(): void {
    if (this.#flushing) return
    this.#flushing = true
    setImmediate(() => this.#flush())
  }

  #flush(): void {
    this.#flushing = false
    const acks = this.#acks
    this.#acks = []
    for (const session of acks) {
      session.ackWaits = false
      if (session.link !== this) session.link?.ackSoon(session)
      else if (session.acked > 0) this.#batch.addAck(session.binding, session.acked)
    }
    this.#write()
  }

  #write(): void {
    if (this.#batch.length === 0) return
    if (this.#closed) this.#batch.take()
    else {
      const large = this.#batch.length > KEEP_BATCH
      this.#lagging = !this.#batch.writeTo(this.#socket, this.#lagging)
      if (large && !this.#lagging) this.#batch.replaceBuffer()
    }
  }

  #drained(): void {
    if (!this.#wasFull) return
    this.#wasFull = false
    for (const session of this.#bindings.values()) session.roomAgain()
  }

  /** Tells the gateway why, and hangs up. */
  #fail(error: unknown): void {
    if (this.#closed) return
    const known = error instanceof SluiceError ? error : new SluiceError('bad_request', String(error), { cause: error })
    const from = this.gateway === '' ? (this.#socket.remoteAddress ?? 'a local socket') : this.gateway
    this.#host.log.warn({ gateway: from, code: known.code, err: error }, `link closed: ${known.message}`)
    this.#control(LinkKind.CLOSE, 0, packLinkControl({ code: known.code, message: known.message }))
    this.end()
    this.#ended()
  }

  #ended(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stopHelloTimer()
    const held = [...this.#bindings.values()]
    this.#bindings.clear()
    for (const session of held) session.lostLink()
    this.#host.down(this, held)
  }
}

function sameToken(given: string, expected: string): boolean {
  const a = Buffer.from(given)
  const b = Buffer.from(expected)
  // The length is not a secret; the comparison of equal lengths takes the same time wherever they differ.
  return a.length === b.length && timingSafeEqual(a, b)
}
