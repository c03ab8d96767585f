/** One connection to an upstream broker, from CONNECT to its end: a thin layer over the `mqtt` package that never reconnects. */

import { readFileSync } from 'node:fs'
import type { IClientOptions, IPublishPacket, MqttClient } from 'mqtt'
import { SluiceError } from '../../proto/errors.js'
import type { MessageProperties } from '../ports.js'
import type { BridgeOptions, BridgeTls } from './bridge-options.js'
import type { BridgeRule } from './bridge-rule.js'
import type { OutMessage } from './out-queue.js'

/** MQTT 5 properties, as the `mqtt` package writes them. */
export type PacketProperties = NonNullable<IPublishPacket['properties']>

/** What a connection tells. `down` comes last, and always. */
export interface UpstreamEvents {
  /** Connected. */
  up(): void
  message(topic: string, payload: Uint8Array, packet: IPublishPacket): void
  /** A filter that the broker did not grant. */
  refused(filter: string, reason: string): void
  /** @param unsupported the broker does not speak this version of MQTT */
  down(reason: string, unsupported: boolean): void
}

/** `connect` of the `mqtt` package, which only gateways with bridges load. */
export type Connect = (url: string, options: IClientOptions) => MqttClient

/** PUBLISH packets that wait for the broker at once. */
const WINDOW = 64
const CONNECT_MS = 5000
const KEEPALIVE_S = 30
/** CONNACK: Unsupported Protocol Version, in MQTT 5 and in 3.1.1 (sections 3.2.2.2 and 3.2.2.3). */
const UNSUPPORTED = [0x84, 1]

export class Upstream {
  readonly #client: MqttClient
  readonly version: 4 | 5

  constructor(
    connect: Connect,
    options: BridgeOptions,
    version: 4 | 5,
    rules: readonly BridgeRule[],
    events: UpstreamEvents,
  ) {
    this.version = version
    const client = connect(options.url, clientOptions(options, version))
    this.#client = client
    let reason = 'the connection was closed'
    let unsupported = false
    client.on('connect', () => {
      for (const rule of rules) if (rule.inward) this.#subscribe(rule, events)
      events.up()
    })
    client.on('message', (topic, payload, packet) => events.message(topic, payload, packet))
    client.on('disconnect', ({ reasonCode }) => {
      reason = `the broker disconnected: reason code ${reasonCode}`
    })
    client.on('error', (error) => {
      reason = error.message || String(error)
      unsupported = UNSUPPORTED.includes((error as { code?: number }).code ?? 0)
    })
    client.once('close', () => events.down(reason, unsupported))
  }

  /** PUBLISH packets that may be unacknowledged at once. */
  get window(): number {
    return Math.min(WINDOW, this.#client.serverProperties?.receiveMaximum ?? WINDOW)
  }

  /** True when the broker said that it takes no packet of this many bytes. */
  tooLarge(bytes: number): boolean {
    return bytes > (this.#client.serverProperties?.maximumPacketSize ?? Number.POSITIVE_INFINITY)
  }

  get connected(): boolean {
    return this.#client.connected
  }

  /** @param done with QoS 0 once it is written, else once it is acknowledged */
  publish(
    { topic, payload, qos, retain }: OutMessage,
    properties: PacketProperties,
    done: (error?: Error) => void,
  ): void {
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
    const more = this.version === 5 ? { properties } : {}
    this.#client.publish(topic, bytes, { qos, retain, ...more }, (error) => done(error ?? undefined))
  }

  /** Says goodbye; the broker keeps the session. */
  close(): void {
    this.#client.end(!this.#client.connected)
  }

  #subscribe({ remoteFilter, qos }: BridgeRule, events: UpstreamEvents): void {
    // rh 1: what is retained comes once for a session, not at every reconnect.
    const options = this.version === 5 ? { qos, nl: true, rap: true, rh: 1 } : { qos }
    this.#client.subscribe(remoteFilter, options, (error) => {
      if (error !== null && this.connected) events.refused(remoteFilter, error.message)
    })
  }
}

function clientOptions(options: BridgeOptions, version: 4 | 5): IClientOptions {
  const { name, clientId = `sluice-${name}`, username, password, sessionExpiry = 3600, tls } = options
  return {
    clientId,
    protocolVersion: version,
    clean: false,
    reconnectPeriod: 0,
    resubscribe: false,
    connectTimeout: CONNECT_MS,
    keepalive: KEEPALIVE_S,
    queueQoSZero: false,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(version === 5 ? { properties: { sessionExpiryInterval: sessionExpiry } } : {}),
    ...tlsOptions(tls, `bridge ${name}`),
  }
}

/** @throws SluiceError `bad_request` naming a file that cannot be read */
export function tlsOptions(tls: BridgeTls | undefined, who: string): IClientOptions {
  if (tls === undefined) return {}
  const { caFile, certFile, keyFile, serverName, verify = true } = tls
  const file = (path: string) => {
    try {
      return readFileSync(path)
    } catch (error) {
      throw new SluiceError('bad_request', `${who}: ${path} cannot be read: ${(error as NodeJS.ErrnoException).code}`)
    }
  }
  return {
    rejectUnauthorized: verify,
    ...(caFile === undefined ? {} : { ca: file(caFile) }),
    ...(certFile === undefined ? {} : { cert: file(certFile) }),
    ...(keyFile === undefined ? {} : { key: file(keyFile) }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  }
}

/** Properties of a message from here, for the broker. @param expiry seconds that are left */
export function toPacket(
  properties: MessageProperties | undefined,
  expiry: number | undefined,
  user: readonly (readonly [string, string])[],
): PacketProperties {
  const { payloadFormat, contentType, responseTopic, correlationData } = properties ?? {}
  const userProperties: Record<string, string[]> = {}
  for (const [name, value] of [...(properties?.user ?? []), ...user]) {
    userProperties[name] ??= []
    userProperties[name].push(value)
  }
  return {
    userProperties,
    ...(payloadFormat === 1 ? { payloadFormatIndicator: true } : {}),
    ...(expiry === undefined ? {} : { messageExpiryInterval: expiry }),
    ...(contentType === undefined ? {} : { contentType }),
    ...(responseTopic === undefined ? {} : { responseTopic }),
    ...(correlationData === undefined ? {} : { correlationData: Buffer.from(correlationData) }),
  }
}

/** Properties of a message from the broker, for here. */
export function fromPacket(packet: PacketProperties | undefined): MessageProperties | undefined {
  if (packet === undefined) return undefined
  const { payloadFormatIndicator, messageExpiryInterval, contentType, responseTopic, correlationData } = packet
  const user = Object.entries(packet.userProperties ?? {}).flatMap(([name, value]) =>
    [value].flat().map((one) => [name, one] as const),
  )
  return {
    ...(payloadFormatIndicator === true ? { payloadFormat: 1 } : {}),
    ...(messageExpiryInterval === undefined ? {} : { expiry: messageExpiryInterval }),
    ...(contentType === undefined ? {} : { contentType }),
    ...(responseTopic === undefined ? {} : { responseTopic }),
    ...(correlationData === undefined ? {} : { correlationData: new Uint8Array(correlationData) }),
    ...(user.length === 0 ? {} : { user }),
  }
}
