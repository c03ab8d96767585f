import type { GatewayOptions } from './gateway-options.js'

/** {@link GatewayOptions} without what the process provides. Plain data: with several threads it travels to each of them. */
export type RunGatewayOptions = Omit<GatewayOptions, 'clock' | 'log' | 'random' | 'newId' | 'pid' | 'thread'> & {
  /** pino's levels; `warn` when absent. */
  readonly logLevel?: string
}

/** {@link RunGatewayOptions} of a gateway on several cores. */
export interface RunThreadsOptions extends RunGatewayOptions {
  /** Ports at which other threads and gateways dial each thread: one for each thread, none of them 0. */
  readonly peerPorts: readonly number[]
}
