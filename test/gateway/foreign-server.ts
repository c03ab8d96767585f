/** Real servers of others for tests: each on its own port, with a directory of its own, started and stopped by the test. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** True when the program can be started at all, whatever it then says. */
export function isInstalled(program: string, flag: string): boolean {
  return spawnSync(program, [flag]).status !== null
}

/** A TCP port that nobody has. */
export async function freePort(): Promise<number> {
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

/** One server; it may be stopped and started again, and finds its directory as it was. */
export abstract class ForeignServer {
  readonly port: number
  protected readonly dir: string
  readonly #program: string
  #process: ChildProcess | undefined

  protected constructor(program: string, port: number) {
    this.#program = program
    this.port = port
    this.dir = mkdtempSync(join(tmpdir(), `sluice-${program}-`))
  }

  /** Its command line. */
  protected abstract get args(): readonly string[]

  /** Resolves when it accepts connections. */
  async start(): Promise<void> {
    const child = spawn(this.#program, this.args, { stdio: 'ignore' })
    this.#process = child
    while (!(await accepts(this.port))) {
      if (child.exitCode !== null) throw new Error(`${this.#program} ended with ${child.exitCode}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** Stands still as a machine does that hangs: its connections stay, and nobody answers. */
  freeze(): void {
    this.#process?.kill('SIGSTOP')
  }

  thaw(): void {
    this.#process?.kill('SIGCONT')
  }

  /** Killed, frozen or not. */
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
    rmSync(this.dir, { recursive: true, force: true })
  }
}
