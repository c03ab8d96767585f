/**
 * A model fleet for the session core: time, links and workers are arrays, every step is chosen by a seeded generator,
 * so that any interleaving can be forced and replayed. Used by the handoff simulation.
 */

import { Counters } from '../../../gateway/counters.js'
import type { DevicePort, DeviceSession } from '../../../gateway/ports.js'
import type { Binding } from '../../../gateway/session/binding.js'
import type { SessionRoutes } from '../../../gateway/session/routes.js'
import { SessionTable } from '../../../gateway/session/session-table.js'
import type { BindingEvents, WorkerPort } from '../../../gateway/worker-port.js'
import { encodeFrame, FrameView } from '../../../proto/frame.js'
import type { Attach, CloseBinding } from '../../../proto/link.js'
import { EMPTY_TABLE } from '../../../proto/table.js'
import { ManualClock } from '../../manual-clock.js'

/** One processed frame, as the worker's handler saw it. */
export interface Processed {
  worker: string
  seq: number
  marked: boolean
}

interface Owned {
  session: string
  epoch: number
  acked: number
  queue: { seq: number; marked: boolean }[]
  detaching: boolean
  state: number
  sent: number
}

type ToWorker =
  | { kind: 'attach'; number: number; attach: Attach }
  | { kind: 'detach'; number: number; epoch: number }
  | { kind: 'close'; number: number }
  | { kind: 'frame'; number: number; seq: number; marked: boolean }

/** A worker that obeys the link protocol, one message at a time; it can hang, die and come back. */
export class ModelWorker {
  readonly id: string
  readonly #fleet: Fleet
  readonly inbox: ToWorker[] = []
  readonly owned = new Map<number, Owned>()
  /** What waits to reach the gateway. */
  readonly outbox: (() => void)[] = []
  port: ModelPort | undefined
  hung = false
  /** Highest epoch by session: what fences old owners. Outlives a link, not the process. */
  readonly epochs = new Map<string, number>()
  /** Last processed seq by session, kept while the process lives: what drops frames it has seen. */
  readonly seen = new Map<string, number>()

  constructor(fleet: Fleet, id: string) {
    this.id = id
    this.#fleet = fleet
  }

  get idle(): boolean {
    return this.hung || (this.inbox.length === 0 && [...this.owned.values()].every(({ queue }) => queue.length === 0))
  }

  /** Reads one message, or processes one queued frame. */
  step(random: () => number): void {
    if (this.hung) return
    const busy = [...this.owned.entries()].filter(([, { queue }]) => queue.length > 0)
    if (busy.length > 0 && (this.inbox.length === 0 || random() < 0.5)) {
      const [number, owned] = busy[Math.floor(random() * busy.length)] as [number, Owned]
      this.#process(number, owned)
      return
    }
    const message = this.inbox.shift()
    if (message !== undefined) this.#read(message)
  }

  #read(message: ToWorker): void {
    if (message.kind === 'attach') this.#attach(message.number, message.attach)
    else this.#readOwned(message)
  }

  #readOwned(message: Exclude<ToWorker, { kind: 'attach' }>): void {
    const owned = this.owned.get(message.number)
    if (owned === undefined) return
    if (message.kind === 'close') this.owned.delete(message.number)
    else if (message.kind === 'frame') owned.queue.push(message)
    else {
      owned.detaching = true
      this.#maybeLetGo(message.number, owned)
    }
  }

  #attach(number: number, attach: Attach): void {
    const known = this.epochs.get(attach.session) ?? 0
    if (attach.epoch <= known) {
      this.#say(number, (events, port) =>
        events.refused(port, { epoch: known, code: 'stale_epoch', message: 'an older epoch' }),
      )
      return
    }
    this.epochs.set(attach.session, attach.epoch)
    this.#fleet.claim(attach.session, attach.epoch, this.id)
    const state = attach.state?.[0] ?? 0
    // State counts the handoffs that carried it: a clean one must never lose it.
    const acked = Math.max(attach.acked, this.seen.get(attach.session) ?? 0)
    this.owned.set(number, {
      session: attach.session,
      epoch: attach.epoch,
      acked,
      queue: [],
      detaching: false,
      state: state + 1,
      sent: attach.sent ?? 0,
    })
    this.#say(number, (events, port) => events.attached(port, attach.epoch, false))
  }

  #process(number: number, owned: Owned): void {
    const { seq, marked } = owned.queue.shift() as { seq: number; marked: boolean }
    if (seq > owned.acked) {
      owned.acked = seq
      this.seen.set(owned.session, seq)
      this.#fleet.processed(owned.session, { worker: this.id, seq, marked })
      const answer = encodeFrame({ seq: ++owned.sent, topic: String(seq) })
      this.#say(number, (events, port) => events.downlink(port, answer, 0, answer.length))
    }
    const acked = owned.acked
    this.#say(number, (events, port) => events.workerAcked(port, acked))
    this.#maybeLetGo(number, owned)
  }

  #maybeLetGo(number: number, owned: Owned): void {
    if (!owned.detaching || owned.queue.length > 0) return
    this.owned.delete(number)
    const { epoch, acked, sent } = owned
    const state = Uint8Array.of(owned.state % 256)
    this.#say(number, (events, port) => events.detached(port, { epoch, acked, sent, state }))
  }

  #say(number: number, tell: (events: BindingEvents, port: WorkerPort) => void): void {
    const port = this.port
    this.outbox.push(() => {
      const events = port?.numbers.get(number)
      if (port?.up && events !== undefined) tell(events, port)
    })
  }
}

/** The gateway's end of a link whose wire is the worker's inbox and outbox. */
export class ModelPort implements WorkerPort {
  readonly worker: string
  readonly #peer: ModelWorker
  readonly numbers = new Map<number, BindingEvents>()
  up = true
  readonly full = false
  #next = 1
  readonly #view = new FrameView()

  constructor(peer: ModelWorker) {
    this.worker = peer.id
    this.#peer = peer
  }

  attach(events: BindingEvents, attach: Attach): number {
    const number = this.#next++
    this.numbers.set(number, events)
    this.#send({ kind: 'attach', number, attach: { ...attach } })
    return number
  }

  detach(number: number, epoch: number): void {
    this.#send({ kind: 'detach', number, epoch })
  }

  close(number: number, _close: CloseBinding): void {
    this.numbers.delete(number)
    this.#send({ kind: 'close', number })
  }

  forget(number: number): void {
    this.numbers.delete(number)
  }

  retire(number: number): void {
    this.forget(number)
  }

  frame(number: number, bytes: Uint8Array, start: number, end: number): void {
    this.#view.read(bytes, start, end)
    this.#send({ kind: 'frame', number, seq: this.#view.seq, marked: false })
  }

  frameAgain(number: number, bytes: Uint8Array): void {
    this.#view.read(bytes)
    this.#send({ kind: 'frame', number, seq: this.#view.seq, marked: true })
  }

  frameParts(): void {}

  ack(): void {}

  /** The connection breaks: what is on the wire towards the gateway is lost with it. */
  break(hung = false): void {
    this.up = false
    this.#peer.outbox.length = 0
    const lost = [...this.numbers.values()]
    this.numbers.clear()
    for (const events of lost) events.portLost(this, hung)
  }

  #send(message: ToWorker): void {
    if (this.up) this.#peer.inbox.push(message)
  }
}

/** One device: sends 1, 2, 3 ..., keeps what is not acknowledged, resumes. */
export class ModelDevice implements DevicePort {
  readonly id: string
  readonly #fleet: Fleet
  session: DeviceSession | undefined
  sent = 0
  acked = 0
  readonly unacked: number[] = []
  /** Topics of the answers, each the seq it answers; without those seen before. */
  readonly answers: number[] = []
  received = 0
  gaps = 0
  readonly buffered = 0

  constructor(fleet: Fleet, id: string) {
    this.id = id
    this.#fleet = fleet
  }

  deliver(view: FrameView, _start: number, _end: number, seq: number): void {
    if (seq <= this.received) return
    if (seq !== this.received + 1) this.gaps++
    this.received = seq
    this.answers.push(Number(view.topic()))
    this.session?.deviceAcked(seq)
  }

  acknowledged(seq: number): void {
    this.acked = Math.max(this.acked, seq)
    while (this.unacked.length > 0 && (this.unacked[0] as number) <= seq) this.unacked.shift()
    this.#fleet.acknowledged(this, seq)
  }

  failed(): void {}

  end(): void {
    this.session = undefined
  }

  connect(): void {
    const resume = this.session === undefined ? this.#fleet.sessionIds.get(this.id) : undefined
    const request = { device: this.id, protocol: 'websocket' as const, attributes: {} }
    const session = this.#fleet.table.open(
      resume === undefined ? request : { ...request, resume: { session: resume, ack: this.received } },
      this,
    )
    this.session = session
    this.#fleet.sessionIds.set(this.id, session.id)
    this.#fleet.table.find(this.id)?.replay(this.received)
    for (const seq of [...this.unacked]) this.#relay(seq)
  }

  disconnect(): void {
    const { session } = this
    this.session = undefined
    session?.detach(this, false, 'closed')
  }

  send(): void {
    if (this.session === undefined) return
    this.sent++
    this.unacked.push(this.sent)
    this.#relay(this.sent)
  }

  #relay(seq: number): void {
    const bytes = encodeFrame({ seq, topic: 't' })
    const view = new FrameView()
    view.read(bytes)
    this.session?.relayFrame(view, 0, bytes.length)
  }
}

const POOL: SessionRoutes = { dataPool: 'pool', constant: true, pool: () => 'pool', reaches: () => true }

/** The gateway's session core with model workers and devices around it, and a record of what happened. */
export class Fleet {
  readonly clock = new ManualClock()
  readonly workers = new Map<string, ModelWorker>()
  readonly devices: ModelDevice[] = []
  readonly sessionIds = new Map<string, string>()
  readonly log = new Map<string, Processed[]>()
  readonly owners = new Map<string, string>()
  readonly broken: string[] = []
  /** Slot owner per device; the model's routing table. */
  readonly owner = new Map<string, string>()
  readonly table: SessionTable
  #version = 1
  #ids = 0

  constructor() {
    this.table = new SessionTable({
      gateway: 'g1',
      region: 'test',
      clock: this.clock,
      counters: new Counters(),
      newId: () => `s${++this.#ids}`,
      suspect: () => {},
      mover: { perSecond: 1e6, inFlight: 1e6 },
      chooser: {
        choose: (binding, avoid, anyone) => this.#choose(binding, avoid, anyone),
        misplaced: (binding) => binding.state === 'bound' && binding.worker !== this.#ownerOf(binding),
        slotFor: () => 0,
        keyedByTopic: () => false,
        accepted: () => {},
        portOf: (worker) => this.workers.get(worker)?.port,
      },
    })
  }

  addWorker(id: string): ModelWorker {
    const worker = new ModelWorker(this, id)
    worker.port = new ModelPort(worker)
    this.workers.set(id, worker)
    return worker
  }

  addDevice(id: string): ModelDevice {
    const device = new ModelDevice(this, id)
    this.devices.push(device)
    return device
  }

  /** Publishes a new table. */
  publish(): void {
    this.table.useTable({ ...EMPTY_TABLE, version: ++this.#version }, { byHeaders: false, forSession: () => POOL })
  }

  claim(session: string, epoch: number, worker: string): void {
    const key = `${session}@${epoch}`
    const other = this.owners.get(key)
    if (other !== undefined && other !== worker) this.broken.push(`${key} is owned by ${other} and ${worker}`)
    this.owners.set(key, worker)
  }

  processed(session: string, entry: Processed): void {
    const log = this.log.get(session) ?? []
    this.log.set(session, log)
    const before = log.filter(({ seq }) => seq === entry.seq)
    if (before.length > 0 && !entry.marked && before.some(({ marked }) => !marked))
      this.broken.push(`${session}: ${entry.seq} was processed twice without a mark`)
    const highest = log.reduce((max, { seq }) => Math.max(max, seq), 0)
    if (entry.seq > highest + 1) this.broken.push(`${session}: ${entry.seq} was processed before ${highest + 1}`)
    log.push(entry)
  }

  acknowledged(device: ModelDevice, seq: number): void {
    const log = this.log.get(this.sessionIds.get(device.id) ?? '') ?? []
    if (seq > 0 && !log.some((entry) => entry.seq === seq))
      this.broken.push(`${device.id}: ${seq} was acknowledged and not processed`)
  }

  #ownerOf(binding: Binding): string {
    return this.owner.get((binding.session as unknown as { device: string }).device) ?? ''
  }

  #choose(binding: Binding, avoid: string | undefined, anyone: boolean): WorkerPort | undefined {
    const wanted = this.workers.get(this.#ownerOf(binding))?.port
    if (wanted?.up && wanted.worker !== avoid) return wanted
    if (!anyone) return undefined
    for (const { port } of this.workers.values()) if (port?.up && port.worker !== avoid) return port
    return wanted?.up ? wanted : undefined
  }
}
