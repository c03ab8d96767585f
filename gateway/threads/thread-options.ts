import { join } from 'node:path'
import type { RunGatewayOptions } from '../run-options.js'
import type { ThreadStart } from './thread-message.js'

/** What thread `index` takes of the gateway's options: a folder of its own, and its share of what is limited as a whole. */
export function optionsOfThread({ index, peers, options }: ThreadStart): RunGatewayOptions {
  const { data, websocket, bridges, ...rest } = options
  return {
    ...rest,
    ...(data === undefined ? {} : { data: join(data, `thread-${index}`) }),
    // One of them: a bridge of each thread would carry every message as many times.
    ...(bridges === undefined || index > 0 ? {} : { bridges }),
    ...(websocket === undefined ? {} : { websocket: shareOf(websocket, peers.length) }),
  }
}

/** Connections spread evenly over the threads, as good as: so do their limits. */
function shareOf(limits: NonNullable<RunGatewayOptions['websocket']>, threads: number): typeof limits {
  const share = (value: number) => Math.ceil(value / threads)
  const { maxConnections, connectsPerSecond } = limits
  return {
    ...limits,
    ...(maxConnections === undefined ? {} : { maxConnections: share(maxConnections) }),
    ...(connectsPerSecond === undefined ? {} : { connectsPerSecond: share(connectsPerSecond) }),
  }
}
