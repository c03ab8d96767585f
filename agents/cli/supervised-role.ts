/** One role as a child process of `up`: started, watched, started again when it dies, ended. */

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { CliError } from './cli-error.js'
import type { RoleMessage, SupervisorMessage } from './role-process.js'
import { stepBack } from './step-back.js'

/** What a child said about itself when it was ready. */
export type ReadyInfo = Record<string, unknown> & { pid: number }

/** How to run a role. */
export interface RoleSpec {
  /** For logs and errors: `gateway-1`. */
  readonly name: string
  /**
   * Arguments of the child, behind the script's path.
   * @param last what it said when it was ready the last time, so that a restarted role takes the same ports again
   */
  args(last: ReadyInfo | undefined): readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** What happens around a role; every member is called synchronously. */
export interface RoleEvents {
  /** A line that the child printed. */
  log(name: string, line: string): void
  /** It died although nobody asked for it; it starts again after `restartMs`. */
  died(name: string, how: string): void
  /** It is ready again after that. */
  back(name: string, ready: ReadyInfo): void
  /** It ended in good order by itself, as a worker does after a SIGTERM; it stays away. */
  left(name: string): void
  stats(name: string, stats: Record<string, number>): void
  /** A question of the role; the answer goes back to it. */
  ask(name: string, what: string, body: unknown): Promise<unknown>
}

/** Pause before a role that died is started again, in milliseconds. */
export const RESTART_MS = 1000

type State = 'new' | 'starting' | 'ready' | 'waiting' | 'stopping' | 'gone'

/** One child process and its successors. */
export class SupervisedRole {
  readonly #spec: RoleSpec
  readonly #script: string
  readonly #events: RoleEvents
  #state: State = 'new'
  #child: ChildProcess | undefined
  #ready: ReadyInfo | undefined
  #restart: NodeJS.Timeout | undefined
  #exited: Promise<void> = Promise.resolve()
  #quietly = false
  /** Gives the process its usual priority. */
  #stepForward: () => void = () => {}

  /** @param script path of the JavaScript file that understands the spec's arguments */
  constructor(spec: RoleSpec, script: string, events: RoleEvents) {
    this.#spec = spec
    this.#script = script
    this.#events = events
  }

  get name(): string {
    return this.#spec.name
  }

  /** What the role said when it was last ready. */
  get ready(): ReadyInfo | undefined {
    return this.#ready
  }

  get running(): boolean {
    return this.#state === 'ready'
  }

  /**
   * Starts it the first time.
   * @param quietly others work beside it already: it leaves them the processor until it is ready
   * @throws CliError with the child's own words when it ends before it is ready, or when it was stopped already
   */
  async start({ quietly = false } = {}): Promise<ReadyInfo> {
    this.#quietly = quietly
    if (this.#state !== 'new') throw new CliError(`${this.name} was stopped before it started`)
    this.#state = 'starting'
    return this.#run()
  }

  /** Asks it to end, and kills it after `limitMs`. Resolves when the process is gone. */
  async stop(limitMs: number): Promise<void> {
    this.#state = 'stopping'
    clearTimeout(this.#restart)
    const child = this.#child
    if (child === undefined) return
    if (child.connected) child.send({ stop: true } satisfies SupervisorMessage, () => {})
    const killer = setTimeout(() => child.kill('SIGKILL'), limitMs)
    await this.#exited
    clearTimeout(killer)
  }

  /** Ends it this instant; whoever waits in {@link SupervisedRole.stop} hears of it. */
  kill(): void {
    this.#state = 'stopping'
    clearTimeout(this.#restart)
    this.#child?.kill('SIGKILL')
  }

  /** Asks it to hand over its work and end, as a SIGTERM by hand would. Resolves when the process is gone. */
  async retire(): Promise<void> {
    this.#state = 'stopping'
    clearTimeout(this.#restart)
    this.#child?.kill('SIGTERM')
    await this.#exited
  }

  #run(): Promise<ReadyInfo> {
    const child = spawn(process.execPath, [this.#script, ...this.#spec.args(this.#ready)], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...process.env, ...this.#spec.env },
    })
    this.#child = child
    if (this.#quietly && child.pid !== undefined) this.#stepForward = stepBack(child.pid)
    for (const stream of [child.stdout, child.stderr]) {
      if (stream) createInterface({ input: stream }).on('line', (line) => this.#events.log(this.name, line))
    }
    return new Promise((resolve, reject) => {
      let said: string | undefined
      child.on('message', (message: RoleMessage) => {
        if ('failed' in message) said = message.failed.message
        else this.#onMessage(child, message, resolve)
      })
      this.#exited = new Promise((gone) => {
        child.once('error', (error) => {
          reject(new CliError(`${this.name} cannot be started: ${error.message}`))
          // The system had no process for it: nothing will exit.
          if (child.pid !== undefined) return
          this.#child = undefined
          gone()
          this.#onExit(null, error.message)
        })
        child.once('exit', (code, signal) => {
          this.#child = undefined
          gone()
          const how = signal === null ? `exit code ${code}` : `signal ${signal}`
          reject(new CliError(`${this.name}: ${said ?? `ended with ${how} before it was ready`}`))
          this.#onExit(code, said ?? how)
        })
      })
    })
  }

  #onMessage(child: ChildProcess, message: RoleMessage, resolve: (ready: ReadyInfo) => void): void {
    if ('ready' in message) {
      this.#stepForward()
      const again = this.#ready !== undefined
      this.#ready = message.ready as ReadyInfo
      if (this.#state === 'starting' || this.#state === 'waiting') this.#state = 'ready'
      resolve(this.#ready)
      if (again) this.#events.back(this.name, this.#ready)
    } else if ('stats' in message) {
      this.#events.stats(this.name, message.stats)
    } else if ('ask' in message) {
      void this.#answer(child, message.ask)
    }
  }

  async #answer(child: ChildProcess, ask: { id: number; what: string; body: unknown }): Promise<void> {
    const reply = (answer: Extract<SupervisorMessage, { answer: unknown }>['answer']) => {
      if (child.connected) child.send({ answer } satisfies SupervisorMessage, () => {})
    }
    try {
      reply({ id: ask.id, body: await this.#events.ask(this.name, ask.what, ask.body) })
    } catch (error) {
      reply({ id: ask.id, error: (error as Error).message })
    }
  }

  #onExit(code: number | null, how: string): void {
    const before = this.#state
    if (before === 'stopping' || before === 'starting') {
      this.#state = 'gone'
      return
    }
    if (before === 'ready' && code === 0) {
      this.#state = 'gone'
      this.#events.left(this.name)
      return
    }
    this.#state = 'waiting'
    this.#events.died(this.name, how)
    this.#restart = setTimeout(() => {
      // Its end is handled by #onExit, which tries again.
      this.#run().catch(() => {})
    }, RESTART_MS)
  }
}
