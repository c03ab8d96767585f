/**
 * Writing to the handle below a `net.Socket`. A stream makes a request object for every write and touches its own state, the
 * socket's and a timer's; here a write is one call into C++ and a look at whether the kernel took everything, which it does as
 * a rule: a fan-out costs a sixth less (docs/benchmarks.md). The names are Node's own (`src/stream_base.cc`), the same from
 * Node 12 to 26. Where it does not give them (its permission model, a version to come) there is no handle, and sockets are
 * written as the streams they are.
 */

import type { Socket } from 'node:net'
import { constants } from 'node:os'
import { TLSSocket } from 'node:tls'
import { getSystemErrorName } from 'node:util'
import type { SharedBytes } from './shared-bytes.js'

/** What libuv's stream is to JavaScript. */
export interface StreamHandle {
  /** @returns 0, a negative errno, or nothing once it is closed. `request` is used where the kernel did not take everything. */
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number | undefined
  /** The same for characters up to U+00FF. */
  writeLatin1String(request: WriteRequest, text: string): number | undefined
}

/** A handle; that of TLS stands on another one. */
interface QueueOwner {
  readonly writeQueueSize?: number
  readonly _parent?: QueueOwner | null
}

interface WriteRequest {
  oncomplete?: (status: number) => void
  /** Keeps the memory alive until then. */
  bytes?: Uint8Array
}

interface StreamBinding {
  readonly WriteWrap: new () => WriteRequest
  readonly streamBaseState: ArrayLike<number>
  readonly kLastWriteWasAsync: number
}

/** Outcomes of {@link writeTo}; the other ones are negative. */
export const TAKEN = 0
export const WAITS = 1

const binding = findBinding()
const state = binding?.streamBaseState ?? []
const wasAsync = binding?.kLastWriteWasAsync ?? 0
/** One request for all: only a write that has to wait keeps it. */
let spare = newRequest()

/** The handle to write to, past the stream; undefined for a socket that has to be written as one. */
export function handleOf(socket: Socket): StreamHandle | undefined {
  if (binding === undefined || socket instanceof TLSSocket) return undefined
  const handle = (socket as { _handle?: Partial<StreamHandle> | null })._handle
  const fits = typeof handle?.writeBuffer === 'function' && typeof handle.writeLatin1String === 'function'
  return fits ? (handle as StreamHandle) : undefined
}

/**
 * @returns {@link TAKEN}: the memory is free; {@link WAITS}: to be followed by {@link awaitWrite} at once; else a negative
 * errno: nothing is written, now or later
 */
export function writeTo(handle: StreamHandle, bytes: Uint8Array): number {
  return outcomeOf(handle.writeBuffer(spare, bytes))
}

/** As {@link writeTo}. */
export function writeSharedTo(handle: StreamHandle, shared: SharedBytes): number {
  const { text } = shared
  return outcomeOf(text === undefined ? handle.writeBuffer(spare, shared.bytes) : handle.writeLatin1String(spare, text))
}

function outcomeOf(error: number | undefined): number {
  if (error === 0) return state[wasAsync] === 0 ? TAKEN : WAITS
  spare = newRequest()
  return error ?? -constants.errno.EBADF
}

/** Has `done` called when the write that was made last is through: with 0, or a negative errno. */
export function awaitWrite(bytes: Uint8Array, done: (status: number) => void): void {
  spare.oncomplete = done
  spare.bytes = bytes
  spare = newRequest()
}

/** Bytes of a socket that the kernel has not taken yet: with the stream, with TLS, with libuv. */
export function unsentBytes(socket: Socket): number {
  const handle = (socket as { _handle?: QueueOwner | null })._handle
  return socket.writableLength + (handle?.writeQueueSize ?? 0) + (handle?._parent?.writeQueueSize ?? 0)
}

/** Why a write failed. */
export function writeError(status: number): Error {
  return new Error(`write ${getSystemErrorName(status)}`)
}

function newRequest(): WriteRequest {
  return binding === undefined ? {} : new binding.WriteWrap()
}

function findBinding(): StreamBinding | undefined {
  try {
    // Not in the typings, and not documented: Node says that it is there for those who know what they do (DEP0111).
    const found = (process as unknown as { binding(name: string): Partial<StreamBinding> }).binding('stream_wrap')
    const { WriteWrap, streamBaseState, kLastWriteWasAsync } = found
    if (typeof WriteWrap !== 'function' || streamBaseState === undefined || kLastWriteWasAsync === undefined)
      return undefined
    return { WriteWrap, streamBaseState, kLastWriteWasAsync }
  } catch {
    return undefined
  }
}
