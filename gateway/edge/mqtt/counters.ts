/** What the MQTT edge counts. Plain fields that a scrape copies; only {@link connections} and {@link sessions} also fall. */
export class MqttCounters {
  connections = 0
  sessions = 0
  /** PUBLISH packets from clients, and to them. */
  received = 0
  sent = 0
  /** Connections refused, by CONNACK or without a word. */
  refused = 0
  /** Connections closed because the client broke the protocol. */
  protocolErrors = 0
  keepAliveTimeouts = 0
  takenOver = 0
  /** QoS 0 messages not sent because the client did not drain its socket. */
  droppedSlow = 0
  /** QoS 1 and 2 messages for an offline session whose queue was full: the newest are dropped. */
  droppedQueueFull = 0
  /** Messages whose expiry passed before they could be sent. */
  droppedExpired = 0
  /** Messages larger than the client's maximum packet size [MQTT-3.1.2-25]. */
  droppedTooLarge = 0
  /** Worker answers that the client had no subscription for. */
  droppedUnsubscribed = 0
  /** Publishes and subscriptions that a rule forbade. */
  denied = 0
  /** Times that a socket was not read because workers did not keep up. */
  paused = 0
}
