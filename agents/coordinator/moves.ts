/** Live moves as gateways report them, added up per table version and pool for `GET /v1/moves`. */

import type { MoveReceipt, MoveReport } from '../../proto/control.js'

/** Receipts kept over all moves. */
export const KEPT_RECEIPTS = 1000
/** Finished moves kept. */
const KEPT_MOVES = 100
/** A move whose gateways fell silent for this long counts as finished. */
const STALE_MS = 30_000

/** One move: what one table version changed in one pool. Times are ISO 8601. */
export interface MoveView {
  readonly id: string
  readonly cause: string
  readonly pool: string
  readonly planned: number
  readonly done: number
  readonly failed: number
  readonly startedAt: string
  readonly finishedAt?: string
  readonly receipts: readonly MoveReceipt[]
}

/** One gateway's part of a move. */
interface Part {
  planned: number
  done: number
  failed: number
}

interface Move {
  readonly id: string
  readonly cause: string
  readonly pool: string
  readonly startedAt: number
  readonly gateways: Map<string, Part>
  readonly receipts: MoveReceipt[]
  touchedAt: number
  finishedAt: number | undefined
}

/** Collects reports. Times are milliseconds since 1970. */
export class Moves {
  readonly #moves = new Map<string, Move>()
  readonly #causes = new Map<number, string>()
  #receipts = 0

  /** Why this version came to be; shown with the moves that it causes. */
  cause(version: number, cause: string): void {
    this.#causes.set(version, cause)
    if (this.#causes.size > 1000) this.#causes.delete(this.#causes.keys().next().value as number)
  }

  /**
   * Adds a gateway's report: its numbers are what happened since its last one. A gateway reports under the version that
   * it serves, and a newer one may overtake a move; so what is done counts for the oldest move that is not.
   * @returns the move that the report counted for
   */
  report(gateway: string, report: MoveReport, wall: number): MoveView {
    const newest = this.#moveOf(report, wall)
    partOf(newest, gateway).planned += report.planned
    let credited: Move | undefined
    let left = { done: report.done, failed: report.failed }
    for (const move of this.#moves.values()) {
      if (move.pool !== report.pool || move === newest || move.finishedAt !== undefined) continue
      const before = left
      left = credit(partOf(move, gateway), left)
      if (left.done + left.failed < before.done + before.failed) credited ??= move
      touch(move, wall)
    }
    const part = partOf(newest, gateway)
    part.done += left.done
    part.failed += left.failed
    touch(newest, wall)
    const target = credited ?? newest
    target.receipts.push(...report.receipts)
    this.#receipts += report.receipts.length
    this.#trim()
    return view(target)
  }

  /** A gateway is gone: its part of every running move ends as it is. */
  forget(gateway: string, wall: number): void {
    for (const move of this.#moves.values()) {
      const part = move.gateways.get(gateway)
      if (part === undefined || move.finishedAt !== undefined) continue
      part.planned = part.done + part.failed
      touch(move, wall)
    }
  }

  /** Newest first. */
  list(wall: number): { running: MoveView[]; recent: MoveView[] } {
    for (const move of this.#moves.values()) {
      if (move.finishedAt === undefined && wall - move.touchedAt > STALE_MS) move.finishedAt = move.touchedAt
    }
    const all = [...this.#moves.values()].reverse()
    return {
      running: all.filter(({ finishedAt }) => finishedAt === undefined).map(view),
      recent: all.filter(({ finishedAt }) => finishedAt !== undefined).map(view),
    }
  }

  #moveOf({ version, pool }: MoveReport, wall: number): Move {
    const id = `${version}-${pool}`
    let move = this.#moves.get(id)
    if (move === undefined) {
      const cause = this.#causes.get(version) ?? `table version ${version}`
      const times = { startedAt: wall, touchedAt: wall, finishedAt: undefined }
      move = { id, cause, pool, ...times, gateways: new Map(), receipts: [] }
      this.#moves.set(id, move)
    }
    return move
  }

  #trim(): void {
    for (const move of this.#moves.values()) {
      if (this.#receipts <= KEPT_RECEIPTS) break
      this.#receipts -= move.receipts.splice(0, this.#receipts - KEPT_RECEIPTS).length
    }
    for (const [id, move] of this.#moves) {
      if (this.#moves.size <= KEPT_MOVES) break
      this.#receipts -= move.receipts.length
      this.#moves.delete(id)
    }
  }
}

function partOf(move: Move, gateway: string): Part {
  let part = move.gateways.get(gateway)
  if (part === undefined) {
    part = { planned: 0, done: 0, failed: 0 }
    move.gateways.set(gateway, part)
  }
  return part
}

/** Counts as much as the part still waits for; returns what is left. */
function credit(part: Part, { done, failed }: { done: number; failed: number }): { done: number; failed: number } {
  const open = (): number => Math.max(0, part.planned - part.done - part.failed)
  const takenDone = Math.min(done, open())
  part.done += takenDone
  const takenFailed = Math.min(failed, open())
  part.failed += takenFailed
  return { done: done - takenDone, failed: failed - takenFailed }
}

/** A move is finished while no gateway waits for any part of it. */
function touch(move: Move, wall: number): void {
  move.touchedAt = wall
  const finished = [...move.gateways.values()].every(({ planned, done, failed }) => done + failed >= planned)
  move.finishedAt = finished ? (move.finishedAt ?? wall) : undefined
}

function view(move: Move): MoveView {
  const { id, cause, pool, startedAt, finishedAt, receipts } = move
  const total = { planned: 0, done: 0, failed: 0 }
  for (const part of move.gateways.values()) {
    total.planned += part.planned
    total.done += part.done
    total.failed += part.failed
  }
  const end = finishedAt === undefined ? {} : { finishedAt: new Date(finishedAt).toISOString() }
  return { id, cause, pool, ...total, startedAt: new Date(startedAt).toISOString(), ...end, receipts: [...receipts] }
}
