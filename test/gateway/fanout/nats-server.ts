/** A real nats-server for tests. */

import { ForeignServer, freePort, isInstalled } from '../foreign-server.js'

export const hasNatsServer = isInstalled('nats-server', '--version')

export class NatsServer extends ForeignServer {
  readonly #flags: readonly string[]

  private constructor(port: number, flags: readonly string[]) {
    super('nats-server', port)
    this.#flags = flags
  }

  /** @param flags `-js` and its store when absent */
  static async start(flags?: readonly string[]): Promise<NatsServer> {
    const server = new NatsServer(await freePort(), flags ?? ['-js'])
    await server.start()
    return server
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`
  }

  protected get args(): readonly string[] {
    return ['-a', '127.0.0.1', '-p', String(this.port), '-sd', this.dir, ...this.#flags]
  }
}
