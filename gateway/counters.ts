/** What a gateway counts. Plain number fields: an increment on the hot path costs a nanosecond; a scrape copies them. */
export class Counters {
  connects = 0
  disconnects = 0
  /** Frames from devices that a worker got, or that are held for one. */
  framesUp = 0
  /** Frames from workers to devices. */
  framesDown = 0
  /** Frames that no route took. */
  unrouted = 0
  /** Frames refused or dropped because a bounded queue was full or nobody took them in time. */
  overloaded = 0
  /** Fire-and-forget frames for a device that was away or too slow. */
  droppedDown = 0
  /** Worker frames that could not be decoded. */
  badFrames = 0
  /** Handoffs, by how they ended. */
  movedClean = 0
  movedLost = 0
  /** Errors that were told to devices. */
  errors = 0
  tablesApplied = 0
  tablesRefused = 0
}

type Counts = Readonly<Record<string, number>>

/** Both counts in one; what both have is added up. */
export function addCounts(a: Counts, b: Counts): Counts {
  const sum: Record<string, number> = { ...a }
  for (const [name, count] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + count
  return sum
}
