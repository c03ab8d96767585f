/**
 * One link to one worker: dials, says HELLO, keeps itself alive, dials again. The bindings on it are addressed by number;
 * {@link LinkOutput} says when what they send leaves.
 */

import { connect, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { SluiceError } from '../../proto/errors.js'
import { appendRedelivered } from '../../proto/frame.js'
import {
  type Attach,
  type Attached,
  type CloseBinding,
  LINK_PROTOCOL,
  LinkKind,
  RecordReader,
  SHORT_CHUNK,
} from '../../proto/link.js'
import { writeAttach } from '../../proto/link-attach.js'
import {
  packLinkControl,
  readAck,
  readAttached,
  readClose,
  readDetached,
  readHello,
  readLoad,
  readRefused,
} from '../../proto/link-control.js'
import type { Clock } from '../ports.js'
import type { BindingEvents, WorkerPort } from '../worker-port.js'
import { BindingNumbers } from './binding-numbers.js'
import { writeFrameParts } from './frame-parts.js'
import { LinkOutput } from './link-output.js'

/** Milliseconds and bytes. */
export interface LinkLimits {
  readonly pingMs: number
  /** A worker that leaves this many pings unanswered is taken for hung. Counted, not timed: our own stalls are not its silence. */
  readonly unanswered: number
  readonly dialMs: number
  readonly backoffMinMs: number
  readonly backoffMaxMs: number
  /** Bytes that may wait for one worker before its sessions are told `overloaded`. */
  readonly maxBuffered: number
}

export const DEFAULT_LINK_LIMITS: LinkLimits = {
  pingMs: 400,
  unanswered: 5,
  dialMs: 2000,
  backoffMinMs: 20,
  backoffMaxMs: 1000,
  maxBuffered: 32 * 1024 * 1024,
}

/** Whoever owns the link. */
export interface LinkOwner {
  readonly gateway: string
  readonly token: string | undefined
  readonly clock: Clock
  readonly limits: LinkLimits
  readonly tls: ConnectionOptions | undefined
  /** Calls a function once this turn of the event loop has seen its input. */
  readonly turn: (fn: () => void) => void
  linkUp(link: WorkerLink): void
  /** `hung`: the worker was silent too long; else the connection broke. */
  linkDown(link: WorkerLink, hung: boolean, reason: string): void
  /** The worker holds this many sessions, of all gateways. */
  load(link: WorkerLink, sessions: number): void
  /** A PING came back after this many milliseconds: the way of a frame to the worker and back. */
  roundTrip(link: WorkerLink, ms: number): void
  /** A binding was given to the worker (+1), or left it (-1). */
  held(link: WorkerLink, change: 1 | -1): void
  /** Reads a short chunk, by `read`: what it brings for devices need not wait for what else the turn brings. */
  briefly(read: () => void): void
  /** A PUBLISH of the worker for the fan-out; valid only during the call. */
  workerPublish(link: WorkerLink, bytes: Uint8Array, start: number, end: number): void
}

export class WorkerLink implements WorkerPort {
  readonly worker: string
  readonly address: string
  readonly #owner: LinkOwner
  readonly #bindings = new BindingNumbers()
  readonly #out: LinkOutput
  #socket: Socket | undefined
  #up = false
  #closed = false
  /** What the worker said on binding 0 before it hung up. */
  #farewell = ''
  #unanswered = 0
  /** When the oldest unanswered PING left; 0 for none. */
  #pingedAt = 0
  #backoff: number
  #cancelTimer: (() => void) | undefined
  /** Sessions that the worker has from all gateways, as it said last. */
  sessions = 0

  constructor(worker: string, address: string, owner: LinkOwner) {
    this.worker = worker
    this.address = address
    this.#owner = owner
    this.#out = new LinkOutput(owner.turn)
    this.#backoff = owner.limits.backoffMinMs
    this.#dial()
  }

  get up(): boolean {
    return this.#up
  }

  get full(): boolean {
    return this.#out.waiting > this.#owner.limits.maxBuffered
  }

  /** Bindings that live on this link. */
  get bindings(): number {
    return this.#bindings.size
  }

  attach(events: BindingEvents, attach: Attach): number {
    const number = this.#bindings.add(events)
    this.#owner.held(this, 1)
    writeAttach(this.#out.batch, number, attach)
    this.#out.added()
    return number
  }

  detach(number: number, epoch: number): void {
    this.#add(LinkKind.DETACH, number, packLinkControl({ epoch }))
  }

  close(number: number, close: CloseBinding): void {
    this.forget(number)
    this.#add(LinkKind.CLOSE, number, packLinkControl(close))
  }

  forget(number: number): void {
    if (this.#bindings.delete(number)) this.#owner.held(this, -1)
  }

  retire(number: number): void {
    if (this.#bindings.retire(number)) this.#owner.held(this, -1)
  }

  frame(number: number, bytes: Uint8Array, start: number, end: number): void {
    const { batch } = this.#out
    const pos = batch.begin(LinkKind.FRAME, number, end - start)
    // A frame is all of its buffer most of the time; making a view of a part costs more than copying it.
    if (start === 0 && end === bytes.length) batch.bytes.set(bytes, pos)
    else batch.bytes.set(bytes.subarray(start, end), pos)
    batch.end(pos + end - start)
    this.#out.frameAdded()
  }

  frameAgain(number: number, bytes: Uint8Array): void {
    const { batch } = this.#out
    const pos = batch.begin(LinkKind.FRAME, number, bytes.length + 2)
    batch.bytes.set(bytes, pos)
    batch.end(appendRedelivered(batch.bytes, pos + bytes.length))
    this.#out.added()
  }

  frameParts(number: number, type: number, topic: string, payload: Uint8Array): void {
    writeFrameParts(this.#out.batch, number, type, topic, payload)
    this.#out.frameAdded()
  }

  ack(number: number, seq: number): void {
    this.#out.batch.addAck(number, seq)
    this.#out.added()
  }

  /** Ends the link for good; bindings on it are told that it is lost. */
  end(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#out.flush()
    this.#socket?.end()
    this.#drop(false, reason)
  }

  #add(kind: number, number: number, body: Uint8Array): void {
    this.#out.batch.add(kind, number, body)
    this.#out.added()
  }

  #dial(): void {
    const { limits, tls } = this.#owner
    const socket = open(this.address, tls)
    this.#socket = socket
    this.#out.use(socket)
    socket.setNoDelay(true)
    socket.once('connect', () => this.#hello(socket))
    const reader = new RecordReader((kind, number, bytes, start, end) => this.#record(kind, number, bytes, start, end))
    let brief: Buffer
    const read = () => this.#receive(socket, reader, brief)
    socket.on('data', (chunk) => {
      if (chunk.length >= SHORT_CHUNK) {
        this.#receive(socket, reader, chunk)
        return
      }
      brief = chunk
      this.#owner.briefly(read)
    })
    socket.on('error', (error) => this.#lost(socket, error.message))
    socket.on('close', () => this.#lost(socket, this.#farewell || 'the worker closed the connection'))
    this.#timer(limits.dialMs, () => {
      if (!this.#up) this.#lost(socket, `no HELLO within ${limits.dialMs} ms`)
    })
    this.#unanswered = 0
  }

  #hello(socket: Socket): void {
    if (socket !== this.#socket) return
    const { gateway, token } = this.#owner
    const hello = { protocol: LINK_PROTOCOL, id: gateway, role: 'gateway' as const }
    this.#add(LinkKind.HELLO, 0, packLinkControl(token === undefined ? hello : { ...hello, token }))
  }

  #receive(socket: Socket, reader: RecordReader, chunk: Buffer): void {
    if (socket !== this.#socket) return
    this.#unanswered = 0
    try {
      reader.push(chunk)
    } catch (error) {
      this.#lost(socket, error instanceof Error ? error.message : String(error))
    }
  }

  #record(kind: number, number: number, bytes: Uint8Array, start: number, end: number): void {
    if (kind === LinkKind.FRAME) {
      this.#bindings.get(number)?.downlink(this, bytes, start, end)
      return
    }
    if (kind === LinkKind.ACK) {
      this.#bindings.get(number)?.workerAcked(this, readAck(bytes, start, end))
      return
    }
    if (kind === LinkKind.CLOSE && number === 0) {
      const { code, message = '' } = readClose(bytes, start, end)
      this.#farewell = `${code}: ${message}`
      return
    }
    if (!this.#up && kind !== LinkKind.HELLO) throw new SluiceError('bad_request', 'the worker did not say HELLO first')
    if (kind === LinkKind.CLOSE) this.#bindings.release(number)
    this.#control(kind, this.#bindings.get(number), bytes, start, end)
  }

  #control(kind: number, binding: BindingEvents | undefined, bytes: Uint8Array, start: number, end: number): void {
    switch (kind) {
      case LinkKind.HELLO:
        this.#greeted(bytes, start, end)
        break
      case LinkKind.ATTACHED:
        this.#attached(binding, readAttached(bytes, start, end))
        break
      case LinkKind.REFUSED:
        binding?.refused(this, readRefused(bytes, start, end))
        break
      case LinkKind.DETACHED:
        binding?.detached(this, readDetached(bytes, start, end))
        break
      case LinkKind.CLOSE:
        binding?.closedByWorker(this, readClose(bytes, start, end))
        break
      case LinkKind.PUBLISH:
        this.#owner.workerPublish(this, bytes, start, end)
        break
      case LinkKind.PING:
        this.#add(LinkKind.PONG, 0, bytes.slice(start, end))
        break
      case LinkKind.PONG:
        this.#ponged()
        break
      case LinkKind.LOAD:
        this.#loaded(readLoad(bytes, start, end).sessions)
    }
  }

  #attached(binding: BindingEvents | undefined, { epoch, resumed = false }: Attached): void {
    binding?.attached(this, epoch, resumed)
  }

  #greeted(bytes: Uint8Array, start: number, end: number): void {
    const hello = readHello(bytes, start, end)
    if (hello.protocol !== LINK_PROTOCOL)
      throw new SluiceError(
        'protocol_mismatch',
        `worker ${this.worker} speaks link protocol ${hello.protocol}, not ${LINK_PROTOCOL}`,
      )
    if (hello.id !== this.worker)
      throw new SluiceError('conflict', `${this.address} is worker ${hello.id}, not ${this.worker}`)
    this.#up = true
    this.#backoff = this.#owner.limits.backoffMinMs
    this.#keepAlive()
    this.#owner.linkUp(this)
    this.#loaded(hello.sessions ?? 0)
  }

  #ponged(): void {
    if (this.#pingedAt === 0) return
    this.#owner.roundTrip(this, this.#owner.clock.now() - this.#pingedAt)
    this.#pingedAt = 0
  }

  #loaded(sessions: number): void {
    this.sessions = sessions
    this.#owner.load(this, sessions)
  }

  /** A hung worker is told from a slow one by PING: the worker's SDK answers between two handler calls. */
  #keepAlive(): void {
    const { limits } = this.#owner
    this.#timer(limits.pingMs, () => {
      const socket = this.#socket
      if (!this.#up || socket === undefined) return
      if (this.#unanswered >= limits.unanswered) {
        const ms = limits.pingMs * limits.unanswered
        this.#lost(socket, `${limits.unanswered} pings in ${ms} ms went unanswered`, true)
        return
      }
      if (this.#unanswered++ === 0) this.#pingedAt = this.#owner.clock.now()
      this.#add(LinkKind.PING, 0, new Uint8Array(0))
      this.#keepAlive()
    })
  }

  #lost(socket: Socket, reason: string, hung = false): void {
    if (socket !== this.#socket) return
    socket.destroy()
    this.#drop(hung, reason)
    if (this.#closed) return
    const wait = this.#backoff
    this.#backoff = Math.min(this.#owner.limits.backoffMaxMs, wait * 2)
    this.#timer(wait, () => this.#dial())
  }

  #drop(hung: boolean, reason: string): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.#socket = undefined
    this.#out.use(undefined)
    const wasUp = this.#up
    this.#up = false
    const lost = this.#bindings.clear()
    this.sessions = 0
    if (wasUp || this.#farewell !== '') this.#owner.linkDown(this, hung, reason)
    this.#farewell = ''
    for (const binding of lost) {
      this.#owner.held(this, -1)
      binding.portLost(this, hung)
    }
    if (!wasUp && hung) this.#owner.linkDown(this, hung, reason)
  }

  #timer(ms: number, fn: () => void): void {
    this.#cancelTimer?.()
    this.#cancelTimer = this.#owner.clock.after(ms, fn)
  }
}

/** @throws SluiceError `bad_request` for an address that is none of the three forms */
function open(address: string, tls: ConnectionOptions | undefined): Socket {
  if (address.startsWith('unix:')) return connect({ path: address.slice(5) })
  const { protocol, hostname, port } = new URL(address)
  const host = hostname.replace(/^\[|\]$/g, '')
  if (protocol === 'tls:') return connectTls({ ...tls, host, port: Number(port) })
  if (protocol === 'tcp:') return connect({ host, port: Number(port) })
  throw new SluiceError('bad_request', `link address ${address} is not tcp://, tls:// or unix:`)
}
