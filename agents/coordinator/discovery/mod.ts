/** Discovery of workers that cannot register themselves: docs/discovery.md. */

import type { ConnectionOptions } from 'node:tls'
import { SluiceError } from '../../../proto/errors.js'
import { DiscoveredFleet, type DiscoveredFleetOptions } from './discovered-fleet.js'
import type { SourceContext } from './discovery.js'
import { DEFAULT_HEALTH, type HealthOptions } from './health.js'
import { createSource, type SourceSecrets } from './source-spec.js'

export type { HealthOptions } from './health.js'
export type { SourceSecrets } from './source-spec.js'

/** What people set. */
export interface DiscoverySettings {
  /** Each as after `--discover`: `static:…`, `dns:…`, `srv:…`, `consul:…`, `etcd:…`. */
  readonly sources: readonly string[]
  readonly health?: Partial<HealthOptions>
  readonly secrets?: SourceSecrets
  /** For links that are `tls://`. */
  readonly tls?: ConnectionOptions
}

/** Bounds of what is set about checks. */
const HEALTH_BOUNDS: Readonly<Record<keyof HealthOptions, readonly [number, number]>> = {
  intervalMs: [50, 3_600_000],
  timeoutMs: [10, 60_000],
  healthy: [1, 100],
  unhealthy: [1, 100],
}

/**
 * Makes sources and checks of them; `start()` begins.
 * @throws SluiceError as {@link checkDiscovery}
 */
export function createDiscovery(
  { sources, health, secrets, tls }: DiscoverySettings,
  context: Omit<DiscoveredFleetOptions, 'sources' | 'health' | 'tls'>,
): DiscoveredFleet {
  return new DiscoveredFleet({
    ...context,
    sources: sources.map((text) => createSource(text, context, secrets)),
    health: healthOf(health),
    ...(tls === undefined ? {} : { tls }),
  })
}

/** Checks settings before there is anything to discover for. @throws SluiceError `bad_request` naming the one at fault */
export function checkDiscovery({ sources, health, secrets }: DiscoverySettings, context: SourceContext): void {
  healthOf(health)
  for (const text of sources) createSource(text, context, secrets)
}

function healthOf(given: Partial<HealthOptions> = {}): HealthOptions {
  const health: Record<keyof HealthOptions, number> = { ...DEFAULT_HEALTH }
  for (const [name, [least, most]] of Object.entries(HEALTH_BOUNDS)) {
    const value = given[name as keyof HealthOptions]
    if (value === undefined) continue
    if (!(Number.isInteger(value) && value >= least && value <= most)) {
      const message = `health checks: ${name} has to be a whole number from ${least} to ${most}, not ${value}`
      throw new SluiceError('bad_request', message, { path: `health.${name}` })
    }
    health[name as keyof HealthOptions] = value
  }
  return health
}
