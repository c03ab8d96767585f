/** From a CONNECT that can be read to a session, or to a refusal (MQTT 5.0 section 3.1.4). */

import { SluiceError } from '../../../proto/errors.js'
import type { ConnectPacket } from '../../../proto/mqtt/connect.js'
import type { ReasonPacket } from '../../../proto/mqtt/decode.js'
import { encodeAuth, encodeConnack } from '../../../proto/mqtt/encode.js'
import { Reason } from '../../../proto/mqtt/packet.js'
import { NO_PROPERTIES, type Properties } from '../../../proto/mqtt/properties.js'
import type { DevicePort, DeviceSession } from '../../ports.js'
import type { Access } from './access.js'
import type { Verdict } from './authentication.js'
import { connackProperties, legacyCode, negotiate, type Terms } from './connect-terms.js'
import type { EdgeContext } from './context.js'
import { refusalReason } from './end-reasons.js'
import { Handshake } from './handshake.js'
import type { OutBatch } from './out-batch.js'
import type { MqttSession } from './session.js'

/** What an accepted connection begins with. */
export interface Entry {
  readonly terms: Terms
  readonly session: MqttSession
  readonly upstream: DeviceSession
  readonly access: Access
  readonly connack: Buffer
}

/** The connection that asks to be let in. */
export interface EntranceOwner extends DevicePort {
  readonly context: EdgeContext
  readonly batch: OutBatch
  readonly remoteAddress: string
  /** Nothing more is read until the callback was called. */
  wait<T>(answer: T | Promise<T>, then: (answer: T) => void): void
  entered(entry: Entry): void
  /** A re-authentication changed what the client may do. */
  useAccess(access: Access): void
  /** @param code in the numbers of that version */
  refuse(version: 3 | 4 | 5, code: number, message: string, properties?: Properties): void
  /** Closes, with a DISCONNECT where there is a reason. */
  leave(reason: number | undefined): void
}

type Accepted = Extract<Verdict, { accepted: true }>

/** One for a connection; kept after CONNECT only for clients that may authenticate again. */
export class Entrance {
  readonly #owner: EntranceOwner
  readonly #version: 3 | 4 | 5
  readonly #handshake: Handshake
  readonly #terms: Terms
  #entered = false

  /** @throws ConnectRefused when the terms cannot be met */
  constructor(owner: EntranceOwner, packet: ConnectPacket) {
    this.#owner = owner
    this.#version = packet.version
    this.#terms = negotiate(packet, owner.context)
    this.#handshake = new Handshake(this, packet, packet.clientId || this.#terms.device)
  }

  get context(): EdgeContext {
    return this.#owner.context
  }

  get remoteAddress(): string {
    return this.#owner.remoteAddress
  }

  get batch(): OutBatch {
    return this.#owner.batch
  }

  /** The client's authentication method. */
  get method(): string | undefined {
    return this.#handshake.method
  }

  begin(packet: ConnectPacket): void {
    try {
      this.context.admission.admit()
    } catch (error) {
      this.#unavailable(error)
      return
    }
    this.#handshake.start(packet.properties.authData)
  }

  /** AUTH of the client. @throws MqttError */
  auth(packet: ReasonPacket, active: boolean): void {
    this.#handshake.auth(packet, active)
  }

  wait<T>(answer: T | Promise<T>, then: (answer: T) => void): void {
    this.#owner.wait(answer, then)
  }

  verdict(verdict: Verdict, data: Uint8Array | undefined): void {
    if (!verdict.accepted) {
      if (this.#entered) this.#owner.leave(verdict.reason)
      else this.#refuse(verdict.reason, verdict.message)
    } else if (this.#entered) this.#renew(verdict, data)
    else this.#admit(verdict, data)
  }

  /** The end of a re-authentication. */
  #renew({ access }: Accepted, authData: Uint8Array | undefined): void {
    if (access !== undefined) this.#owner.useAccess(access)
    const authMethod = this.method as string
    this.batch.append(encodeAuth(Reason.SUCCESS, authData === undefined ? { authMethod } : { authMethod, authData }))
  }

  /** The gateway's own say: it may be full, or another gateway has the device and lets go of it first. */
  #admit(verdict: Accepted, data: Uint8Array | undefined): void {
    const { device, attributes, clean } = this.#terms
    let answer: void | Promise<void>
    try {
      answer = this.context.admit?.({ device, attributes, clean })
    } catch (error) {
      this.#unavailable(error)
      return
    }
    if (answer === undefined) {
      this.#accept(verdict, data)
      return
    }
    const settled = answer.then(
      () => undefined,
      (error: unknown) => error ?? new SluiceError('unavailable'),
    )
    this.wait(settled, (error) => (error === undefined ? this.#accept(verdict, data) : this.#unavailable(error)))
  }

  #accept(verdict: Accepted, data: Uint8Array | undefined): void {
    const { context } = this
    const { device, clean, maxPacket, attributes: said } = this.#terms
    const properties = this.#version === 5 ? connackProperties(this.#terms, context, this.method, data) : NO_PROPERTIES
    const fresh = encodeConnack(this.#version, false, Reason.SUCCESS, properties)
    // [MQTT-3.1.2-24]: a client that cannot take the answer cannot be served.
    if (fresh.length > maxPacket) {
      this.#owner.leave(undefined)
      return
    }
    context.find(device)?.outlet?.takenOver(clean)
    context.back(device)
    const attributes = verdict.attributes === undefined ? said : { ...said, ...verdict.attributes }
    let upstream: DeviceSession
    try {
      upstream = context.host.open({ device, protocol: 'mqtt', attributes, continue: !clean }, this.#owner)
    } catch (error) {
      this.#unavailable(error)
      return
    }
    // Looked up after the takeover: a session without expiry ended with its connection; what is left may be a will's.
    const found = clean ? undefined : context.find(device)
    const kept = found?.lasting === true ? found : undefined
    const session = kept ?? context.create(device)
    const connack = kept === undefined ? fresh : encodeConnack(this.#version, true, Reason.SUCCESS, properties)
    this.#entered = true
    const access = verdict.access ?? context.accessOf(device)
    this.#owner.entered({ terms: this.#terms, session, upstream, access, connack })
  }

  #unavailable(error: unknown): void {
    const known = error instanceof SluiceError ? error : new SluiceError('internal')
    const { code, message, url, retryAfterMs } = known
    if (code === 'internal') this.context.log.warn({ error: String(error) }, 'a session could not be opened')
    const properties: Properties = {}
    // Section 4.11; there is no property for a time, and people read the reason.
    if (url !== undefined) properties.serverReference = url
    if (retryAfterMs !== undefined) properties.reasonString = `${message}; come again in ${retryAfterMs} ms`
    this.#refuse(refusalReason(code), message, properties)
  }

  #refuse(reason: number, message: string, properties: Properties = NO_PROPERTIES): void {
    const version = this.#version
    const fits = encodeConnack(version, false, reason, properties).length <= this.#terms.maxPacket
    this.#owner.refuse(version, version === 5 ? reason : legacyCode(reason), message, fits ? properties : NO_PROPERTIES)
  }
}
