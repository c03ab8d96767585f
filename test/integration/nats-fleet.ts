/** What the tests of fan-out over NATS share: a server with its monitoring, and a view of what it carried. */

import { NatsServer } from '../gateway/fanout/nats-server.js'
import { freePort } from '../gateway/foreign-server.js'

/** One client connection, as nats-server's `/connz` shows it: `in` and `out` are the server's. */
export interface NatsConnection {
  name: string
  in_msgs: number
  out_msgs: number
  subscriptions: number
}

/** Metrics of a gateway: `sluice_detail` by counter. */
export type Detail = Readonly<Record<string, number>>

export class MonitoredNats {
  readonly server: NatsServer
  readonly #monitor: number

  private constructor(server: NatsServer, monitor: number) {
    this.server = server
    this.#monitor = monitor
  }

  static async start(): Promise<MonitoredNats> {
    const monitor = await freePort()
    return new MonitoredNats(await NatsServer.start(['-js', '-m', String(monitor)]), monitor)
  }

  /** The connection of a gateway. */
  async connectionOf(gateway: string): Promise<NatsConnection> {
    const answer = await fetch(`http://127.0.0.1:${this.#monitor}/connz`)
    const { connections } = (await answer.json()) as { connections: NatsConnection[] }
    const found = connections.find(({ name }) => name === `sluice ${gateway}`)
    if (found === undefined) throw new Error(`${gateway} is not connected to NATS`)
    return found
  }
}

/** What a gateway counted, from its `/metrics`. */
export async function detailOf(http: string): Promise<Detail> {
  const text = await (await fetch(new URL('/metrics', http))).text()
  const found = [...text.matchAll(/^sluice_detail\{counter="(\w+)"[^}]*\} (\S+)$/gm)]
  return Object.fromEntries(found.map(([, counter, value]) => [counter, Number(value)]))
}

export interface BusState {
  state: string
  reason?: string
  queued?: number
  peers: { id: string }[]
}

/** How a gateway says that it reaches the others, from its `/v1/status`. */
export async function busOf(http: string): Promise<BusState> {
  const answer = await fetch(new URL('/v1/status', http))
  return ((await answer.json()) as { bus: BusState }).bus
}
