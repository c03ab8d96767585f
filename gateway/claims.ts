/**
 * One device, one session, wherever it connects: before a gateway opens a session it asks the others to let go of the
 * device, and takes up what they had. Where the former gateway is dead, the session's worker knows where it was.
 *
 *     device ─► G2: connect (resume S) ─ask─► G1: hands S over, its connection ends with taken_over
 *                                   ◄answer─
 *               G2: adopts S, attaches its workers with higher epochs, then greets the device
 */

import { packControl, unpackControl } from '../proto/control.js'
import type { FleetBus } from './fleet-bus.js'
import type { Clock, OpenSession, Protocol } from './ports.js'
import type { Binding } from './session/binding.js'
import { type ExportedSession, UNKNOWN } from './session/exported-session.js'
import type { SessionTable } from './session/session-table.js'
import type { Piece, SessionTransfer } from './session-transfer.js'

/** What a gateway asks the others. */
interface Claim {
  readonly device: string
  readonly gateway: string
  /** Session to be continued; absent: whatever there is ends. */
  readonly session?: string
  /** What becomes of the device's MQTT session. */
  readonly mqtt?: 'take' | 'end'
}

/** What it is told: what there is, or that it is in the middle of something. No answer: there is nothing. */
interface ClaimAnswer {
  readonly busy?: true
  readonly session?: ExportedSession
  /** The first piece of the device's MQTT session. */
  readonly mqtt?: Piece
}

/** Milliseconds. A gateway that does not answer in time is taken for dead. */
const ANSWER_MS = 400
/**
 * Claims that begin in one turn of so many milliseconds. When a gateway dies, thousands of devices come at once; what they
 * cost is spread so that the devices which are here go on between them.
 */
const BEGUN_MOST = 32
const TURN_MS = 2
const BUSY_MS = 20
const BUSY_TRIES = 50
/**
 * How long a worker may take to say that it knows a session whose gateway died: long enough for a storm of them, and
 * shorter than devices wait for their WELCOME (5 s).
 */
const WORKER_MS = 3500
const NOTHING = new Uint8Array(0)
/** Session ids come from devices here, and travel on: what {@link GatewayOptions.newId} makes, and nothing else. */
const SESSION_ID = /^[A-Za-z0-9_-]{8,64}$/

/** How a device comes to a gateway. */
export interface Arrival {
  readonly device: string
  readonly protocol: Protocol
  readonly attributes: Readonly<Record<string, string>>
  readonly resume: OpenSession['resume']
  /** An MQTT client goes on with what the former gateway keeps of it, or ends that; absent for others. */
  readonly mqtt?: 'take' | 'end'
}

export class Claims {
  readonly #gateway: string
  readonly #bus: Pick<FleetBus, 'ask' | 'alone'>
  readonly #sessions: SessionTable
  readonly #clock: Clock
  readonly #transfer: SessionTransfer
  /** Devices that are being claimed here: of two gateways that claim one at once, the lower id goes first. */
  readonly #pending = new Map<string, number>()
  /** Claims of this turn, and those that wait for a later one. */
  #begun = 0
  readonly #queue: (() => void)[] = []

  constructor(
    gateway: string,
    bus: Pick<FleetBus, 'ask' | 'alone'>,
    sessions: SessionTable,
    clock: Clock,
    transfer: SessionTransfer,
  ) {
    this.#transfer = transfer
    this.#gateway = gateway
    this.#bus = bus
    this.#sessions = sessions
    this.#clock = clock
  }

  /** To be awaited before the device's session is opened; undefined when there is nothing to wait for. */
  claim(arrival: Arrival): Promise<void> | undefined {
    if (this.#queue.length === 0 && this.#begun < BEGUN_MOST) {
      const claimed = this.#claim(arrival)
      // Where there is nobody to ask, nothing needs to be spread.
      if (claimed !== undefined) this.#begin()
      return claimed
    }
    return new Promise<void>((resolve) => this.#queue.push(resolve)).then(() => this.#claim(arrival))
  }

  /** Counts a claim, and lets the next ones of the queue go when other work has had its turn. */
  #begin(): void {
    if (this.#begun++ > 0) return
    this.#clock.after(TURN_MS, () => {
      this.#begun = 0
      for (const go of this.#queue.splice(0, BEGUN_MOST)) {
        this.#begin()
        go()
      }
    })
  }

  #claim(arrival: Arrival): Promise<void> | undefined {
    const { device, resume, mqtt } = arrival
    if (this.#sessions.find(device) !== undefined) return undefined
    // Most connects of a gateway that is by itself end here.
    if (resume === undefined && this.#bus.alone) return undefined
    const session = resume !== undefined && SESSION_ID.test(resume.session) ? resume.session : undefined
    const question: Claim = { device, gateway: this.#gateway, ...(session && { session }), ...(mqtt && { mqtt }) }
    const answers = this.#bus.ask(packControl(question), ANSWER_MS)
    if (answers === undefined && session === undefined) return undefined
    this.#pending.set(device, (this.#pending.get(device) ?? 0) + 1)
    return this.#settle(arrival, question, answers ?? Promise.resolve([])).finally(() => this.#unpend(device))
  }

  /** Answers another gateway's claim. @throws SluiceError when it cannot be read */
  answer(question: Uint8Array): Uint8Array {
    const read = unpackControl(question)
    const { device, gateway, session, mqtt } = read as Claim
    const piece = this.#transfer.answer(read)
    if (piece !== undefined) return piece
    if (this.#pending.has(device) && this.#gateway < gateway) return packControl({ busy: true })
    // First of all: an MQTT client that goes on elsewhere is taken over, not lost; its will is not due.
    if (mqtt === 'end') this.#transfer.end(device)
    const offer = mqtt === 'take' ? this.#transfer.offer(device) : undefined
    const given = this.#sessions.handOver(device, session)
    if (given === 'busy') return packControl({ busy: true })
    if (given === undefined && offer === undefined) return NOTHING
    return packControl({ ...(given && { session: given }), ...(offer && { mqtt: offer }) })
  }

  async #settle(arrival: Arrival, question: Claim, first: Promise<Uint8Array[]>): Promise<void> {
    let answers = await first
    for (let tries = 0; tries < BUSY_TRIES; tries++) {
      const read = answers.map((answer) => unpackControl(answer) as ClaimAnswer)
      for (const { session } of read) if (session !== undefined) this.#sessions.adopt(session)
      if (!read.some(({ busy }) => busy)) {
        const offers = read.flatMap(({ mqtt }) => mqtt ?? [])
        if (offers.length > 0) await this.#transfer.take(arrival.device, offers)
        break
      }
      await this.#wait(BUSY_MS)
      answers = (await this.#bus.ask(packControl(question), ANSWER_MS)) ?? []
    }
    if (question.session !== undefined && this.#sessions.find(arrival.device) === undefined)
      await this.#askWorker(arrival, question.session)
  }

  /** Nobody has the session: its gateway died, or it is over. Its worker knows which. */
  async #askWorker({ device, protocol, attributes, resume }: Arrival, id: string): Promise<void> {
    const session = this.#sessions.adopt({
      id,
      device,
      protocol,
      headers: attributes,
      since: this.#clock.wall(),
      uplinkAcked: UNKNOWN,
      confirmed: resume?.ack ?? 0,
      frames: [],
      bindings: [],
    })
    const binding = session.primary
    const resumed = binding !== undefined && (await this.#settled(binding))
    if (!resumed && !session.connected)
      session.close({ code: 'session_unknown', message: 'its worker does not know it either' })
  }

  /** True when a worker accepted the binding and held its session already; false when not, or when that takes too long. */
  #settled(binding: Binding): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(WORKER_MS, () => resolve(false))
      // Told, not asked again and again: after a gateway's death thousands wait here at once.
      binding.whenSettled((resumed) => {
        cancel()
        resolve(resumed)
      })
    })
  }

  #unpend(device: string): void {
    const left = (this.#pending.get(device) ?? 1) - 1
    if (left === 0) this.#pending.delete(device)
    else this.#pending.set(device, left)
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.after(ms, resolve)
    })
  }
}
