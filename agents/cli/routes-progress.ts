/** Follows routes to the gateways: at once, or stage by stage. */

import type { AdminClient } from './admin-client.js'
import { CliError, ExitCode } from './cli-error.js'
import type { StatusView } from './fleet-view.js'
import { Propagation } from './propagation.js'
import { renderSpan } from './table-view.js'

/** A rollout, as `GET /v1/rollout` shows it. */
export interface RolloutState {
  readonly state: 'running' | 'done' | 'withdrawn'
  readonly version: number
  readonly stage: number
  readonly stages: number
  readonly gateways: readonly string[]
  readonly startedAt: string
  /** How long each stage is watched, in milliseconds. */
  readonly bakeMs: number
  readonly reason?: string
}

/** Takes the lines of the progress, one at a time. */
export type Say = (line: string) => void

const POLL_MS = 100
/** A coordinator that cannot be reached for this long, in milliseconds, is given up: another one may lead by then. */
const AWAY_MS = 15_000

/**
 * Resolves when every gateway serves `version` or a later one, one has refused it and the others have answered, or the
 * time is up.
 */
export async function followTable(
  client: AdminClient,
  version: number,
  limitMs: number,
  say: Say,
): Promise<Propagation> {
  const progress = new Propagation(version)
  const began = performance.now()
  for (;;) {
    const { gateways } = (await patiently(client, '/v1/status')) as StatusView
    const after = performance.now() - began
    for (const line of progress.look(gateways, after)) say(line)
    if (progress.settled || after >= limitMs) return progress
    await pause()
  }
}

/**
 * Resolves when the rollout has ended, one way or the other. It goes on when nobody follows it.
 * @throws CliError when the coordinator does not know it any more, as after a restart
 */
export async function followRollout(client: AdminClient, first: RolloutState, say: Say): Promise<RolloutState> {
  let stage = 0
  let progress = new Propagation(first.version)
  let since = performance.now()
  let watched = false
  for (;;) {
    const now = await sameRollout(client, first)
    if (now.state === 'running' && now.stage !== stage) {
      stage = now.stage
      since = performance.now()
      watched = false
      progress = new Propagation(now.version, now.gateways)
      say(`Stage ${stage} of ${now.stages}: table ${now.version} for ${named(now.gateways)}`)
    }
    const { gateways } = (await patiently(client, '/v1/status')) as StatusView
    for (const line of progress.look(gateways, performance.now() - since)) say(line)
    if (now.state !== 'running') return now
    if (!watched && progress.settled && progress.behind.length === 0) {
      watched = true
      say(`  all of them serve it; now they are watched for ${renderSpan(now.bakeMs)}`)
    }
    await pause()
  }
}

async function sameRollout(client: AdminClient, first: RolloutState): Promise<RolloutState> {
  const { rollout } = (await patiently(client, '/v1/rollout')) as { rollout: RolloutState | null }
  if (rollout?.startedAt === first.startedAt) return rollout
  throw new CliError('the coordinator does not know this rollout any more: it was restarted, or another one leads', {
    exitCode: ExitCode.NOT_SERVED,
    fix: 'The routes from before apply. See `sluice routes history`, then apply the file again.',
  })
}

/** A coordinator that restarts, or hands over to another one, is asked again. */
async function patiently(client: AdminClient, path: string): Promise<unknown> {
  const until = performance.now() + AWAY_MS
  for (;;) {
    try {
      return await client.get(path)
    } catch (error) {
      const away = error instanceof CliError && error.exitCode === ExitCode.UNREACHABLE
      if (!away || performance.now() > until) throw error
      await pause()
    }
  }
}

function named(gateways: readonly string[]): string {
  const shown = gateways.slice(0, 4).join(', ')
  return gateways.length > 4 ? `${shown} and ${gateways.length - 4} more` : shown
}

const pause = () => new Promise((resolve) => setTimeout(resolve, POLL_MS))
