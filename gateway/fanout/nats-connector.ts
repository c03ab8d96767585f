/** Connects to NATS, and again whenever the connection is lost, until it is closed. */

import { connect, type NatsConnection, type NodeConnectionOptions } from '@nats-io/transport-node'
import type { Clock } from '../ports.js'
import type { Log } from './log.js'
import { clientOptions, hidePasswords } from './nats-client.js'

export interface ConnectorPort {
  /** What the server's monitoring shows. */
  readonly name: string
  readonly servers: string
  /** Beside what `servers` says. */
  readonly connection: NodeConnectionOptions | undefined
  readonly clock: Clock
  readonly log: Log
  /** There is a new client, which has no subscriptions; {@link connected} follows. */
  readonly opened: () => void
  readonly connected: (nc: NatsConnection) => void
  readonly disconnected: () => void
  /** An attempt failed. */
  readonly failed: () => void
}

/** Pause between attempts at the first connection, in ms. */
const FIRST_RETRY_MS = 500
/** Longest that the client may take to let go of a server that does not answer any more, in ms. */
const LET_GO_MS = 500

export class NatsConnector {
  readonly #port: ConnectorPort
  #nc: NatsConnection | undefined
  #up = false
  #closed = false
  #reason = 'not connected yet'
  #cancel: () => void = () => {}
  /** True once the client has let go of a lost connection. */
  #letGo = true

  constructor(port: ConnectorPort) {
    this.#port = port
  }

  get up(): boolean {
    return this.#up
  }

  /** Why it is not. */
  get reason(): string {
    return this.#reason
  }

  /** The client; it takes subscriptions while its connection is lost, too. Undefined before the first connection. */
  get client(): NatsConnection | undefined {
    return this.#nc === undefined || this.#nc.isClosed() ? undefined : this.#nc
  }

  async connect(): Promise<void> {
    const { name, servers, connection, clock, log, opened, failed } = this.#port
    try {
      const nc = await connect({ ...clientOptions(servers, name), ...connection })
      if (this.#closed) return await nc.close()
      this.#nc = nc
      opened()
      this.#connected(nc)
      await this.#watch(nc)
      this.#disconnected('closed')
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      if (reason !== this.#reason) log.warn({ servers: hidePasswords(servers), reason }, 'cannot connect to NATS')
      this.#reason = reason
      failed()
    }
    // The first connection is ours to try again, later ones the client's, unless it thinks them hopeless.
    if (!this.#closed) this.#cancel = clock.after(FIRST_RETRY_MS, () => void this.connect())
  }

  /** @param settle what is awaited before, while NATS is there */
  async close(settle: (nc: NatsConnection) => Promise<void>): Promise<void> {
    this.#closed = true
    this.#cancel()
    const nc = this.#nc
    if (nc === undefined) return
    if (this.#up) await settle(nc)
    await nc.close()
  }

  /** Follows the connection until the client gives it up, or we give up the client. */
  #watch(nc: NatsConnection): Promise<void> {
    return new Promise((resolve, reject) => {
      const follow = async () => {
        for await (const status of nc.status()) {
          if (this.#nc !== nc) return
          if (status.type === 'disconnect') this.#lost(status.server)
          else if (status.type === 'staleConnection') this.#stale(nc, resolve)
          else if (status.type === 'reconnect') this.#connected(nc)
          else if (status.type === 'error')
            this.#port.log.warn({ error: status.error.message }, 'NATS reports an error')
        }
      }
      follow().then(resolve, reject)
    })
  }

  #connected(nc: NatsConnection): void {
    this.#up = true
    this.#port.connected(nc)
  }

  #lost(server: string): void {
    this.#letGo = true
    this.#disconnected(`lost ${server}`)
  }

  /**
   * The server does not answer. The client writes all that it has before it lets go of the connection, which a server that
   * stands still, with its buffers full, never takes: then we leave the client to that, and connect anew.
   */
  #stale(nc: NatsConnection, leave: () => void): void {
    this.#letGo = false
    this.#disconnected(`${nc.getServer()} does not answer`)
    this.#cancel = this.#port.clock.after(LET_GO_MS, () => {
      if (this.#letGo || this.#nc !== nc) return
      this.#nc = undefined
      nc.close().catch(() => {})
      leave()
    })
  }

  #disconnected(reason: string): void {
    if (!this.#up) return
    this.#up = false
    this.#reason = reason
    this.#port.disconnected()
    if (!this.#closed) this.#port.log.warn({ reason }, 'NATS is away: nothing crosses to other gateways')
  }
}
