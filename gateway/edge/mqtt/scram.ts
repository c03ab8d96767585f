/** SCRAM-SHA-256 (RFC 5802, RFC 7677) as an MQTT 5 authentication method. No channel binding. */

import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { Reason } from '../../../proto/mqtt/packet.js'
import type { AuthExchange, AuthMethod, AuthStep, Verdict } from './authentication.js'

/** What a server keeps instead of a password (RFC 5802 section 3). */
export interface ScramKeys {
  readonly salt: Uint8Array
  /** At least 4096 (RFC 7677 section 4). */
  readonly iterations: number
  readonly storedKey: Uint8Array
  readonly serverKey: Uint8Array
}

const derive = promisify(pbkdf2)
const hmac = (key: Uint8Array, text: string): Buffer => createHmac('sha256', key).update(text).digest()
const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest()

/** The keys of a password, to be stored. The password is taken as it is: SASLprep is the caller's. */
export async function scramKeys(password: string, salt: Uint8Array, iterations: number): Promise<ScramKeys> {
  const salted = await derive(password, salt, iterations, 32, 'sha256')
  return { salt, iterations, storedKey: sha256(hmac(salted, 'Client Key')), serverKey: hmac(salted, 'Server Key') }
}

export interface ScramOptions {
  /** The keys of a user; undefined for a user that does not exist. */
  readonly keys: (username: string) => ScramKeys | undefined | Promise<ScramKeys | undefined>
  /** 18 or more unguessable bytes for each exchange. */
  readonly nonce: () => Uint8Array
  /** What a user that proved itself may do; accepted without further rules when absent. */
  readonly verdict?: (username: string, clientId: string) => Verdict
}

/** The built-in method; `options` say where the users are. */
export function createScram(options: ScramOptions): AuthMethod {
  return { name: 'SCRAM-SHA-256', begin: ({ clientId }) => new ScramExchange(options, clientId) }
}

const REFUSED: AuthStep = {
  done: true,
  verdict: { accepted: false, reason: Reason.NOT_AUTHORIZED, message: 'SCRAM-SHA-256 failed' },
}

class ScramExchange implements AuthExchange {
  readonly #options: ScramOptions
  readonly #clientId: string
  #username = ''
  #nonce = ''
  #header = ''
  #transcript = ''
  #keys: ScramKeys | undefined

  constructor(options: ScramOptions, clientId: string) {
    this.#options = options
    this.#clientId = clientId
  }

  step(data: Uint8Array | undefined): AuthStep | Promise<AuthStep> {
    if (data === undefined || data.length > 4096) return REFUSED
    const text = Buffer.from(data).toString('utf8')
    return this.#nonce === '' ? this.#first(text) : this.#final(text)
  }

  /** client-first-message: gs2-header `n,,` or `y,,`, then n=user,r=nonce. */
  async #first(text: string): Promise<AuthStep> {
    const parts = /^((?:n|y),(?:a=[^,]*)?,)(n=([^,]+),r=([\x21-\x2b\x2d-\x7e]+))$/.exec(text)
    if (parts === null) return REFUSED
    const [, header = '', bare = '', name = '', clientNonce = ''] = parts
    this.#username = name.replaceAll('=2C', ',').replaceAll('=3D', '=')
    this.#header = Buffer.from(header).toString('base64')
    this.#nonce = clientNonce + Buffer.from(this.#options.nonce()).toString('base64')
    const keys = await this.#options.keys(this.#username)
    // An unknown user is asked for a proof like any other, so that names cannot be probed.
    const { salt, iterations } = keys ?? { salt: sha256(Buffer.from(this.#username)).subarray(0, 16), iterations: 4096 }
    this.#keys = keys
    const challenge = `r=${this.#nonce},s=${Buffer.from(salt).toString('base64')},i=${iterations}`
    this.#transcript = `${bare},${challenge}`
    return { done: false, data: Buffer.from(challenge) }
  }

  /** client-final-message: c=header,r=nonce,p=proof. */
  #final(text: string): AuthStep {
    const keys = this.#keys
    const parts = /^(c=([^,]+),r=([^,]+)),p=([A-Za-z0-9+/=]+)$/.exec(text)
    if (parts === null || keys === undefined) return REFUSED
    const [, bare = '', header, nonce, proof = ''] = parts
    if (header !== this.#header || nonce !== this.#nonce) return REFUSED
    const message = `${this.#transcript},${bare}`
    const signature = hmac(keys.storedKey, message)
    const clientKey = Buffer.from(proof, 'base64')
    if (clientKey.length !== signature.length) return REFUSED
    for (let i = 0; i < clientKey.length; i++) clientKey[i] = (clientKey[i] as number) ^ (signature[i] as number)
    if (!timingSafeEqual(sha256(clientKey), keys.storedKey)) return REFUSED
    const verdict = this.#options.verdict?.(this.#username, this.#clientId) ?? { accepted: true }
    const data = Buffer.from(`v=${hmac(keys.serverKey, message).toString('base64')}`)
    return { done: true, verdict, data }
  }
}
