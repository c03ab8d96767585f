/**
 * What one link has to write, and when it leaves: once per event-loop turn, as soon as there is much, or frame by frame
 * while turns bring a few.
 */

import type { Socket } from 'node:net'
import { RecordBatch } from '../../proto/link.js'

/** A turn with this many frames at most is a calm one. */
const CALM_FRAMES = 4
/** Frames that are written each by itself after a calm turn, until a turn is looked at again: looking costs an immediate. */
const CALM_STRETCH = 8

export class LinkOutput {
  /** To be told of with {@link added} or {@link frameAdded}. */
  readonly batch = new RecordBatch()
  #socket: Socket | undefined
  /** The end of this turn writes what is there. */
  #scheduled = false
  /** This turn is looked at, from its first frame on; #frames so far. */
  #looking = false
  #frames = 0
  /** The last turn that was looked at was calm. */
  #calm = false
  /** Frames that may leave by themselves before the next look. */
  #stretch = 0
  /** The kernel did not take all of the last write at once: only then the socket has to be asked what waits there. */
  #lagging = false
  readonly #run = (): void => this.flush()
  readonly #turn: (fn: () => void) => void

  /** @param turn calls a function once this turn of the event loop has seen its input */
  constructor(turn: (fn: () => void) => void) {
    this.#turn = turn
  }

  /** Bytes that wait, here and in the socket. */
  get waiting(): number {
    return this.batch.length + this.#behind()
  }

  /** Where to write to from now on; undefined: nowhere, and what waits is forgotten. */
  use(socket: Socket | undefined): void {
    this.#socket = socket
    if (socket === undefined) this.batch.take()
  }

  /** A record was added to the batch: it leaves with this turn of the event loop. */
  added(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#turn(this.#run)
  }

  /**
   * A frame was added. It leaves with its turn, or now: when there is much already, and when turns bring a few frames each,
   * so that the worker begins while the next ones are read.
   */
  frameAdded(): void {
    if (this.#scheduled) {
      this.#frames++
      if (this.batch.ripe) this.#write()
    } else if (this.#stretch > 0 && this.#behind() === 0) {
      this.#write()
      // In the middle of a turn: what is left of it says nothing, the next one is looked at.
      if (--this.#stretch === 0) this.added()
    } else {
      this.#looking = true
      this.#frames = 1
      if (this.#calm && this.#behind() === 0) this.#write()
      this.added()
    }
  }

  /** Writes what waits. */
  flush(): void {
    this.#scheduled = false
    if (this.#looking) {
      this.#looking = false
      this.#calm = this.#frames <= CALM_FRAMES
      this.#stretch = this.#calm ? CALM_STRETCH : 0
    }
    this.#write()
  }

  #write(): void {
    const socket = this.#socket
    if (this.batch.length === 0) return
    if (socket === undefined || socket.destroyed) this.batch.take()
    else this.#lagging = !this.batch.writeTo(socket, this.#lagging)
  }

  /** Bytes of earlier writes that the kernel has not taken yet. */
  #behind(): number {
    return this.#lagging && this.#socket !== undefined ? this.#socket.writableLength : 0
  }
}
