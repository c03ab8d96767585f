/** MQTT sessions between gateways, over the questions that {@link FleetBus} carries: in pieces, since a bus bounds its messages. */

import { packControl, unpackControl } from '../proto/control.js'
import { SluiceError } from '../proto/errors.js'
import { readHead, type SessionTravel } from './edge/mqtt/session-travel.js'
import type { FleetBus } from './fleet-bus.js'
import type { Clock } from './ports.js'

/** What the new gateway asks the former one. */
interface TransferQuestion {
  readonly t: 'mqtt'
  readonly device: string
  /** The gateway that gives. */
  readonly from: string
  readonly want: 'head' | 'queue' | 'done'
  readonly offset: number
}

/** A piece of what a gateway gives. */
export interface Piece {
  readonly from: string
  /** Bytes in all. */
  readonly total: number
  readonly bytes: Uint8Array
}

/** Bytes of one answer: a quarter of what nats-server takes by default. */
const PIECE = 256 * 1024
const ANSWER_MS = 400
const TRIES = 3
/** What is being given is remembered for this long, milliseconds: the next piece is of the same whole. */
const GIVING_MS = 10_000
const NOTHING = new Uint8Array(0)

export class SessionTransfer {
  readonly #gateway: string
  readonly #bus: Pick<FleetBus, 'ask'>
  readonly #travel: () => SessionTravel
  readonly #clock: Clock
  readonly #giving = new Map<string, Uint8Array>()
  readonly #taking = new Map<string, Promise<void>>()

  /** @param travel the edge's, asked for when it is needed: it is made after the bus */
  constructor(gateway: string, bus: Pick<FleetBus, 'ask'>, travel: () => SessionTravel, clock: Clock) {
    this.#gateway = gateway
    this.#bus = bus
    this.#travel = travel
    this.#clock = clock
  }

  /** The first piece of a session that its client wants at another gateway; undefined when there is none here. */
  offer(device: string): Piece | undefined {
    const head = this.#travel().head(device)
    return head === undefined ? undefined : this.#piece(`head ${device}`, head, 0)
  }

  /** The client begins anew elsewhere. */
  end(device: string): void {
    this.#travel().end(device)
  }

  /** Answers for {@link take}; undefined when the question is not about a transfer from here. */
  answer(question: unknown): Uint8Array | undefined {
    const { t, from, device, want, offset } = question as TransferQuestion
    if (t !== 'mqtt') return undefined
    if (from !== this.#gateway) return NOTHING
    if (want === 'done') {
      this.#giving.delete(`head ${device}`)
      this.#giving.delete(`queue ${device}`)
      this.#travel().forget(device)
      return packControl({ done: true })
    }
    const key = `${want} ${device}`
    const whole = offset > 0 || want === 'head' ? this.#giving.get(key) : this.#travel().queue(device)
    return whole === undefined ? NOTHING : packControl(this.#piece(key, whole, offset))
  }

  /**
   * Takes the session up from who offered it. When several did, the latest has the queue, and the others forget theirs.
   * @throws SluiceError `unavailable` when the former gateway stops answering: it still has everything
   */
  async take(device: string, offers: readonly Piece[]): Promise<void> {
    const running = this.#taking.get(device)
    if (running !== undefined) return running
    const taking = this.#takeAll(device, offers).finally(() => this.#taking.delete(device))
    this.#taking.set(device, taking)
    return taking
  }

  async #takeAll(device: string, offers: readonly Piece[]): Promise<void> {
    const heads = await Promise.all(
      offers.map(async (offer) => ({
        from: offer.from,
        head: readHead(await this.#whole(device, offer.from, 'head', offer)),
      })),
    )
    const [latest] = heads.sort((a, b) => b.head.seenAt - a.head.seenAt)
    if (latest === undefined) return
    const settled = this.#travel().takeHead(device, latest.head)
    if (settled !== undefined) await this.#takeQueue(device, latest.from, settled)
    // Who does not hear it keeps a copy, which loses to this one by its age.
    for (const { from } of heads) this.#ask({ t: 'mqtt', device, from, want: 'done', offset: 0 }).catch(() => {})
  }

  async #takeQueue(device: string, from: string, settled: Promise<void>): Promise<void> {
    try {
      await settled
      this.#travel().takeQueue(device, await this.#whole(device, from, 'queue', undefined))
    } catch (error) {
      this.#travel().abandon(device)
      throw error
    }
  }

  async #whole(device: string, from: string, want: 'head' | 'queue', first: Piece | undefined): Promise<Uint8Array> {
    const pieces: Uint8Array[] = []
    let length = 0
    for (let piece = first; ; piece = undefined) {
      piece ??= (await this.#ask({ t: 'mqtt', device, from, want, offset: length })) as Piece
      pieces.push(piece.bytes)
      length += piece.bytes.length
      if (length >= piece.total) break
      if (piece.bytes.length === 0) throw lost(from)
    }
    return pieces.length === 1 ? (pieces[0] as Uint8Array) : Buffer.concat(pieces)
  }

  async #ask(question: TransferQuestion): Promise<unknown> {
    for (let tries = 0; tries < TRIES; tries++) {
      const [answer] = (await this.#bus.ask(packControl(question), ANSWER_MS)) ?? []
      if (answer !== undefined) return unpackControl(answer)
    }
    throw lost(question.from)
  }

  #piece(key: string, whole: Uint8Array, offset: number): Piece {
    const bytes = whole.subarray(offset, offset + PIECE)
    if (offset + bytes.length >= whole.length) this.#giving.delete(key)
    else if (!this.#giving.has(key)) this.#clock.after(GIVING_MS, () => this.#giving.delete(key))
    if (offset + bytes.length < whole.length) this.#giving.set(key, whole)
    return { from: this.#gateway, total: whole.length, bytes }
  }
}

function lost(from: string): SluiceError {
  return new SluiceError('unavailable', `gateway ${from} stopped answering while it gave a session`, {
    retryAfterMs: 1000,
  })
}
