/** One role as a process of its own, started from the built command line as an operator would. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { SLUICE } from './product.js'

export class Role<Ready> {
  /** What it said when it was ready. */
  readonly ready: Ready & { pid: number }
  readonly #kill: (signal: NodeJS.Signals) => Promise<void>
  readonly #log: () => string

  private constructor(ready: Role<Ready>['ready'], kill: (signal: NodeJS.Signals) => Promise<void>, log: () => string) {
    this.ready = ready
    this.#kill = kill
    this.#log = log
  }

  /** Resolves when it says that it is ready. It ends with the test, if not before. */
  static async start<Ready>(t: Test, ...args: string[]): Promise<Role<Ready>> {
    const child = spawn(process.execPath, [SLUICE, ...args, '--json'], { stdio: ['ignore', 'pipe', 'pipe'] })
    let log = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text
    })
    const exited = once(child, 'exit')
    const kill = async (signal: NodeJS.Signals) => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      await exited
    }
    t.teardown(() => kill('SIGKILL'))
    const line = once(createInterface({ input: child.stdout }), 'line')
    const ended = exited.then(([code]) => Promise.reject(new Error(`${args[0]} ended with ${code}: ${log}`)))
    const [text] = (await Promise.race([line, ended])) as [string]
    return new Role(JSON.parse(text), kill, () => log)
  }

  /** What it logged so far. */
  get log(): string {
    return this.#log()
  }

  /** kill -9; resolves when it is gone. */
  kill(): Promise<void> {
    return this.#kill('SIGKILL')
  }

  /** Ctrl-C; resolves when it is gone. */
  stop(): Promise<void> {
    return this.#kill('SIGINT')
  }
}
