/** Starts the product as a user does, from the built command line, and stops it again. */

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** The command line that the build made. */
export const SLUICE = fileURLToPath(new URL('../../agents/cli/main.js', import.meta.url))

/** The one line that `up --json` prints (design: 'Commands'). */
export interface UpLine {
  coordinator: string
  gateways: { id: string; pid: number; http: string; ws: string; mqtt: string }[]
  workers: { id: string; pid: number; pool: string; link: string }[]
}

/** A running `sluice up`. */
export interface Product extends UpLine {
  readonly child: ChildProcess
  /** What it wrote to standard error so far. */
  readonly complaints: () => string
  get<T>(path: string): Promise<T>
  post<T>(path: string, body?: unknown): Promise<T>
  /** SIGINT; resolves with the exit code. */
  stop(): Promise<number | null>
}

const ANY_PORTS = ['--coordinator-port', '0', '--gateway-port', '0', '--mqtt-port', '0', '--link-port', '0']

/** Starts `sluice up --json` on free ports and waits until everything accepts traffic. */
export async function startProduct(...args: string[]): Promise<Product> {
  const child = spawn(process.execPath, [SLUICE, 'up', '--json', '--devices', '0', ...ANY_PORTS, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
  const line = await Promise.race([
    new Promise<string>((resolve) => createInterface({ input: child.stdout }).once('line', resolve)),
    exited.then((code) => Promise.reject(new Error(`sluice up ended with ${code}: ${errors}`))),
  ])
  const up = JSON.parse(line) as UpLine
  return {
    ...up,
    child,
    complaints: () => errors,
    get: (path) => call(up.coordinator, 'GET', path),
    post: (path, body) => call(up.coordinator, 'POST', path, body),
    stop: () => {
      child.kill('SIGINT')
      return exited
    },
  }
}

async function call<T>(base: string, method: string, path: string, body?: unknown): Promise<T> {
  const answer = await fetch(new URL(path, base), {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  })
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
  return (await answer.json()) as T
}

/** Asks again, every 20 ms or as told, until `read` finds something; the condition is the event, and nothing tells it. */
export async function eventually<T>(
  what: string,
  ms: number,
  read: () => Promise<T | undefined>,
  everyMs = 20,
): Promise<T> {
  const end = performance.now() + ms
  for (;;) {
    const found = await read()
    if (found !== undefined) return found
    if (performance.now() > end) throw new Error(`${what} did not happen within ${ms} ms`)
    await new Promise((resolve) => setTimeout(resolve, everyMs))
  }
}
