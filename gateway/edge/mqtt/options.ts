import { SluiceError } from '../../../proto/errors.js'

/** What an operator can set about MQTT. Every field has a default: {@link MQTT_DEFAULTS}. */
export interface MqttOptions {
  /** Largest packet taken from a client in bytes, fixed header included; MQTT 5 clients are told. 2,000,000, as Mosquitto. */
  readonly maxPacket: number
  /**
   * QoS 1 and 2 messages that a client may have unacknowledged; MQTT 5 clients are told. From others QoS 2 messages beyond it
   * are taken, and their PUBRECs withheld. 20, as Mosquitto.
   */
  readonly receiveMaximum: number
  /** QoS 1 and 2 messages in flight to one client at most, below what an MQTT 5 client allows. 1,000. */
  readonly maxInflight: number
  /** Topic aliases that a client may use towards the gateway, 0 to 65,535. 10. */
  readonly topicAliasMaximum: number
  /** Topic aliases that the gateway uses towards a client, below what the client allows; 0: none. 10, as Mosquitto. */
  readonly outboundAliases: number
  /** Longest keep-alive in seconds; who asks for more or for none is told this one (Server Keep Alive). 0: no limit. */
  readonly maxKeepAlive: number
  /** Milliseconds from a connection to its CONNECT, authentication included. 10 s. */
  readonly connectTimeoutMs: number
  /**
   * QoS 1 and 2 messages that wait for one client: offline, or with its window full. As many QoS 2 messages from it are held
   * for their PUBREL. 1,000.
   */
  readonly maxQueued: number
  /** Payload bytes of these. 8 MiB. */
  readonly maxQueuedBytes: number
  /** Also queue QoS 0 messages for clients that are offline with a session [MQTT-3.1.2-5 leaves it open]. false. */
  readonly queueQos0: boolean
  /** Bytes that may wait in a client's socket before QoS 0 messages to it are dropped. 1 MiB. */
  readonly maxBuffered: number
  /** Longest session expiry in seconds that is granted; 0xffffffff: as long as the client asks. */
  readonly maxSessionExpiry: number
  /** Seconds that a session of MQTT 3.1.1 without clean session lasts. 0xffffffff: for ever, as the specification has it. */
  readonly legacySessionExpiry: number
  /** Subscriptions of one client. 1,000. */
  readonly maxSubscriptions: number
  /** Levels of a topic or filter: 65,535 slashes cost as much to match as a thousand usual topics. 201, as Mosquitto. */
  readonly maxTopicLevels: number
  /** Told to MQTT 5 clients that ask for Response Information, with `%c` as the device id. Empty: nothing. */
  readonly responseInformation: string
  /** Clients connected at the same time; more are refused as Server Busy. 0: no limit. */
  readonly maxConnections: number
  /** CONNECTs taken a second; up to one second's worth may come at once, more are refused as Server Busy. 0: no limit. */
  readonly connectsPerSecond: number
  /** Publishers hear 0x10 when no subscriber matched, a worker or not. Off: always 0. true. */
  readonly tellNoSubscribers: boolean
  /**
   * Publish the will of a connection also when its client takes it over and goes on with its session, by the letter of
   * MQTT 3.1.1 [MQTT-3.1.2-8]. Off: only when the session ends with it, as Mosquitto. false.
   */
  readonly willOnTakeover: boolean
}

export const MQTT_DEFAULTS: MqttOptions = {
  maxPacket: 2_000_000,
  receiveMaximum: 20,
  maxInflight: 1000,
  topicAliasMaximum: 10,
  outboundAliases: 10,
  maxKeepAlive: 0,
  connectTimeoutMs: 10_000,
  maxQueued: 1000,
  maxQueuedBytes: 8 * 1024 * 1024,
  queueQos0: false,
  maxBuffered: 1024 * 1024,
  maxSessionExpiry: 0xffffffff,
  legacySessionExpiry: 0xffffffff,
  maxSubscriptions: 1000,
  maxTopicLevels: 201,
  responseInformation: '',
  maxConnections: 0,
  connectsPerSecond: 0,
  tellNoSubscribers: true,
  willOnTakeover: false,
}

/** A session expiry that means never (MQTT 5.0 section 3.1.2.11.2). */
export const NEVER = 0xffffffff

/** Wall clock when a session that lasts `expiry` seconds ends. */
export function endOf(now: number, expiry: number): number {
  return expiry >= NEVER ? Number.POSITIVE_INFINITY : now + expiry * 1000
}

/** Bytes of the largest packet that the protocol can describe: as a limit it is none. */
export const LARGEST_PACKET = 268_435_460
const MANY = 10_000_000

/** The least and the most of each number, whole numbers all; those of 16 and 32 bits are the protocol's own. */
const RANGES: Readonly<Record<string, readonly [least: number, most: number, meaning: string]>> = {
  maxPacket: [20, LARGEST_PACKET, 'bytes'],
  receiveMaximum: [1, 65_535, 'messages'],
  maxInflight: [1, 65_535, 'messages'],
  topicAliasMaximum: [0, 65_535, 'aliases'],
  outboundAliases: [0, 65_535, 'aliases'],
  maxKeepAlive: [0, 65_535, 'seconds, 0 for no limit'],
  connectTimeoutMs: [10, 3_600_000, 'milliseconds'],
  maxQueued: [1, MANY, 'messages'],
  maxQueuedBytes: [1024, 2 ** 40, 'bytes'],
  maxBuffered: [1024, 2 ** 31, 'bytes'],
  maxSessionExpiry: [0, NEVER, 'seconds, 4294967295 for no limit'],
  legacySessionExpiry: [0, NEVER, 'seconds, 4294967295 for ever'],
  maxSubscriptions: [1, 10_000, 'subscriptions'],
  maxTopicLevels: [1, 256, 'levels'],
  maxConnections: [0, MANY, 'connections, 0 for no limit'],
  connectsPerSecond: [0, MANY, 'connections, 0 for no limit'],
}

/** Bytes of Response Information at most: with the device id put in, it has to fit into a string of 65,535 bytes. */
const MAX_RESPONSE_INFORMATION = 1024

/**
 * The operator's options with the defaults for all others.
 * @throws SluiceError `bad_request` naming the option, what it may be, and what it is; `path` is `mqtt.OPTION`
 */
export function readMqttOptions(given: Partial<MqttOptions>): MqttOptions {
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined) checkOption(name, value)
  }
  return { ...MQTT_DEFAULTS, ...given }
}

function checkOption(name: string, value: unknown): void {
  const usual: unknown = Object.hasOwn(MQTT_DEFAULTS, name) ? MQTT_DEFAULTS[name as keyof MqttOptions] : undefined
  if (usual === undefined)
    throw wrong(name, `there is no such option; there are ${Object.keys(MQTT_DEFAULTS).join(', ')}`)
  const range = RANGES[name]
  if (range !== undefined) {
    const [least, most, meaning] = range
    const fits = Number.isInteger(value) && (value as number) >= least && (value as number) <= most
    if (!fits) throw wrong(name, `must be a whole number from ${least} to ${most} (${meaning}), not ${shown(value)}`)
  } else if (typeof value !== typeof usual) {
    throw wrong(name, `must be a ${typeof usual}, not ${shown(value)}`)
  } else if (typeof value === 'string' && Buffer.byteLength(value) > MAX_RESPONSE_INFORMATION) {
    throw wrong(name, `must be at most ${MAX_RESPONSE_INFORMATION} bytes long, not ${Buffer.byteLength(value)}`)
  }
}

const shown = (value: unknown): string => (JSON.stringify(value) ?? String(value)).slice(0, 60)

function wrong(name: string, message: string): SluiceError {
  const path = `mqtt.${name}`
  return new SluiceError('bad_request', `${path} ${message}`, { path })
}
