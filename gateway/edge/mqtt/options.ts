/** What an operator can set about MQTT. Every field has a default: {@link MQTT_DEFAULTS}. */
export interface MqttOptions {
  /** Largest packet taken from a client in bytes, fixed header included; MQTT 5 clients are told. 2,000,000, as Mosquitto. */
  readonly maxPacket: number
  /** QoS 1 and 2 messages that a client may have unacknowledged; MQTT 5 clients are told. 20, as Mosquitto. */
  readonly receiveMaximum: number
  /** QoS 1 and 2 messages in flight to one client at most, below what an MQTT 5 client allows. 1,000. */
  readonly maxInflight: number
  /** Topic aliases that a client may use towards the gateway, 0 to 65,535. 10. */
  readonly topicAliasMaximum: number
  /** Topic aliases that the gateway uses towards a client, below what the client allows. 0: it uses none. */
  readonly outboundAliases: number
  /** Longest keep-alive in seconds; who asks for more or for none is told this one (Server Keep Alive). 0: no limit. */
  readonly maxKeepAlive: number
  /** Milliseconds from a connection to its CONNECT, authentication included. 10 s. */
  readonly connectTimeoutMs: number
  /** QoS 1 and 2 messages that wait for one client: offline, or with its window full. 1,000. */
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
  /** Levels of a topic or filter: one of 65,535 slashes costs as much to match as a thousand usual ones. 200, as Mosquitto. */
  readonly maxTopicLevels: number
  /** Told to MQTT 5 clients that ask for Response Information, with `%c` as the client id. Empty: nothing. */
  readonly responseInformation: string
  /** Clients connected at the same time; more are refused as Server Busy. 0: no limit. */
  readonly maxConnections: number
  /** CONNECTs taken a second; up to one second's worth may come at once, more are refused as Server Busy. 0: no limit. */
  readonly connectsPerSecond: number
  /** Publishers hear 0x10 when no subscriber matched, a worker or not. Off: always 0. true. */
  readonly tellNoSubscribers: boolean
}

export const MQTT_DEFAULTS: MqttOptions = {
  maxPacket: 2_000_000,
  receiveMaximum: 20,
  maxInflight: 1000,
  topicAliasMaximum: 10,
  outboundAliases: 0,
  maxKeepAlive: 0,
  connectTimeoutMs: 10_000,
  maxQueued: 1000,
  maxQueuedBytes: 8 * 1024 * 1024,
  queueQos0: false,
  maxBuffered: 1024 * 1024,
  maxSessionExpiry: 0xffffffff,
  legacySessionExpiry: 0xffffffff,
  maxSubscriptions: 1000,
  maxTopicLevels: 200,
  responseInformation: '',
  maxConnections: 0,
  connectsPerSecond: 0,
  tellNoSubscribers: true,
}

/** A session expiry that means never (MQTT 5.0 section 3.1.2.11.2). */
export const NEVER = 0xffffffff
