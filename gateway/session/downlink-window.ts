/**
 * The acknowledged frames that a device has not confirmed yet, numbered for the device across all its workers.
 * Made on the first such frame. After a reconnect they are sent again, marked.
 */

/** Where a frame came from: told what the device confirmed. */
export interface FrameSource {
  confirmDownlink(workerSeq: number): void
}

interface Entry {
  bytes: Uint8Array
  binding: FrameSource
  /** The worker's own seq, which the binding is told once the device confirmed. */
  workerSeq: number
}

export class DownlinkWindow {
  #entries: Entry[] = []
  #first: number
  #bytes = 0

  /** @param confirmed last downlink seq that the device processed */
  constructor(confirmed: number) {
    this.#first = confirmed + 1
  }

  get size(): number {
    return this.#entries.length
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Last seq that was given out. */
  get last(): number {
    return this.#first + this.#entries.length - 1
  }

  /** Keeps `bytes` and returns the seq that the device will see. */
  push(bytes: Uint8Array, binding: FrameSource, workerSeq: number): number {
    this.#entries.push({ bytes, binding, workerSeq })
    this.#bytes += bytes.length
    return this.last
  }

  /** The device processed everything up to `seq`; tells each binding its own last one. */
  confirm(seq: number): void {
    const count = Math.min(seq - this.#first + 1, this.#entries.length)
    if (count <= 0) return
    const gone = this.#entries.splice(0, count)
    this.#first += count
    for (let i = 0; i < gone.length; i++) {
      const { bytes, binding, workerSeq } = gone[i] as Entry
      this.#bytes -= bytes.length
      // Only the last one of a run: confirmations are cumulative.
      if (gone[i + 1]?.binding !== binding) binding.confirmDownlink(workerSeq)
    }
  }

  /** What the device has not confirmed, for another gateway. */
  entries(): readonly { readonly bytes: Uint8Array; readonly binding: FrameSource; readonly workerSeq: number }[] {
    return this.#entries
  }

  /** Visits, in order, what the device has not confirmed. */
  replay(visit: (bytes: Uint8Array, seq: number) => void): void {
    // A copy: an edge may confirm a frame while it takes it.
    const first = this.#first
    for (const [i, { bytes }] of [...this.#entries].entries()) visit(bytes, first + i)
  }
}
