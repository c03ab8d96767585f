/** A real mosquitto for tests: its own port and directory, started and stopped by the test. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// `mosquitto -h` ends with 3 where it is installed; a missing program has no status at all.
export const hasMosquitto = spawnSync('mosquitto', ['-h']).status !== null

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

export class Mosquitto {
  readonly port: number
  readonly #dir = mkdtempSync(join(tmpdir(), 'sluice-mosquitto-'))
  #process: ChildProcess | undefined

  private constructor(port: number, lines: readonly string[]) {
    this.port = port
    // Started by root it would become another user, who cannot read the test's own files.
    const config = ['user root', `listener ${port} 127.0.0.1`, 'allow_anonymous true', ...lines]
    writeFileSync(join(this.#dir, 'mosquitto.conf'), `${config.join('\n')}\n`)
  }

  /** @param lines of its configuration, besides the listener */
  static async start(...lines: string[]): Promise<Mosquitto> {
    const broker = new Mosquitto(await freePort(), lines)
    await broker.start()
    return broker
  }

  async start(): Promise<void> {
    const child = spawn('mosquitto', ['-c', join(this.#dir, 'mosquitto.conf')], { stdio: 'ignore' })
    this.#process = child
    while (!(await accepts(this.port))) {
      if (child.exitCode !== null) throw new Error(`mosquitto ended with ${child.exitCode}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async stop(): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (child === undefined || child.exitCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }

  async remove(): Promise<void> {
    await this.stop()
    rmSync(this.#dir, { recursive: true, force: true })
  }
}
