/**
 * The coordinator's state in a shared store, fenced: whoever does not lead any more can write nothing.
 *
 * One value, the head, is the state or names its parts. It carries the epoch of the leader that wrote it and is replaced
 * by compare-and-set. A new leader first writes what it found under its own epoch ({@link FencedStore.seal}): from
 * then on every write of an earlier leader, whenever it arrives, expects a head that is not there any more.
 *
 * A state above the store's largest value goes into parts first, under names that are never used again; the head
 * then names them. A reader finds the parts of the head that it read, or reads the head again.
 */

import { promisify } from 'node:util'
import { deflate, inflate } from 'node:zlib'
import { packControl, unpackControl } from '../../../proto/control.js'
import { SluiceError } from '../../../proto/errors.js'
import { readBytes, readCount, readObject, readText } from '../../../proto/fields.js'
import { SaveQueue } from '../save-queue.js'
import { type CoordinatorState, packState, type StateStore, unpackState } from '../store.js'
import type { Leader } from './lease.js'
import type { SharedKeys } from './shared-keys.js'

const HEAD = 'state'
/** Largest state, before compression: 1,000 slot pools are 33 MB. */
const MAX_STATE = 256 * 1024 * 1024
const MAX_PARTS = 1024
/** Attempts against writers that came in between; there is one leader at a time, so the second usually fits. */
const ATTEMPTS = 5
const MAX_COUNT = Number.MAX_SAFE_INTEGER

const compress = promisify(deflate)
const expand = promisify<Uint8Array, { maxOutputLength: number }, Buffer>(inflate)

/** Where the compressed state is. */
interface Head {
  readonly epoch: number
  /** The leader that wrote it; empty before the first. */
  readonly instance: string
  /** The state itself, when it fits; empty before the first. */
  readonly body: Uint8Array
  /** Parts under `part.EPOCH.NUMBER.0` and on; 0 of them when the body is in the head. */
  readonly parts: number
  readonly partsEpoch: number
  readonly partsNumber: number
}

/** The state as it is in the store. */
export interface SharedState {
  readonly state: CoordinatorState | undefined
  /** The leader that wrote it. */
  readonly epoch: number
  readonly revision: number
}

/** Reads the state. @throws SluiceError `unavailable`, `bad_request` when what is there is damaged */
export async function readSharedState(keys: SharedKeys): Promise<SharedState | undefined> {
  for (let attempt = 1; ; attempt++) {
    const found = await keys.get(HEAD)
    if (found === undefined) return undefined
    const head = readHead(found.value)
    const body = await bodyOf(keys, head)
    if (body !== undefined) return { state: await unpackBody(body), epoch: head.epoch, revision: found.revision }
    if (attempt === ATTEMPTS)
      throw new SluiceError('unavailable', 'the state changes faster than it can be read', { retryAfterMs: 1000 })
  }
}

/** What a leader is told. */
export interface FencedStoreEvents {
  /** The store has a new state: this one. */
  written(state: SharedState): void
  /** Somebody else leads. */
  lost(): void
}

/** Writes the state while its coordinator leads. */
export class FencedStore implements StateStore {
  readonly #keys: SharedKeys
  readonly #leader: Pick<Leader, 'epoch' | 'instance'>
  readonly #queue = new SaveQueue(() => this.#write())
  readonly #events: FencedStoreEvents
  #snapshot: () => CoordinatorState = () => {
    throw new SluiceError('internal', 'there is no state to write yet')
  }
  #revision = 0
  #retired = false
  #number = 0
  /** Parts that the head in the store names. */
  #live: Pick<Head, 'partsEpoch' | 'partsNumber'> = { partsEpoch: 0, partsNumber: 0 }

  /**
   * @param leader as the lease has it
   * @param events what happens to its writes
   */
  constructor(keys: SharedKeys, leader: Pick<Leader, 'epoch' | 'instance'>, events: FencedStoreEvents) {
    this.#keys = keys
    this.#leader = leader
    this.#events = events
  }

  /** Of the head as this leader wrote it last: it tells followers that there is something new. */
  get revision(): number {
    return this.#revision
  }

  /**
   * Makes the state this leader's own: nobody before it can write from now on.
   * @throws SluiceError `conflict` when a later leader did so already, `unavailable`, `bad_request` for a damaged state
   */
  async seal(): Promise<CoordinatorState | undefined> {
    const { epoch, instance } = this.#leader
    for (let attempt = 1; ; attempt++) {
      const found = await this.#keys.get(HEAD)
      const head = found === undefined ? EMPTY : readHead(found.value)
      if (head.epoch > epoch || (head.epoch === epoch && head.instance !== instance))
        throw new SluiceError('conflict', `a leader of epoch ${head.epoch} has the state`)
      const body = await bodyOf(this.#keys, head)
      try {
        if (body === undefined) throw new SluiceError('conflict', 'the parts of the state changed meanwhile')
        const state = await unpackBody(body)
        this.#revision = await this.#keys.put(HEAD, packHead({ ...head, epoch, instance }), found?.revision ?? 0)
        this.#live = head
        return state
      } catch (error) {
        if (!isConflict(error)) throw error
        if (attempt === ATTEMPTS)
          throw new SluiceError('unavailable', 'the state changes all the time', { cause: error })
      }
    }
  }

  /** From now on this is what {@link save} writes. */
  keep(snapshot: () => CoordinatorState): void {
    this.#snapshot = snapshot
  }

  /**
   * Resolves when a state at least as new as now is in the store.
   * @throws SluiceError `unavailable`: also when another coordinator leads, which is who to ask
   */
  save(): Promise<void> {
    return this.#retired ? Promise.reject(anotherLeads()) : this.#queue.save()
  }

  /** Its coordinator does not lead any more: nothing is even tried. */
  retire(): void {
    this.#retired = true
  }

  async #write(): Promise<void> {
    if (this.#retired) throw anotherLeads()
    const { epoch, instance } = this.#leader
    const now = this.#snapshot()
    // People's decisions change in place; the rest is replaced as a whole.
    const state = { ...now, intents: structuredClone(now.intents) }
    const body = await compress(packState(state))
    const number = ++this.#number
    const size = this.#keys.maxBytes
    const parts = body.length <= size ? 0 : Math.ceil(body.length / size)
    for (let i = 0; i < parts; i++) {
      await this.#keys.put(`${partsAt(epoch, number)}.${i}`, body.subarray(i * size, (i + 1) * size))
    }
    const inHead = parts === 0 ? body : new Uint8Array(0)
    await this.#replace({ epoch, instance, body: inHead, parts, partsEpoch: epoch, partsNumber: number })
    this.#events.written({ state, epoch, revision: this.#revision })
    const before = this.#live
    this.#live = parts === 0 ? { partsEpoch: 0, partsNumber: 0 } : { partsEpoch: epoch, partsNumber: number }
    if (before.partsEpoch === 0) return
    // All that an earlier leader left, too. What stays behind now is in nobody's way.
    const { partsEpoch, partsNumber } = before
    await this.#keys
      .remove(partsEpoch === epoch ? partsAt(partsEpoch, partsNumber) : `part.${partsEpoch}`)
      .catch(() => {})
  }

  async #replace(head: Head): Promise<void> {
    const bytes = packHead(head)
    try {
      this.#revision = await this.#keys.put(HEAD, bytes, this.#revision)
    } catch (error) {
      if (!isConflict(error)) throw error
      // An earlier write that nobody answered may have been made all the same; or the store lost its disk.
      const found = await this.#keys.get(HEAD)
      if (found !== undefined && readHead(found.value).instance !== this.#leader.instance) {
        this.#events.lost()
        throw anotherLeads()
      }
      this.#revision = await this.#keys.put(HEAD, bytes, found?.revision ?? 0)
    }
  }
}

const EMPTY: Head = { epoch: 0, instance: '', body: new Uint8Array(0), parts: 0, partsEpoch: 0, partsNumber: 0 }

function partsAt(epoch: number, number: number): string {
  return `part.${epoch}.${number}`
}

/** Undefined when its parts are not there any more. */
async function bodyOf(
  keys: SharedKeys,
  { body, parts, partsEpoch, partsNumber }: Head,
): Promise<Uint8Array | undefined> {
  if (parts === 0) return body
  const names = Array.from({ length: parts }, (_, i) => `${partsAt(partsEpoch, partsNumber)}.${i}`)
  const found = await Promise.all(names.map((name) => keys.get(name)))
  const values = found.flatMap((part) => (part === undefined ? [] : [part.value]))
  return values.length === parts ? Buffer.concat(values) : undefined
}

async function unpackBody(body: Uint8Array): Promise<CoordinatorState | undefined> {
  if (body.length === 0) return undefined
  try {
    return unpackState(await expand(body, { maxOutputLength: MAX_STATE }))
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    const fix = 'Remove the bucket to start with nothing, or put back a copy of it.'
    throw new SluiceError('bad_request', `the state in the shared store is not usable: ${why}. ${fix}`, { cause })
  }
}

function packHead(head: Head): Uint8Array {
  return packControl({ ...head })
}

function readHead(bytes: Uint8Array): Head {
  const fields = readObject(unpackControl(bytes), 'state')
  return {
    epoch: readCount(fields.epoch, 'epoch', 0, MAX_COUNT),
    instance: readText(fields.instance, 'instance'),
    body: readBytes(fields.body, 'body'),
    parts: readCount(fields.parts, 'parts', 0, MAX_PARTS),
    partsEpoch: readCount(fields.partsEpoch, 'partsEpoch', 0, MAX_COUNT),
    partsNumber: readCount(fields.partsNumber, 'partsNumber', 0, MAX_COUNT),
  }
}

function isConflict(error: unknown): boolean {
  return error instanceof SluiceError && error.code === 'conflict'
}

function anotherLeads(): SluiceError {
  return new SluiceError('unavailable', 'another coordinator leads; nothing was changed here', { retryAfterMs: 1000 })
}
