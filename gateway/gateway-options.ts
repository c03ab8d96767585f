/** What a gateway is started with. Command-line flags and configuration files end up here. */

import type { BridgeOptions } from './bridge/bridge-options.js'
import type { DialLine } from './control/line.js'
import type { AccessRules } from './edge/mqtt/access.js'
import type { MqttOptions } from './edge/mqtt/options.js'
import type { ServerTls } from './edge/server/server.js'
import type { WebSocketEdgeOptions } from './edge/websocket/edge.js'
import type { GatewayView } from './http-api.js'
import type { Clock } from './ports.js'

/** The log; a pino logger fits. */
export interface GatewayLog {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** What makes a gateway one thread of several that share its ports and its name. */
export interface GatewayThread {
  /** 0, 1, 2 ... */
  readonly index: number
  /** Where each thread is dialed by other threads and gateways, by number. */
  readonly peers: readonly string[]
  /** Where this one listens for them. */
  readonly peerPort: number
  /** The way to the coordinator. */
  readonly dial: DialLine
  /** What all threads together say, from what this one says. */
  readonly widen: (view: GatewayView) => GatewayView
}

export interface GatewayOptions {
  readonly id: string
  readonly region: string
  readonly location?: { readonly lat: number; readonly lon: number }
  /** Address that HTTP, WebSocket and MQTT listen on. */
  readonly host: string
  /** HTTP and WebSocket; 0 for any free port. */
  readonly port: number
  /** MQTT over TCP; 0 for any free port. */
  readonly mqttPort: number
  /** Host name or address that devices and other gateways reach it by; `host` when absent. */
  readonly advertise?: string
  /** Base URL of the coordinator; without one it serves the table on disk. */
  readonly coordinator?: string
  /** Folder for the last good table and MQTT sessions; nothing is kept when absent. */
  readonly data?: string
  /** Age from which a start refuses the table in `data`, milliseconds: time without a coordinator. Any age is taken when absent. */
  readonly maxTableAgeMs?: number
  /** NATS servers for fan-out and claims across gateways; without them gateways dial each other. */
  readonly nats?: string
  /** Shared secret of the fleet: control, links, peers. */
  readonly token?: string
  /** Certificate and key of all its listeners; without them nothing is encrypted. */
  readonly tls?: ServerTls
  /** Which HTTP server to take. */
  readonly prefer?: 'auto' | 'uws' | 'node'
  /** Sessions it is meant to hold; 0 or absent: no stated limit. */
  readonly capacity?: number
  /** How long a session waits for its device to come back, milliseconds. */
  readonly resumeWindowMs?: number
  readonly mqtt?: Partial<MqttOptions>
  /** Who may publish and subscribe to what over MQTT; everything when absent. */
  readonly mqttRules?: AccessRules
  readonly websocket?: Partial<WebSocketEdgeOptions>
  /** MaxMind-format database that gives callers of `/v1/nearest` their coordinates. */
  readonly geoDatabase?: string
  /** Addresses and CIDR blocks of proxies whose `X-Forwarded-For` is believed. */
  readonly trustedProxy?: readonly string[]
  /** Upstream MQTT brokers that topics are mirrored to and from. */
  readonly bridges?: readonly BridgeOptions[]
  readonly clock: Clock
  readonly log: GatewayLog
  /** 0 to 1. */
  readonly random: () => number
  /** Makes ids that cannot be guessed. */
  readonly newId: () => string
  readonly pid: number
  /** Absent: one thread is the whole gateway. */
  readonly thread?: GatewayThread
}
