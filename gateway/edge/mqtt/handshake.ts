/** From CONNECT to a verdict: who the client is, by password or by an exchange of AUTH packets (MQTT 5.0 section 4.12). */

import type { ConnectPacket } from '../../../proto/mqtt/connect.js'
import type { ReasonPacket } from '../../../proto/mqtt/decode.js'
import { encodeAuth } from '../../../proto/mqtt/encode.js'
import { protocolError, Reason } from '../../../proto/mqtt/packet.js'
import type { AuthExchange, AuthStep, Credentials, Verdict } from './authentication.js'
import type { EdgeContext } from './context.js'
import type { OutBatch } from './out-batch.js'

/** The connection that a {@link Handshake} works for. */
export interface HandshakeOwner {
  readonly context: EdgeContext
  readonly batch: OutBatch
  readonly remoteAddress: string
  /** Nothing more is read until the callback was called. */
  wait<T>(answer: T | Promise<T>, then: (answer: T) => void): void
  /** @param data last authentication data, for the client's CONNACK or AUTH */
  verdict(verdict: Verdict, data: Uint8Array | undefined): void
}

const UNKNOWN_METHOD: Verdict = {
  accepted: false,
  reason: Reason.BAD_AUTHENTICATION_METHOD,
  message: 'the authentication method is not supported',
}
const UNAVAILABLE: Verdict = {
  accepted: false,
  reason: Reason.SERVER_UNAVAILABLE,
  message: 'authentication is not available now',
}

/** One for a connection that has a method; others need it only during CONNECT. */
export class Handshake {
  readonly #owner: HandshakeOwner
  /** Where somebody will ask for them. */
  readonly #credentials: Credentials | undefined
  /** The method of CONNECT: every later AUTH has to name it too [MQTT-4.12.0-5]. */
  readonly method: string | undefined
  #exchange: AuthExchange | undefined

  constructor(owner: HandshakeOwner, packet: ConnectPacket, clientId: string) {
    this.#owner = owner
    this.method = packet.properties.authMethod
    const asked = this.method !== undefined || owner.context.authenticate !== undefined
    this.#credentials = asked ? credentialsOf(packet, clientId, owner.remoteAddress) : undefined
  }

  /** True while an AUTH of the client is awaited. */
  get running(): boolean {
    return this.#exchange !== undefined
  }

  /** @param data the authentication data of CONNECT */
  start(data: Uint8Array | undefined): void {
    const { context } = this.#owner
    if (this.method !== undefined) {
      this.#begin(data)
      return
    }
    const { authenticate } = context
    if (authenticate === undefined) this.#owner.verdict({ accepted: true }, undefined)
    else
      this.#ask(
        () => authenticate(this.#credentials as Credentials),
        UNAVAILABLE,
        (verdict) => this.#owner.verdict(verdict, undefined),
      )
  }

  /** AUTH of the client: the next step, or a re-authentication when `active`. Throws MqttError. */
  auth(packet: ReasonPacket, active: boolean): void {
    const { reason, properties } = packet
    // [MQTT-4.12.0-5], [MQTT-4.12.1-1]
    if (properties.authMethod !== this.method) throw protocolError('AUTH names another method than CONNECT')
    if (reason === Reason.REAUTHENTICATE) {
      if (!active || this.running) throw protocolError('re-authentication at the wrong time')
      this.#begin(properties.authData)
    } else {
      if (!this.running) throw protocolError('AUTH without an exchange')
      this.#step(properties.authData)
    }
  }

  #begin(data: Uint8Array | undefined): void {
    const method = this.#owner.context.methods.get(this.method ?? '')
    if (method === undefined) {
      this.#owner.verdict(UNKNOWN_METHOD, undefined)
      return
    }
    this.#exchange = method.begin(this.#credentials as Credentials)
    this.#step(data)
  }

  #step(data: Uint8Array | undefined): void {
    const exchange = this.#exchange as AuthExchange
    const copy = data === undefined ? undefined : Uint8Array.from(data)
    this.#ask<AuthStep>(
      () => exchange.step(copy),
      { done: true, verdict: UNAVAILABLE },
      (step) => this.#took(step),
    )
  }

  #took(step: AuthStep): void {
    if (step.done) {
      this.#exchange = undefined
      this.#owner.verdict(step.verdict, step.data)
      return
    }
    const properties = { authMethod: this.method as string, authData: step.data }
    this.#owner.batch.append(encodeAuth(Reason.CONTINUE_AUTHENTICATION, properties))
  }

  /** Calls out; a failure of whoever is asked counts as `otherwise`, never as a yes. */
  #ask<T>(question: () => T | Promise<T>, otherwise: T, then: (answer: T) => void): void {
    const failed = (error: unknown): T => {
      this.#owner.context.log.warn({ error: String(error) }, 'authentication failed to answer')
      return otherwise
    }
    let answer: T | Promise<T>
    try {
      answer = question()
    } catch (error) {
      answer = failed(error)
    }
    this.#owner.wait(answer instanceof Promise ? answer.catch(failed) : answer, then)
  }
}

/** The address is a system call, and the password lies in what the socket brought. */
function credentialsOf({ username, password, version }: ConnectPacket, clientId: string, from: string): Credentials {
  return { clientId, username, password: password && Buffer.from(password), remoteAddress: from, version }
}
