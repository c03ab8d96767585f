/** Prometheus text of a gateway: everything is counted in plain fields and copied when somebody asks. */

import { Counter, Gauge, Registry } from 'prom-client'
import type { BridgeStatus } from './bridge/bridge.js'
import type { Counters } from './counters.js'

/** Where the numbers come from; read at scrape time. */
export interface MetricSources {
  readonly gateway: string
  /** Number of this thread of the gateway, where it has several. */
  readonly thread?: number | undefined
  readonly counters: Counters
  /** Further counters by metric name without the `sluice_` prefix, for instance the fan-out's. */
  readonly more: () => Readonly<Record<string, number>>
  readonly sessions: () => number
  readonly tableVersion: () => number
  readonly pendingMoves: () => number
  /** Worker id and whether its link is up. */
  readonly links: () => Iterable<{ worker: string; up: boolean; sessions: number }>
  readonly bridges: () => readonly BridgeStatus[]
}

const NAMES: Readonly<Record<keyof Counters, [string, string]>> = {
  connects: ['connects_total', 'Connections that were accepted.'],
  disconnects: ['disconnects_total', 'Connections that ended.'],
  framesUp: ['frames_up_total', 'Frames from devices to workers.'],
  framesDown: ['frames_down_total', 'Frames from workers to devices.'],
  unrouted: ['frames_unrouted_total', 'Frames that no route took.'],
  overloaded: ['frames_overloaded_total', 'Frames refused or dropped because a bounded queue was full.'],
  droppedDown: ['frames_dropped_total', 'Fire-and-forget frames for devices that were away or too slow.'],
  badFrames: ['worker_bad_frames_total', 'Frames of workers that could not be decoded.'],
  movedClean: ['moves_total', 'Handoffs in which the former owner let go.'],
  movedLost: ['moves_lost_total', 'Handoffs in which the former owner was lost.'],
  errors: ['errors_total', 'Errors that were told to devices.'],
  tablesApplied: ['tables_applied_total', 'Routing tables that were taken into use.'],
  tablesRefused: ['tables_refused_total', 'Routing tables that were refused.'],
}

/** A registry of its own per gateway: several gateways can live in one process. */
export function createMetrics(sources: MetricSources): { text(): Promise<string>; readonly contentType: string } {
  const registry = new Registry()
  const { gateway, thread } = sources
  registry.setDefaultLabels(thread === undefined ? { gateway } : { gateway, thread: String(thread) })
  const registers = [registry]
  for (const [field, [name, help]] of Object.entries(NAMES)) {
    const key = field as keyof Counters
    new Counter({
      name: `sluice_${name}`,
      help,
      registers,
      collect() {
        this.reset()
        this.inc(sources.counters[key])
      },
    })
  }
  gauge('sluice_sessions', 'Sessions on this gateway.', sources.sessions)
  gauge('sluice_table_version', 'Version of the routing table in force.', sources.tableVersion)
  gauge('sluice_moves_pending', 'Handoffs that wait or run.', sources.pendingMoves)
  new Gauge({
    name: 'sluice_link_up',
    help: 'Whether the link to a worker is up.',
    labelNames: ['worker'],
    registers,
    collect() {
      this.reset()
      for (const { worker, up } of sources.links()) this.set({ worker }, up ? 1 : 0)
    },
  })
  new Gauge({
    name: 'sluice_detail',
    help: 'Counters of the parts: fan-out, MQTT, WebSocket.',
    labelNames: ['counter'],
    registers,
    collect() {
      for (const [counter, value] of Object.entries(sources.more())) this.set({ counter }, value)
    },
  })

  new Gauge({
    name: 'sluice_bridge_up',
    help: 'Whether a bridge that runs here is connected to its broker.',
    labelNames: ['bridge'],
    registers,
    collect() {
      this.reset()
      for (const { name, state } of sources.bridges())
        if (state !== 'standby') this.set({ bridge: name }, state === 'connected' ? 1 : 0)
    },
  })
  new Gauge({
    name: 'sluice_bridge_messages',
    help: 'Messages of a bridge: sent, received, dropped, refused, echoes since the start; queued now.',
    labelNames: ['bridge', 'what'],
    registers,
    collect() {
      this.reset()
      for (const { name, queued, sent, received, dropped, refused, echoes } of sources.bridges())
        for (const [what, count] of Object.entries({ queued, sent, received, dropped, refused, echoes }))
          this.set({ bridge: name, what }, count)
    },
  })

  function gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  }

  return { text: () => registry.metrics(), contentType: registry.contentType }
}
