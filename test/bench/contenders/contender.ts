/** Who is measured: Sluice, and what people would take instead. */

/** Where everything runs, as taskset takes it; undefined where nothing is pinned. */
export interface Cores {
  /** The server or gateway under test. */
  readonly server: string | undefined
  /** Workers, servers behind a proxy, and the load. */
  readonly rest: string | undefined
}

/** A running contender. */
export interface Running {
  /** WebSocket and MQTT ports; 0 where it has none. */
  readonly ws: number
  readonly mqtt: number
  /** The processes under test: their CPU and memory are reported, the first one's is the one that counts. */
  readonly pids: readonly number[]
  stop(): Promise<void>
}

export interface Contender {
  readonly name: string
  /** True for Sluice: its messages are Frames, and its paths its own. */
  readonly frames: boolean
  /** Why it cannot be measured here; undefined when it can. */
  missing(): string | undefined
  start(cores: Cores): Promise<Running>
}
