/**
 * The routing table: everything a gateway needs to route. Immutable and numbered; a gateway swaps one reference to it.
 * This file holds its shape. Its checks and its deltas are in `table-check.ts` and `table-delta.ts`.
 */

import type { SLOTS } from './hash.js'

/** How a pool chooses a worker for a new binding. */
export const POLICIES = ['consistent_hash', 'least_connections', 'round_robin', 'random'] as const
export type Policy = (typeof POLICIES)[number]

/** What of a session is hashed to a slot: the device id, a header's value, or the first N levels of the topic. */
export type AffinityKey = 'device' | `header:${string}` | `topic:${number}`

/** A text condition: a glob with `*` and `?` as a plain string, or one of the explicit forms. */
export type TextMatch = string | { exact: string } | { prefix: string } | { regex: string } | { present: boolean }

/** Conditions of a route; all that are given must hold. */
export interface RouteMatch {
  /** MQTT topic filter. */
  readonly topic?: string
  readonly type?: 'data' | 'publish'
  readonly protocol?: TextMatch
  readonly region?: TextMatch
  /** Id of the gateway that holds the session. */
  readonly gateway?: TextMatch
  readonly device?: TextMatch
  readonly headers?: Readonly<Record<string, TextMatch>>
}

export interface RouteTarget {
  readonly pool: string
  /** Share of the devices, relative to the other targets of the route; 0 sends none. */
  readonly weight: number
}

export interface Route {
  readonly name: string
  readonly match: RouteMatch
  readonly to: readonly RouteTarget[]
}

/** Slot owner that means "nobody". */
export const UNOWNED = 0xffff

export interface Pool {
  readonly name: string
  readonly policy: Policy
  readonly key: AffinityKey
  /** No worker holds more than this times the mean of the pool's sessions. At least 1. */
  readonly maxLoad: number
  /** Worker ids, in the order that `slots` indexes. Holds draining workers too. */
  readonly members: readonly string[]
  /** Owner of each of the {@link SLOTS} slots as an index into `members`, or {@link UNOWNED}. Empty for the policies without slots. */
  readonly slots: Uint16Array
}

/** `up` takes new bindings; `draining` keeps what it has until it is moved; `ejected` is passed over while others can take its place. */
export type WorkerState = 'up' | 'draining' | 'ejected'

export interface WorkerEntry {
  readonly id: string
  readonly pool: string
  /** `tcp://HOST:PORT`, `tls://HOST:PORT` or `unix:/PATH`. */
  readonly link: string
  /** Relative capacity, 0 to 1000; 1 is usual. */
  readonly weight: number
  readonly state: WorkerState
}

export interface GatewayEntry {
  readonly id: string
  readonly region: string
  /** Degrees; absent when the operator gave none. */
  readonly location?: { readonly lat: number; readonly lon: number }
  /** Base URLs: `http://HOST:PORT`, `ws://HOST:PORT/v1/connect`, `mqtt://HOST:PORT`. */
  readonly http: string
  readonly ws: string
  readonly mqtt: string
  /**
   * Where other gateways dial each of its threads, by number; absent for one thread, which is dialed at `http`.
   * A thread's name on the bus is {@link threadName}.
   */
  readonly peers?: readonly string[]
  readonly state: 'up' | 'draining'
  /** Sessions it is meant to hold at most; 0: no stated limit. */
  readonly capacity: number
}

/** Most threads of one gateway. */
export const MAX_THREADS = 64

/** What thread `index` of gateway `id` is called among gateways. */
export function threadName(id: string, index: number): string {
  return `${id}/${index}`
}

export interface RoutingTable {
  /** Counts every change, 1, 2, 3 ... across coordinator restarts. */
  readonly version: number
  readonly routes: readonly Route[]
  readonly pools: ReadonlyMap<string, Pool>
  readonly workers: ReadonlyMap<string, WorkerEntry>
  readonly gateways: ReadonlyMap<string, GatewayEntry>
}

/** What a gateway holds before it ever saw a table: it routes nothing. */
export const EMPTY_TABLE: RoutingTable = {
  version: 0,
  routes: [],
  pools: new Map(),
  workers: new Map(),
  gateways: new Map(),
}

/** The routes that apply when nobody gave any: one pool, one route that sends everything to it. */
export const DEFAULT_POOL = 'default'

/** Length of a slot table. */
export type SlotCount = typeof SLOTS
