/**
 * The receiver's half of QoS 2 (MQTT 5.0 section 4.3.3, method A): a message is held from its PUBLISH to its PUBREL, and
 * only then given to the fan-out.
 *
 *     PUBLISH  the worker gets it at once, we hold it; the same one again is answered again and no more [MQTT-4.3.3-10]
 *     PUBREC   when the worker has processed it and the journal has it: from now on it is ours [MQTT-4.3.3-8]
 *     PUBREL   it goes to the fan-out
 *     PUBCOMP  when the fan-out has all of it [MQTT-4.3.3-11]; the identifier is free [MQTT-4.3.3-12]
 *
 * Another message under the same identifier before PUBREL takes the place of the held one, which nobody gets. A message
 * that a worker refuses is dropped, and the identifier is free [MQTT-4.3.3-9]. What is held when the connection ends goes
 * to the fan-out there and then: a session keeps the hash only, so that a repetition is known, here or at another gateway.
 * But what still waits for its worker is the client's, which repeats it: a session that lasts keeps it, another one forgets it.
 *
 * Before MQTT 5 no client is told of a receive maximum. Beyond it a message is taken, but its PUBREC is withheld until an
 * earlier one is complete; see {@link ExactlyOnce.silent}.
 */

import { PacketType, protocolError } from '../../../proto/mqtt/packet.js'
import type { Message } from '../../ports.js'
import type { LastingSession, SessionShared } from './journal.js'
import type { Outlet } from './outlet.js'
import { Received } from './received.js'

/** The session, as its {@link ExactlyOnce} sees it. */
export interface ReceivingSession extends LastingSession {
  readonly lasting: boolean
  readonly outlet: Outlet | undefined
  deferOwn(message: Message | undefined, packetId: number): void
  releaseOwn(packetId: number): void
}

/** Seconds that a client may release nothing while PUBRECs are withheld from it. */
const PATIENCE = 5

/** QoS 2 messages from the client of one session. Made with the first one. */
export class ExactlyOnce {
  /** By packet identifier, oldest first. */
  readonly entries = new Map<number, Received>()
  /** Messages of this connection whose PUBCOMP did not leave. */
  open = 0
  readonly #session: ReceivingSession
  readonly #shared: SessionShared
  #held = 0
  #heldBytes = 0
  /** Those whose PUBREC waits for an earlier one to be complete, in order. */
  readonly #withheld = new Set<Received>()
  /** Tick when the client last got a PUBREC or sent a PUBREL. */
  #progress = 0
  /** The last seq of an earlier connection that a worker has not processed; 0 for none. */
  #earlier = 0

  constructor(session: ReceivingSession, shared: SessionShared) {
    this.#session = session
    this.#shared = shared
  }

  /** Puts back what is kept of a message that was given to the fan-out. */
  restore(packetId: number, hash: number): void {
    this.entries.set(packetId, new Received(packetId, hash, 0))
  }

  /** The same PUBLISH again. Once more is a lost PUBREC; a client that goes on like that is broken. @throws MqttError */
  repeated(entry: Received): void {
    if (++entry.repeats > 1) throw protocolError('a QoS 2 message was repeated without end')
    if (!entry.open) this.open++
    entry.open = true
    entry.due = true
    this.#ready(entry)
  }

  /**
   * A new message, or another one under the identifier of one that is not complete.
   * @param message undefined: it is answered as if it were taken, and nobody gets it
   * @param seq what its PUBREC waits for; 0 and below: nothing
   * @param limit messages that may be open before PUBRECs are withheld; undefined where the client keeps to one itself
   */
  take(packetId: number, hash: number, message: Message | undefined, seq: number, limit: number | undefined): void {
    this.drop(packetId)
    const entry = new Received(packetId, hash, Math.max(seq, 0))
    this.entries.set(packetId, entry)
    entry.due = true
    entry.open = true
    this.open++
    if (limit !== undefined && this.open - this.#withheld.size > limit) this.#withhold(entry)
    if (message !== undefined) this.#hold(entry, message)
    this.#ready(entry)
  }

  #withhold(entry: Received): void {
    if (this.#withheld.size === 0) this.#progress = this.#shared.tick
    this.#withheld.add(entry)
  }

  /** Bounded as the session's queue is: what is beyond goes to the fan-out at once, as method B has it. */
  #hold(entry: Received, message: Message): void {
    const { maxQueued, maxQueuedBytes } = this.#shared.options
    if (this.#held >= maxQueued || this.#heldBytes >= maxQueuedBytes) {
      this.#give(entry, message, true)
      return
    }
    entry.held = message
    this.#held++
    this.#heldBytes += message.payload.length
  }

  #unhold(entry: Received): Message | undefined {
    const { held } = entry
    if (held === undefined) return undefined
    entry.held = undefined
    this.#held--
    this.#heldBytes -= held.payload.length
    return held
  }

  /** PUBREL. An unknown identifier may be one from before a reconnect. */
  release(packetId: number): void {
    const entry = this.entries.get(packetId)
    if (entry === undefined) {
      this.#session.outlet?.acknowledge(PacketType.PUBCOMP, packetId)
      this.#session.releaseOwn(packetId)
      return
    }
    this.#progress = this.#shared.tick
    entry.released = true
    entry.due = true
    const held = this.#unhold(entry)
    if (held !== undefined) this.#give(entry, held, true)
    if (!entry.handing) this.#complete(entry)
  }

  /** @param connected the client gets its own message when its exchange is complete */
  #give(entry: Received, message: Message, connected: boolean): void {
    const session = this.#session
    let during = true
    entry.handing = true
    if (connected) session.deferOwn(message, entry.packetId)
    this.#shared.fanout.publish(message, () => {
      entry.handing = false
      this.#unkeep(entry)
      if (!during) this.#given(entry)
    })
    if (connected) session.deferOwn(undefined, 0)
    during = false
  }

  /** The fan-out is through with a message that was too much for one turn. */
  #given(entry: Received): void {
    if (this.entries.get(entry.packetId) !== entry) return
    if (entry.released) {
      this.#complete(entry)
      return
    }
    this.#note()
    this.#ready(entry)
  }

  #complete(entry: Received): void {
    const { packetId, due } = entry
    this.entries.delete(packetId)
    this.#note()
    if (due) this.#session.outlet?.acknowledge(PacketType.PUBCOMP, packetId)
    this.#close(entry)
    this.#session.releaseOwn(packetId)
  }

  /** PUBREC, when nothing stands against it. */
  #ready(entry: Received): void {
    if (!entry.due || entry.released || entry.seq > 0 || entry.handing || this.#withheld.has(entry)) return
    const { outlet, device } = this.#session
    entry.due = false
    entry.acked = true
    this.#progress = this.#shared.tick
    outlet?.acknowledge(PacketType.PUBREC, entry.packetId)
    if (entry.held !== undefined && entry.stored === 0)
      entry.stored = this.#shared.journal?.held(device, entry.held) ?? 0
    this.#note()
  }

  /** A worker processed everything up to `seq`, and this message is among it. */
  processed(packetId: number, seq: number): void {
    const entry = this.entries.get(packetId)
    if (entry !== undefined && entry.seq > 0 && entry.seq <= seq) this.#processed(entry)
  }

  #processed(entry: Received): void {
    entry.seq = 0
    this.#note()
    this.#ready(entry)
  }

  /** The same for messages of earlier connections. */
  processedEarlier(seq: number): void {
    if (this.#earlier === 0) return
    for (const entry of this.entries.values()) if (entry.seq > 0 && entry.seq <= seq) this.#processed(entry)
    if (seq >= this.#earlier) this.#earlier = 0
  }

  /** No worker gets this message: it is as if it had never come. */
  refused(packetId: number, seq: number): void {
    if (this.entries.get(packetId)?.seq === seq) this.drop(packetId)
  }

  /** The identifier stands for nothing any more. */
  drop(packetId: number): void {
    const entry = this.entries.get(packetId)
    if (entry === undefined) return
    this.entries.delete(packetId)
    this.#unhold(entry)
    if (!entry.handing) this.#unkeep(entry)
    this.#note()
    this.#close(entry)
  }

  #close(entry: Received): void {
    this.#withheld.delete(entry)
    if (entry.open) this.open--
    entry.open = false
    for (const next of this.#withheld) {
      if (this.open - this.#withheld.size >= this.#shared.options.receiveMaximum) return
      this.#withheld.delete(next)
      this.#ready(next)
    }
  }

  /**
   * True when PUBRECs are withheld from a client that has some to answer, and for five seconds has answered none: it takes
   * the window for larger than it is, and waits as we do. Asked every tick.
   * @param cut we do not read what it sends, or it does not have yet what we sent
   */
  silent(cut: boolean): boolean {
    if (this.#withheld.size === 0) return false
    const { tick, ticksPerSecond } = this.#shared
    if (cut) this.#progress = tick
    if (tick - this.#progress <= PATIENCE * ticksPerSecond) return false
    for (const { open, acked, released } of this.entries.values()) if (open && acked && !released) return true
    return false
  }

  /** The connection is gone: nothing waits for PUBREL any more. */
  detach(): void {
    this.#withheld.clear()
    this.open = 0
    for (const entry of this.entries.values()) {
      entry.open = false
      entry.due = false
      entry.repeats = 0
      if (entry.seq > this.#earlier) this.#earlier = entry.seq
      // What no worker has processed is the client's until PUBREC: it repeats it, here or at another gateway.
      if (entry.seq > 0 && this.#session.lasting) continue
      const held = this.#unhold(entry)
      if (held !== undefined && entry.seq === 0) this.#give(entry, held, false)
    }
  }

  /** @param same false: the worker's session is another one, and whoever repeats what none processed begins anew */
  useUpstream(same: boolean, processed: number): void {
    if (!same) this.#earlier = 0
    for (const entry of this.entries.values()) {
      if (entry.seq === 0) continue
      if (!same) this.drop(entry.packetId)
      else if (entry.seq <= processed) entry.seq = 0
    }
  }

  #unkeep(entry: Received): void {
    if (entry.stored === 0) return
    this.#shared.journal?.released(this.#session.device, entry.stored)
    entry.stored = 0
  }

  #note(): void {
    if (this.#session.lasting) this.#shared.journal?.received(this.#session)
  }
}
