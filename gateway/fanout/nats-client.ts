/** The settings of the NATS client, and how `--nats` becomes some of them. */

import type { NodeConnectionOptions } from '@nats-io/transport-node'

/** Milliseconds between two questions whether the server lives; it is given up when two went unanswered: within 4 s. */
const PING_MS = 1000

/** Milliseconds between two attempts are 250 to 500: cross-gateway delivery is to be back within 3 s after the server is. */
const CLIENT: NodeConnectionOptions = {
  noEcho: true,
  reconnect: true,
  maxReconnectAttempts: -1,
  reconnectTimeWait: 250,
  reconnectJitter: 250,
  pingInterval: PING_MS,
  maxPingOut: 2,
  timeout: 2000,
  ignoreAuthErrorAbort: true,
}

/**
 * @param servers `nats://[USER:PASSWORD@]HOST:PORT`, several separated by commas; credentials of the first one count
 * @param name what the server's monitoring shows
 */
export function clientOptions(servers: string, name: string): NodeConnectionOptions {
  const urls = servers
    .split(',')
    .map((server) => new URL(server.includes('://') ? server.trim() : `nats://${server.trim()}`))
  const first = urls[0]
  const options: NodeConnectionOptions = { ...CLIENT, name, servers: urls.map((url) => url.host) }
  if (first?.password) {
    options.user = decodeURIComponent(first.username)
    options.pass = decodeURIComponent(first.password)
  } else if (first?.username) options.token = decodeURIComponent(first.username)
  if (urls.some((url) => url.protocol === 'tls:')) options.tls = {}
  return options
}

/** `servers` as it may be logged. */
export function hidePasswords(servers: string): string {
  return servers.replace(/\/\/[^@/,]*@/g, '//***@')
}
