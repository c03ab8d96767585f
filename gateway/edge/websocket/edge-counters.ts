/** What the WebSocket edge counts. Plain fields: an increment costs a nanosecond, a scrape copies them. */
export class EdgeCounters {
  connections = 0
  opened = 0
  /** Refused before the upgrade: by admission, and for whatever else. */
  refusedBusy = 0
  refused = 0
  /** Messages from devices. */
  received = 0
  /** Closed with 1003, 1007, 1009. */
  badMessages = 0
  /** ERROR frames sent. */
  errors = 0
  /** Fire-and-forget frames dropped because the device does not keep up. */
  droppedSlow = 0
  /** Messages of the fan-out for a device that was away. */
  droppedAway = 0
  /** Connections ended because acknowledged frames would have been lost. */
  slowConsumers = 0
}
