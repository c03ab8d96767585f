/** The gateway's end of a link, by hand: writes records, and hands out what comes back in order. */

import { connect, type Socket } from 'node:net'
import { encodeFrame, type FrameFields, FrameView } from '../../../proto/frame.js'
import { type Attach, LINK_PROTOCOL, LinkKind, RecordBatch, RecordReader } from '../../../proto/link.js'
import { type LinkControl, packLinkControl, readAck, unpackLinkControl } from '../../../proto/link-control.js'

export interface LinkRecord {
  kind: number
  binding: number
  bytes: Uint8Array
}

const NAMES = new Map<number, string>(Object.entries(LinkKind).map(([name, kind]) => [kind, name]))

/** What a record says, in a shape that tests compare. */
export function show(record: LinkRecord): unknown[] {
  const { kind, binding, bytes } = record
  const name = NAMES.get(kind) ?? kind
  if (kind === LinkKind.FRAME || kind === LinkKind.PUBLISH) {
    const view = new FrameView()
    if (!view.read(bytes)) throw new Error('the worker sent a frame that cannot be read')
    const text = new TextDecoder().decode(view.payload())
    return [name, binding, view.seq, view.topic(), text, ...(view.redelivered ? ['again'] : [])]
  }
  if (kind === LinkKind.ACK) return [name, binding, readAck(bytes)]
  if (kind === LinkKind.PONG) return [name, binding, ...bytes]
  return [name, binding, unpackLinkControl(bytes)]
}

export class GatewayEnd {
  readonly socket: Socket
  readonly records: LinkRecord[] = []
  /** Chunks that came: one for each write of the worker, on a quiet machine. */
  chunks = 0
  #wake: (() => void) | undefined
  #closed = false
  readonly #batch = new RecordBatch()

  constructor(link: string) {
    const url = link.startsWith('unix:') ? undefined : new URL(link)
    this.socket = url === undefined ? connect(link.slice(5)) : connect(Number(url.port), url.hostname)
    const reader = new RecordReader((kind, binding, bytes, start, end) => {
      this.records.push({ kind, binding, bytes: bytes.slice(start, end) })
    })
    this.socket.on('data', (chunk) => {
      this.chunks++
      reader.push(chunk)
      this.#wake?.()
    })
    this.socket.on('error', () => undefined)
    this.socket.on('close', () => {
      this.#closed = true
      this.#wake?.()
    })
  }

  /** Connects and says HELLO; the worker's HELLO is taken off. */
  static async open(link: string, id = 'gw-1', token?: string): Promise<GatewayEnd> {
    const end = new GatewayEnd(link)
    end.hello(id, token)
    end.flush()
    const first = await end.next()
    if (first[0] !== 'HELLO') throw new Error(`expected HELLO, got ${JSON.stringify(first)}`)
    return end
  }

  hello(id: string, token?: string, protocol = LINK_PROTOCOL): void {
    this.control(LinkKind.HELLO, 0, { protocol, id, role: 'gateway', ...(token !== undefined && { token }) })
  }

  control(kind: number, binding: number, message: LinkControl): void {
    this.#batch.add(kind, binding, packLinkControl(message))
  }

  raw(kind: number, binding: number, body: Uint8Array): void {
    this.#batch.add(kind, binding, body)
  }

  attach(binding: number, attach: Partial<Attach> & { session: string; epoch: number }): void {
    const defaults = {
      device: `d-${attach.session}`,
      protocol: 'websocket',
      attributes: {},
      table: 1,
      acked: 0,
      redelivered: false,
    }
    this.control(LinkKind.ATTACH, binding, { ...defaults, ...attach })
  }

  frame(binding: number, fields: FrameFields & { text?: string }): void {
    const { text, ...frame } = fields
    this.#batch.add(LinkKind.FRAME, binding, encodeFrame({ payload: new TextEncoder().encode(text ?? ''), ...frame }))
  }

  detach(binding: number, epoch: number): void {
    this.control(LinkKind.DETACH, binding, { epoch })
  }

  ack(binding: number, seq: number): void {
    this.#batch.addAck(binding, seq)
  }

  /** Sends what was collected, in one write. */
  flush(): void {
    this.socket.write(this.take())
  }

  /** What was collected, as bytes. */
  take(): Buffer {
    return Buffer.from(this.#batch.take())
  }

  /** The next record that is not LOAD, or `['closed']`. */
  async next(): Promise<unknown[]> {
    for (;;) {
      const record = this.records.shift()
      if (record !== undefined && record.kind !== LinkKind.LOAD) return show(record)
      if (record !== undefined) continue
      if (this.#closed) return ['closed']
      await this.#more()
    }
  }

  /** The next `count` records. */
  async some(count: number): Promise<unknown[][]> {
    const taken: unknown[][] = []
    while (taken.length < count) taken.push(await this.next())
    return taken
  }

  /** The next LOAD's sessions. */
  async load(): Promise<number> {
    for (;;) {
      const at = this.records.findIndex(({ kind }) => kind === LinkKind.LOAD)
      if (at >= 0) return unpackLinkControl((this.records.splice(at, 1)[0] as LinkRecord).bytes).sessions as number
      await this.#more()
    }
  }

  /** Everything that came up to the end of the tick in which the worker read what was sent. */
  async settled(): Promise<unknown[][]> {
    const before: unknown[][] = []
    // Twice: the ACKs of a tick stand behind the first answer.
    for (let pings = 0; pings < 2; pings++) {
      this.raw(LinkKind.PING, 0, Uint8Array.of(7))
      this.flush()
      for (;;) {
        const record = await this.next()
        if (record[0] === 'closed') return before
        if (record[0] === 'PONG') break
        before.push(record)
      }
    }
    return before
  }

  close(): void {
    this.socket.destroy()
  }

  async #more(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
  }
}
