/**
 * The lease of leadership: one value that names who leads, by compare-and-set. Its holder rewrites it all the time, so
 * whoever wants it can tell a leader that stood still from one that only they cannot reach.
 */

import { packControl, unpackControl } from '../../../proto/control.js'
import { SluiceError } from '../../../proto/errors.js'
import { readCount, readObject, readText } from '../../../proto/fields.js'
import type { Clock } from '../clock.js'
import type { SharedKeys } from './shared-keys.js'

/** Who leads. */
export interface Leader {
  /** One process, from start to end. */
  readonly instance: string
  /** Base URL that the others reach it by. */
  readonly url: string
  /** Grows with every leader; each write of state carries it. */
  readonly epoch: number
}

const KEY = 'leader'
/** Two writes that were compared with the same value are both in order by then, in milliseconds: a cluster agrees in a few. */
const SETTLE_MS = 50

/** The lease as one coordinator sees it, and holds it. */
export class Lease {
  readonly #keys: SharedKeys
  readonly #clock: Clock
  #leader: Leader | undefined
  #revision = 0
  /** When the lease was last seen to change, or could not be read. */
  #movedAt: number

  constructor(keys: SharedKeys, clock: Clock) {
    this.#keys = keys
    this.#clock = clock
    this.#movedAt = clock.now()
  }

  /** As it was last read. */
  get leader(): Leader | undefined {
    return this.#leader
  }

  /** Milliseconds in which the lease could be read all the time, and nobody renewed it. */
  get staleMs(): number {
    return this.#clock.now() - this.#movedAt
  }

  /** @throws SluiceError `unavailable` */
  async read(): Promise<Leader | undefined> {
    const found = await this.#keys.get(KEY).catch((error: unknown) => {
      // Its holder could not renew it either, perhaps.
      this.#movedAt = this.#clock.now()
      throw error
    })
    if (found?.revision !== this.#revision) this.#movedAt = this.#clock.now()
    this.#revision = found?.revision ?? 0
    this.#leader = found === undefined ? undefined : readLeader(found.value)
    return this.#leader
  }

  /**
   * Takes it from whoever had it when it was last read. A cluster of nats-server 2.9 compares before it agrees on an
   * order, so of two writes at the same moment both may be told that they won; so it is taken for good only when a
   * renewal succeeds some time later, which of two such winners only the last one's does.
   * @param above the new epoch is above this one, too
   * @throws SluiceError `conflict` when it was renewed or taken since, `unavailable`
   */
  async take(self: Omit<Leader, 'epoch'>, above: number): Promise<Leader> {
    const leader = { ...self, epoch: Math.max(this.#leader?.epoch ?? 0, above) + 1 }
    await this.#write(leader)
    await new Promise<void>((resolve) => void this.#clock.after(SETTLE_MS, resolve))
    await this.renew(leader)
    return leader
  }

  /**
   * Says that its holder is still there.
   * @throws SluiceError `conflict` when somebody else has it, `unavailable`
   */
  async renew(leader: Leader): Promise<void> {
    if (this.#leader !== undefined && this.#leader.instance !== leader.instance)
      throw new SluiceError('conflict', `${this.#leader.url} has the lease`)
    try {
      await this.#write(leader)
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== 'conflict') throw error
      // An earlier renewal that nobody answered may have been made all the same; or NATS lost its disk.
      const found = await this.read()
      if (found !== undefined && found.instance !== leader.instance)
        throw new SluiceError('conflict', `${found.url} has the lease, in epoch ${found.epoch}`, { cause: error })
      await this.#write(leader)
    }
  }

  async #write(leader: Leader): Promise<void> {
    const { instance, url, epoch } = leader
    this.#revision = await this.#keys.put(KEY, packControl({ instance, url, epoch }), this.#revision)
    this.#leader = leader
    this.#movedAt = this.#clock.now()
  }
}

/** What cannot be read is nobody's: it may be taken. */
function readLeader(bytes: Uint8Array): Leader | undefined {
  try {
    const fields = readObject(unpackControl(bytes), 'lease')
    const url = readText(fields.url, 'url', 2048)
    if (!URL.canParse(url)) return undefined
    return {
      instance: readText(fields.instance, 'instance'),
      url,
      epoch: readCount(fields.epoch, 'epoch', 0, Number.MAX_SAFE_INTEGER),
    }
  } catch {
    return undefined
  }
}
