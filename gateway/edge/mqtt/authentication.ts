/** Who a client is: by user name and password, or by an exchange of its own (MQTT 5.0 section 4.12). */

import type { Access } from './access.js'

/** What a CONNECT says about its sender. */
export interface Credentials {
  /** All of it, up to 65,535 bytes: what the gateway carries of a long one is {@link deviceIdOf}. */
  readonly clientId: string
  readonly username: string | undefined
  readonly password: Uint8Array | undefined
  readonly remoteAddress: string
  readonly version: 3 | 4 | 5
}

/** Accepted, with what this client may do where it is not the edge's own rules; or refused with an MQTT 5 reason code. */
export type Verdict =
  | { readonly accepted: true; readonly access?: Access; readonly attributes?: Readonly<Record<string, string>> }
  | { readonly accepted: false; readonly reason: number; readonly message: string }

/** Decides on a connection; not asked when an {@link AuthMethod} did already. A rejection counts as Server unavailable. */
export type Authenticate = (credentials: Credentials) => Verdict | Promise<Verdict>

/** One step of an exchange: go on with this data, or a verdict with the last data for the client. */
export type AuthStep =
  | { readonly done: false; readonly data: Uint8Array }
  | { readonly done: true; readonly verdict: Verdict; readonly data?: Uint8Array }

/** One running exchange; a new one for every CONNECT and every re-authentication. */
export interface AuthExchange {
  /** @param data of the client's CONNECT or AUTH */
  step(data: Uint8Array | undefined): AuthStep | Promise<AuthStep>
}

/** A SASL-like mechanism, found by the name that the client gives as Authentication Method. */
export interface AuthMethod {
  readonly name: string
  begin(credentials: Credentials): AuthExchange
}
