/** Child processes that stay on their cores, and none of which outlives the bench. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'

/** How long a server may take to be ready, in milliseconds. */
const READY_MS = 15_000
const POLL_MS = 20

const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** True when a program of this name can be started. */
export function isInstalled(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`], { env: withSystemPaths() }).status === 0
}

/** Debian keeps servers where a user's shell does not look. */
function withSystemPaths(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin:/usr/local/sbin` }
}

const canPin = isInstalled('taskset')

export interface SpawnPlan {
  readonly command: string
  readonly args: readonly string[]
  /** As taskset takes them: `0`, `1-3`; undefined for wherever the kernel likes. */
  readonly cores: string | undefined
}

export class PinnedProcess {
  readonly #child: ChildProcess
  readonly #name: string
  #stderr = ''

  constructor({ command, args, cores }: SpawnPlan) {
    this.#name = command
    const pin = cores !== undefined && canPin
    const [program, rest] = pin ? ['taskset', ['-c', cores, command, ...args]] : [command, args]
    // stdin stays open: Sluice's roles take its end for the end of who started them.
    this.#child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'pipe'], env: withSystemPaths() })
    running.add(this.#child)
    this.#child.once('exit', () => running.delete(this.#child))
    this.#child.stderr?.on('data', (text: Buffer) => {
      this.#stderr = (this.#stderr + text).slice(-2000)
    })
  }

  /** taskset replaces itself, so this is the server's own. */
  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** The first line that it prints. @throws Error with what it said on standard error when it ends before */
  async firstLine(): Promise<string> {
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })
    const line = once(lines, 'line').then(([text]) => text as string)
    return await Promise.race([line, this.#ended(), timeout(`${this.#name} printed nothing`)])
  }

  /** Everything it prints until it ends. @throws Error when it ends otherwise than with 0 or 1 */
  async output(): Promise<string> {
    let text = ''
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk
    })
    const [code] = await once(this.#child, 'close')
    if (text === '') throw new Error(`${this.#name} failed (${code}): ${this.#stderr}`)
    return text
  }

  /** Resolves when something accepts connections there. */
  async listening(port: number): Promise<void> {
    this.#child.stdout?.resume()
    let died: Error | undefined
    this.#ended().catch((error: Error) => {
      died = error
    })
    const deadline = Date.now() + READY_MS
    while (!(await accepts(port))) {
      if (died !== undefined) throw died
      if (Date.now() > deadline) throw new Error(`${this.#name} does not listen on ${port}: ${this.#stderr}`)
      await sleep(POLL_MS)
    }
  }

  /** Ends it, at once where it is in no hurry. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }

  async #ended(): Promise<never> {
    const [code, signal] = await once(this.#child, 'exit')
    throw new Error(`${this.#name} ended (${signal ?? code}): ${this.#stderr}`)
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** A port that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function timeout(what: string): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`${what} within ${READY_MS / 1000} s`)), READY_MS).unref()
  })
}
