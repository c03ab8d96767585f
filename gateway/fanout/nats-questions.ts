/**
 * Questions that a gateway asks all others (who holds this device's session?), over NATS. The question goes to the
 * subject that all gateways hear, each answer to the asking gateway's own:
 *
 *     u8      version: 1
 *     varint  number of the question
 *     text    id of the gateway that speaks
 *     ...     question or answer; an empty answer: nothing to say
 */

import type { Clock } from '../ports.js'
import { encodeLevel } from './nats-subject.js'
import { NATS_VERSION } from './nats-wire.js'
import { OctetReader, OctetWriter } from './octets.js'

/** Below the prefix: where all hear questions. */
export const ASK_SUBJECT = 'ask'

/** Below the prefix: where a gateway hears the answers to its own. */
export function answerSubject(gateway: string): string {
  return `re.${encodeLevel(gateway)}`
}

export interface QuestionsPort {
  /** Id of this gateway. */
  readonly id: string
  readonly clock: Pick<Clock, 'after'>
  /** Gateways that are there to answer; 0 while NATS is away. */
  readonly others: () => number
  readonly answer: (question: Uint8Array) => Uint8Array
  readonly publish: (subject: string, data: Uint8Array) => void
}

interface Open {
  readonly answers: Uint8Array[]
  readonly from: Set<string>
  readonly others: number
  readonly finish: () => void
}

export class NatsQuestions {
  readonly #port: QuestionsPort
  readonly #open = new Map<number, Open>()
  #asked = 0

  constructor(port: QuestionsPort) {
    this.#port = port
  }

  get alone(): boolean {
    return this.#port.others() === 0
  }

  /**
   * Resolves with what the others said, without the empty answers, when the last one spoke or `ms` are over; undefined
   * when there is nobody to ask.
   */
  ask(question: Uint8Array, ms: number): Promise<Uint8Array[]> | undefined {
    const others = this.#port.others()
    if (others === 0) return undefined
    const number = ++this.#asked
    return new Promise((resolve) => {
      const answers: Uint8Array[] = []
      const finish = () => {
        cancel()
        this.#open.delete(number)
        resolve(answers)
      }
      const cancel = this.#port.clock.after(ms, finish)
      this.#open.set(number, { answers, from: new Set(), others, finish })
      this.#port.publish(ASK_SUBJECT, this.#encode(number, question))
    })
  }

  /** @throws RangeError or TypeError when the bytes are malformed */
  heardQuestion(bytes: Uint8Array): void {
    const { number, gateway, body } = decode(bytes)
    if (gateway === this.#port.id) return
    this.#port.publish(answerSubject(gateway), this.#encode(number, this.#port.answer(body)))
  }

  /** @throws RangeError or TypeError when the bytes are malformed */
  heardAnswer(bytes: Uint8Array): void {
    const { number, gateway, body } = decode(bytes)
    const open = this.#open.get(number)
    if (open === undefined || open.from.has(gateway)) return
    open.from.add(gateway)
    if (body.length > 0) open.answers.push(body)
    if (open.from.size >= open.others) open.finish()
  }

  #encode(number: number, body: Uint8Array): Uint8Array {
    const out = new OctetWriter(body.length + 64)
    out.u8(NATS_VERSION)
    out.varint(number)
    out.text(this.#port.id)
    out.raw(body)
    return out.take()
  }
}

function decode(bytes: Uint8Array): { number: number; gateway: string; body: Uint8Array } {
  const reader = new OctetReader(bytes)
  const version = reader.u8()
  if (version !== NATS_VERSION) throw new RangeError(`version ${version}, not ${NATS_VERSION}`)
  return { number: reader.varint(), gateway: reader.text(), body: bytes.slice(reader.pos) }
}
