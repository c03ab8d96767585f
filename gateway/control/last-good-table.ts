/**
 * The last good table: kept on disk while the gateway runs, and what it begins with when its coordinator is away.
 *
 * Its age is the time since a coordinator last stood behind it, not since it last changed: the file is stamped again
 * while the coordinator is there, so routes that nobody touched for a month are not old.
 */

import { SluiceError } from '../../proto/errors.js'
import type { RoutingTable } from '../../proto/table.js'
import type { Clock } from '../ports.js'
import { TableFile } from './table-file.js'

export interface LastGoodOptions {
  readonly path: string
  /** Age from which a start refuses it, milliseconds; any age is taken when absent. */
  readonly maxAgeMs?: number
  readonly clock: Clock
  readonly log: Record<'info' | 'warn' | 'error', (fields: object, message: string) => void>
}

/** Time between two stamps while the coordinator is there, milliseconds: a tenth of the age that matters, within these. */
const STAMP_MS = { least: 1000, most: 300_000 } as const
/** Timers take no more than 2^31 - 1 ms, which is 25 days. */
const LONGEST_TIMER_MS = 86_400_000

export class LastGoodTable {
  readonly #options: LastGoodOptions
  readonly #file: TableFile
  readonly #stampMs: number
  #table: RoutingTable | undefined
  #stampedAt = Number.NEGATIVE_INFINITY
  #saving = Promise.resolve()
  #up = false
  #refusal: string | undefined
  #cancelWarning: () => void = () => {}

  constructor(options: LastGoodOptions) {
    const { path, maxAgeMs = Number.POSITIVE_INFINITY } = options
    this.#options = options
    this.#file = new TableFile(path)
    this.#stampMs = Math.min(STAMP_MS.most, Math.max(STAMP_MS.least, maxAgeMs / 10))
  }

  /** Why the table on disk was refused, until there is another one. */
  get refusal(): string | undefined {
    return this.#refusal
  }

  /**
   * Reads the file and hands the table to `use`. One that is broken, too old, or that `use` throws for is refused: the log
   * says why, and the gateway has to wait for its coordinator.
   */
  async load(use: (table: RoutingTable) => void): Promise<void> {
    const { log, clock } = this.#options
    try {
      const saved = await this.#file.load()
      if (saved === undefined) return
      const ageMs = clock.wall() - saved.savedAt
      this.#requireYoung(ageMs)
      use(saved.table)
      this.#table = saved.table
      this.#stampedAt = saved.savedAt
      log.info({ version: saved.table.version, ageMs }, `serving the table on disk, ${span(ageMs)} old`)
      this.#warnLater()
    } catch (error) {
      this.#refusal = error instanceof Error ? error.message : String(error)
      log.error({ err: this.#refusal }, 'the saved routing table is refused; waiting for the coordinator')
    }
  }

  /** A table came from the coordinator and is in use: it is on disk soon. */
  keep(table: RoutingTable): void {
    this.#table = table
    this.#refusal = undefined
    this.#save()
  }

  /** The coordinator is there: called now and then while it is. */
  confirm(): void {
    if (this.#options.clock.wall() - this.#stampedAt >= this.#stampMs) this.#save()
  }

  /** The coordinator came, or went away. */
  connected(up: boolean): void {
    const was = this.#up
    this.#up = up
    this.#cancelWarning()
    if (up) return
    if (was) this.#save()
    this.#warnLater()
  }

  /** Resolves when everything is on disk. */
  async close(): Promise<void> {
    this.#cancelWarning()
    if (this.#up) this.#save()
    this.#up = false
    await this.#saving
  }

  /** @throws SluiceError `table_rejected`. A file from the future is as good as new: the clock went back, not the table. */
  #requireYoung(ageMs: number): void {
    const { path, maxAgeMs = Number.POSITIVE_INFINITY } = this.#options
    if (ageMs <= maxAgeMs) return
    const told = `no coordinator has confirmed it for ${span(ageMs)}, and --max-table-age is ${span(maxAgeMs)}`
    throw new SluiceError('table_rejected', `${path}: ${told}`)
  }

  #save(): void {
    const { clock, log } = this.#options
    if (this.#table === undefined) return
    this.#stampedAt = clock.wall()
    this.#saving = this.#file.save(this.#table, this.#stampedAt).catch((error: unknown) => {
      log.error({ err: String(error) }, 'the routing table could not be saved')
    })
  }

  /** A gateway that runs goes on with a table of any age: its devices are better off with it than with none. */
  #warnLater(): void {
    const { clock, log, maxAgeMs } = this.#options
    if (maxAgeMs === undefined || this.#table === undefined) return
    const { version } = this.#table
    const leftMs = this.#stampedAt + maxAgeMs - clock.wall()
    this.#cancelWarning = clock.after(Math.min(LONGEST_TIMER_MS, Math.max(0, leftMs)), () => {
      if (leftMs > LONGEST_TIMER_MS) return this.#warnLater()
      const told = `no coordinator for ${span(maxAgeMs)}, which is --max-table-age`
      log.warn({ version, maxAgeMs }, `${told}: this gateway goes on with its table, but would not start with it again`)
    })
  }
}

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
] as const

/** In the largest unit of which there are two: `90 s`, `26 h`, `9 d`. */
function span(ms: number): string {
  const [unit, size] = UNITS.find(([, size]) => ms >= 2 * size) ?? (['s', 1000] as const)
  return `${Math.max(0, Math.floor(ms / size))} ${unit}`
}
