/** The seam between sessions and links: a worker as a binding sees it. `gateway/link/` implements it over a socket, tests over an array. */

import type { Attach, AttachRefused, CloseBinding, Detached } from '../proto/link.js'

/** What a link tells the binding that holds one of its numbers. */
export interface BindingEvents {
  /** `resumed`: the worker held the session already. */
  attached(port: WorkerPort, epoch: number, resumed: boolean): void
  refused(port: WorkerPort, refusal: AttachRefused): void
  detached(port: WorkerPort, detached: Detached): void
  /** The worker ends the session. */
  closedByWorker(port: WorkerPort, close: CloseBinding): void
  /** An encoded frame for the device; unchanged until this turn of the event loop ends. */
  downlink(port: WorkerPort, bytes: Uint8Array, start: number, end: number): void
  /** The worker processed everything up to `seq`. */
  workerAcked(port: WorkerPort, seq: number): void
  /** The link is gone, and every number on it. `hung`: the worker was silent too long, so nobody waits for it to come back. */
  portLost(port: WorkerPort, hung: boolean): void
}

/** One link to one worker. Everything written in a tick leaves in one system call. */
export interface WorkerPort {
  readonly worker: string
  /** True while HELLO was exchanged and the link is not broken. */
  readonly up: boolean
  /** True while more bytes wait for the worker than the link may hold. */
  readonly full: boolean
  /** Sends ATTACH; records for the returned number reach `events` until {@link forget}. */
  attach(events: BindingEvents, attach: Attach): number
  detach(number: number, epoch: number): void
  /** Sends CLOSE and forgets the number. */
  close(number: number, close: CloseBinding): void
  /** Stops delivering records of this number: late ones from a former owner fall on the floor. */
  forget(number: number): void
  /** As {@link forget}, of a number that the worker goes on with until it closes it: another gateway attaches. */
  retire(number: number): void
  /** Copies `bytes[start, end)` into the batch. */
  frame(number: number, bytes: Uint8Array, start: number, end: number): void
  /** The same with `redelivered: true` appended. */
  frameAgain(number: number, bytes: Uint8Array): void
  /** Writes a frame's head and copies the payload behind it, straight into the batch. */
  frameParts(number: number, type: number, topic: string, payload: Uint8Array): void
  /** The device processed the worker's frames up to `seq`. */
  ack(number: number, seq: number): void
}
