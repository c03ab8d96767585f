/** A real mosquitto for tests. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ForeignServer, freePort, isInstalled } from '../foreign-server.js'

export const hasMosquitto = isInstalled('mosquitto', '-h')

export class Mosquitto extends ForeignServer {
  private constructor(port: number, lines: readonly string[]) {
    super('mosquitto', port)
    // Started by root it would become another user, who cannot read the test's own files.
    const config = ['user root', `listener ${port} 127.0.0.1`, 'allow_anonymous true', ...lines]
    writeFileSync(this.#file, `${config.join('\n')}\n`)
  }

  /** @param lines of its configuration, besides the listener */
  static async start(...lines: string[]): Promise<Mosquitto> {
    const broker = new Mosquitto(await freePort(), lines)
    await broker.start()
    return broker
  }

  protected get args(): readonly string[] {
    return ['-c', this.#file]
  }

  get #file(): string {
    return join(this.dir, 'mosquitto.conf')
  }
}
