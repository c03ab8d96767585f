/**
 * Routes that reach a few gateways first: stage by stage, each watched for a while, and withdrawn by itself when a
 * gateway refuses them or its sessions fare worse.
 */

import { SluiceError } from '../../proto/errors.js'
import type { Clock, Log } from './clock.js'
import type { ControlPlane } from './control-plane.js'
import { type Baseline, baselineOf, worsened } from './rollout-health.js'
import type { Author } from './route-book.js'
import type { RouteSpec } from './table-builder.js'

/** One stage: a number of gateways, or a share of them. */
export type Stage = { readonly gateways: number } | { readonly percent: number }

/** How a rollout goes. */
export interface RolloutPlan {
  /** The last one is every gateway, whether it says so or not. */
  readonly stages: readonly Stage[]
  /** How long each stage is watched, in milliseconds. */
  readonly bakeMs: number
}

/** What `GET /v1/rollout` shows. */
export interface RolloutView {
  readonly state: 'running' | 'done' | 'withdrawn'
  readonly version: number
  readonly stage: number
  readonly stages: number
  readonly gateways: readonly string[]
  readonly startedAt: string
  /** How long each stage is watched, in milliseconds. */
  readonly bakeMs: number
  /** Why it was withdrawn. */
  readonly reason?: string
}

/** Looked at this often, in milliseconds. */
const CHECK_MS = 100
/** A staged gateway that has not acknowledged after this long counts as having refused. */
const ACK_MS = 10_000

/** What rollouts need around them. */
export interface RolloutsOptions {
  readonly plane: ControlPlane
  readonly clock: Clock
  readonly log: Log
  /** Puts routes that reached everybody into the history. @param version the table that carries them */
  readonly finished: (spec: RouteSpec, author: Author, version: number) => void
}

interface Running {
  readonly spec: RouteSpec
  readonly author: Author
  readonly plan: RolloutPlan
  view: RolloutView
  baseline: Baseline
  stagedAt: number
}

/** Runs one rollout at a time. */
export class Rollouts {
  readonly #options: RolloutsOptions
  #running: Running | undefined
  #last: RolloutView | undefined
  #cancelTimer: (() => void) | undefined

  constructor(options: RolloutsOptions) {
    this.#options = options
  }

  /** The one that runs, or the last one. */
  get view(): RolloutView | undefined {
    return this.#running?.view ?? this.#last
  }

  /** @throws SluiceError `conflict` while a rollout runs */
  requireIdle(): void {
    if (this.#running === undefined) return
    throw new SluiceError('conflict', 'a rollout is running; wait for it, or abort it with POST /v1/rollout/abort')
  }

  /** Begins with the first stage. @throws SluiceError `conflict` while another one runs, or without gateways */
  begin(spec: RouteSpec, author: Author, plan: RolloutPlan): RolloutView {
    this.requireIdle()
    const { plane, clock } = this.#options
    if (plane.connectedGateways.length === 0)
      throw new SluiceError('conflict', 'no gateway is connected to roll out to')
    const startedAt = new Date(clock.wall()).toISOString()
    const view = {
      state: 'running',
      version: 0,
      stage: 0,
      stages: plan.stages.length,
      gateways: [],
      startedAt,
      bakeMs: plan.bakeMs,
    } as const
    this.#running = { spec, author, plan, view, baseline: new Map(), stagedAt: 0 }
    try {
      this.#enter(this.#running, 0)
    } catch (error) {
      this.#running = undefined
      throw error
    }
    this.#checkLater()
    return this.view as RolloutView
  }

  /** @throws SluiceError `conflict` when none runs */
  abort(reason: string): RolloutView {
    if (this.#running === undefined) throw new SluiceError('conflict', 'no rollout is running')
    this.#withdraw(this.#running, reason)
    return this.view as RolloutView
  }

  close(): void {
    this.#cancelTimer?.()
  }

  #enter(running: Running, stage: number): void {
    const { plane, clock } = this.#options
    // Those that have it keep it: the order of ids decides who is next, whoever comes or goes meanwhile.
    const others = plane.connectedGateways.filter((id) => !running.view.gateways.includes(id)).sort()
    const wanted = sizeOf(running.plan.stages[stage] as Stage, plane.connectedGateways.length)
    const gateways = [...running.view.gateways, ...others].slice(0, Math.max(wanted, running.view.gateways.length))
    running.baseline = baselineOf(plane.loads, gateways)
    running.stagedAt = clock.now()
    const { version } = plane.stageSpec(running.spec, new Set(gateways))
    running.view = { ...running.view, version, stage: stage + 1, gateways }
    plane.events.emit('rollout_stage', { ...running.view })
  }

  #checkLater(): void {
    this.#cancelTimer = this.#options.clock.after(CHECK_MS, () => {
      const running = this.#running
      if (running === undefined) return
      try {
        this.#check(running)
      } catch (error) {
        this.#withdraw(running, error instanceof Error ? error.message : String(error))
      }
      if (this.#running !== undefined) this.#checkLater()
    })
  }

  #check(running: Running): void {
    const problem = this.#problem(running)
    const { clock, plane } = this.#options
    const { gateways, stage, stages } = running.view
    const served = gateways.every((id) => plane.publisher.feeds.get(id)?.converged)
    if (problem !== undefined) this.#withdraw(running, problem)
    else if (!served || clock.now() - running.stagedAt < running.plan.bakeMs) return
    else if (stage < stages) this.#enter(running, stage)
    else this.#finish(running)
  }

  #problem(running: Running): string | undefined {
    const { plane, clock } = this.#options
    const late = clock.now() - running.stagedAt > ACK_MS
    for (const id of running.view.gateways) {
      const feed = plane.publisher.feeds.get(id)
      if (feed === undefined) return `gateway ${id} was lost`
      const nack = feed.lastNack
      if (nack !== undefined && nack.version >= running.view.version) return `gateway ${id} refused it: ${nack.message}`
      if (late && !feed.converged) return `gateway ${id} did not acknowledge it within ${ACK_MS / 1000} s`
    }
    return worsened(plane.loads, running.baseline)
  }

  #finish(running: Running): void {
    const { plane, finished, log } = this.#options
    const { version } = plane.promoteSpec(running.spec, `rollout by ${running.author.who}`)
    this.#end({ ...running.view, state: 'done', version, gateways: plane.connectedGateways })
    finished(running.spec, running.author, version)
    log.info({ version }, 'a rollout reached every gateway')
  }

  #withdraw(running: Running, reason: string): void {
    this.#options.plane.withdrawSpec(`rollout withdrawn: ${reason}`)
    this.#end({ ...running.view, state: 'withdrawn', reason })
    this.#options.log.warn({ version: running.view.version, reason }, 'a rollout was withdrawn')
  }

  #end(view: RolloutView): void {
    this.#running = undefined
    this.#last = view
    this.#cancelTimer?.()
    this.#options.plane.events.emit(`rollout_${view.state}`, { ...view })
  }
}

function sizeOf(stage: Stage, gateways: number): number {
  if ('gateways' in stage) return Math.min(gateways, stage.gateways)
  return Math.max(1, Math.ceil((gateways * stage.percent) / 100))
}

/**
 * Reads `1,10%,100%` and `30s`. A last stage that is not everybody is followed by one that is.
 * @throws SluiceError `bad_request` with the parameter at fault
 */
export function readRolloutPlan(stages: string, bake: string | null): RolloutPlan {
  const read = stages.split(',').map((text): Stage => {
    const match = /^\s*(\d{1,5})\s*(%?)\s*$/.exec(text)
    const value = Number(match?.[1] ?? 0)
    if (match === null || value < 1 || (match[2] === '%' && value > 100)) {
      throw new SluiceError(
        'bad_request',
        `stage ${JSON.stringify(text)} is neither a number of gateways nor a share such as 10%`,
        {
          path: 'stages',
        },
      )
    }
    return match[2] === '%' ? { percent: value } : { gateways: value }
  })
  const last = read.at(-1)
  const whole = last !== undefined && 'percent' in last && last.percent === 100
  return { stages: whole ? read : [...read, { percent: 100 }], bakeMs: readBake(bake ?? '30s') }
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000 }

function readBake(text: string): number {
  const match = /^(\d{1,7})(ms|s|m)$/.exec(text)
  const ms = Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? Number.NaN)
  if (ms >= 0 && ms <= 86_400_000) return ms
  throw new SluiceError('bad_request', `bake ${JSON.stringify(text)} is not a time such as 30s, 500ms or 5m`, {
    path: 'bake',
  })
}
