/** What the fan-out counts: plain numbers that a scrape copies. All of them only rise, except those said to be gauges. */
export interface FanoutCounters {
  /** Messages published on this gateway. */
  published: number
  /** Deliveries to local subscribers. */
  deliveries: number
  /** Of these, the ones by a native room publish. */
  nativeDeliveries: number
  /** Messages whose deliveries were spread over several event-loop turns. */
  sliced: number
  /** Gauge: messages that wait for their turn. */
  queued: number
  /** QoS 0 messages dropped because a topic had too many waiting. */
  droppedBacklog: number
  /** Deliveries that failed because the subscriber threw. */
  droppedFailed: number
  /** Shared messages that came from another gateway when no member was left here. */
  droppedUnshared: number
  /** Retained messages not kept because the store was full. */
  retainedRefused: number
  /** Gauge: retained messages. */
  retained: number
  /** Messages from and to other gateways. */
  busIn: number
  busOut: number
  /** Bytes of these. */
  busInBytes: number
  busOutBytes: number
  /** QoS 0 messages to a gateway that did not drain what it was sent. */
  busDroppedSlow: number
  /** Messages lost because such a gateway had to be cut off. */
  busDroppedCut: number
  /** QoS 0 messages that other gateways did not get because the bus was away. */
  busDroppedAway: number
  /** QoS 1, 2 and retained ones that were pushed out of a full queue while it was away, the oldest first. */
  busDroppedQueue: number
  /** Messages too large for the bus. */
  busDroppedLarge: number
  /** Gauge: QoS 1, 2 and retained messages that wait for the bus. */
  busQueued: number
  /** Messages that went out later than they were published, or once more for a gateway that was away. */
  busSentLate: number
  /** Messages that went in pieces. */
  busPieced: number
  /** Gauge: 1 while every other gateway is reached, 0 while something is cut. */
  busUp: number
  /** Records from another gateway that could not be decoded. */
  busMalformed: number
}

export function createFanoutCounters(): FanoutCounters {
  return {
    published: 0,
    deliveries: 0,
    nativeDeliveries: 0,
    sliced: 0,
    queued: 0,
    droppedBacklog: 0,
    droppedFailed: 0,
    droppedUnshared: 0,
    retainedRefused: 0,
    retained: 0,
    busIn: 0,
    busOut: 0,
    busInBytes: 0,
    busOutBytes: 0,
    busDroppedSlow: 0,
    busDroppedCut: 0,
    busDroppedAway: 0,
    busDroppedQueue: 0,
    busDroppedLarge: 0,
    busQueued: 0,
    busSentLate: 0,
    busPieced: 0,
    busUp: 1,
    busMalformed: 0,
  }
}
