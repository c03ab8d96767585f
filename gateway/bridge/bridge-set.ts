/** The bridges of one gateway, and which of them it runs: of a fleet, one gateway runs each. */

import type { RoutingTable } from '../../proto/table.js'
import { Bridge, type BridgePort, type BridgeStatus } from './bridge.js'
import { type BridgeOptions, checkBridges } from './bridge-options.js'
import { tlsOptions } from './upstream.js'

export interface BridgeSet {
  /** Follows a new table: takes a bridge over, or leaves it to another gateway. */
  useTable(table: RoutingTable): void
  status(): BridgeStatus[]
  close(): Promise<void>
}

/** A gateway without bridges: nothing is loaded for it. */
export const NO_BRIDGES: BridgeSet = { useTable: () => {}, status: () => [], close: async () => {} }

/**
 * @param gateway id of this gateway
 * @param alone true: there is no coordinator, so nobody else runs them
 * @throws SluiceError `bad_request` naming what is wrong
 */
export async function createBridges(
  options: readonly BridgeOptions[],
  port: Omit<BridgePort, 'connect'>,
  gateway: string,
  alone: boolean,
): Promise<BridgeSet> {
  if (options.length === 0) return NO_BRIDGES
  checkBridges(options)
  for (const { name, tls } of options) tlsOptions(tls, `bridge ${name}`)
  const { connect } = (await import('mqtt')).default
  const bridges = options.map((one) => ({ ...one, bridge: new Bridge(one, { ...port, connect }) }))
  for (const { bridge, runs } of bridges) if (alone || runs === 'here') bridge.start()
  return {
    useTable(table) {
      if (alone) return
      const here = runnerOf(table) === gateway
      for (const { bridge, runs } of bridges) {
        if (runs === 'here') continue
        if (here) bridge.start()
        else void bridge.stop()
      }
    },
    status: () => bridges.map(({ bridge }) => bridge.status()),
    close: async () => {
      await Promise.all(bridges.map(({ bridge }) => bridge.stop()))
    },
  }
}

/** The gateway that runs the bridges: the lowest id that is up; while all drain, the lowest of them. */
export function runnerOf({ gateways }: RoutingTable): string | undefined {
  const up = [...gateways.values()].filter(({ state }) => state === 'up')
  const ids = (up.length > 0 ? up : [...gateways.values()]).map(({ id }) => id)
  return ids.sort()[0]
}
