/**
 * The life of a process that runs one role: says when it is ready, ends on signals, and never outlives the `up`
 * that started it. The supervisor's side is `supervised-role.ts`; both speak over Node's child-process channel.
 */

import { CliError, describeError, ExitCode } from './cli-error.js'

/** Role to supervisor. */
export type RoleMessage =
  | { ready: Record<string, unknown> }
  | { failed: { message: string; code?: string; port?: number } }
  | { stats: Record<string, number> }
  | { ask: { id: number; what: string; body: unknown } }

/** Supervisor to role. */
export type SupervisorMessage = { stop: true } | { answer: { id: number; body?: unknown; error?: string } }

/** What a role's start function hands back. */
export interface RunningRole {
  /** Addresses and ids: what `--json` prints and `up` collects. */
  readonly ready: Record<string, unknown>
  /** Ends the role now: open connections are closed. */
  close(): Promise<void>
  /** Hands its work to others first; SIGTERM asks for it. */
  drain?(): Promise<void>
  /** Settles when the role ended by itself. */
  readonly ended?: Promise<void>
}

/** How the role shows itself when it was started by hand. */
export interface RoleDisplay {
  readonly json: boolean
  /** One or more lines for a person. */
  describe(ready: Record<string, unknown>): string
}

/** Longest wait for an orderly end, in milliseconds: `up` promises 5 s for everything. */
const CLOSE_LIMIT_MS = 2500

/** The same for a role whose supervisor was killed: nobody reads what it would still say. */
const ORPHAN_LIMIT_MS = 500

/** Environment variable that tells a role from a process which somebody else forked with a channel. */
export const SUPERVISED = 'SLUICE_SUPERVISED'

/** True in a process that `sluice up` started. */
export function isSupervised(): boolean {
  return process.send !== undefined && process.env[SUPERVISED] === '1'
}

/** Sends a message to the supervisor; does nothing when there is none. */
export function tellSupervisor(message: RoleMessage): void {
  if (isSupervised() && process.connected) process.send?.(message, () => {})
}

/**
 * Asks the supervisor to do something that only it can, such as starting a worker.
 * @throws Error with the supervisor's words when it refuses, or when there is none
 */
export function askSupervisor(what: string, body: unknown): Promise<unknown> {
  if (!isSupervised()) return Promise.reject(new Error('no supervisor runs here: start and stop workers yourself'))
  const id = Math.floor(Math.random() * Number.MAX_SAFE_INTEGER)
  return new Promise((resolve, reject) => {
    const onMessage = (message: SupervisorMessage) => {
      if (!('answer' in message) || message.answer.id !== id) return
      process.off('message', onMessage)
      if (message.answer.error === undefined) resolve(message.answer.body)
      else reject(new Error(message.answer.error))
    }
    process.on('message', onMessage)
    tellSupervisor({ ask: { id, what, body } })
  })
}

/** Starts a role and ends the process with it. An error of `start` ends it with exit code 1. */
export async function runRole(start: () => Promise<RunningRole>, display: RoleDisplay): Promise<void> {
  const life = new RoleLife()
  const role = await start().catch(failStart)
  life.role = role
  const ready = { ...role.ready, pid: process.pid }
  if (isSupervised()) tellSupervisor({ ready })
  else process.stdout.write(`${display.json ? JSON.stringify(ready) : display.describe(ready)}\n`)
  if (role.ended === undefined) return
  await role.ended
  life.end(() => role.close(), CLOSE_LIMIT_MS)
}

async function failStart(error: unknown): Promise<never> {
  const { code, port } = error as { code?: string; port?: number }
  const failed = { message: describeError(error), ...(code ? { code } : {}), ...(port ? { port } : {}) }
  if (isSupervised() && process.connected) await new Promise((sent) => process.send?.({ failed }, sent))
  else if (code === 'EADDRINUSE') throw portTaken(error)
  else throw error
  process.exit(ExitCode.FAILED)
}

function portTaken(error: unknown): CliError {
  const { port, address } = error as { port?: number; address?: string }
  return new CliError(`port ${port ?? '?'}${address ? ` on ${address}` : ''} is taken by another process`, {
    fix: 'Choose another one (0 takes any that is free): --help lists the port flags.',
    cause: error,
  })
}

/** Turns signals and the supervisor's word into one orderly end. Watches from before the role starts. */
class RoleLife {
  role: RunningRole | undefined
  #ending = false

  constructor() {
    const close = async () => this.role?.close()
    const drain = async () => {
      await this.role?.drain?.()
      await close()
    }
    const onSignal = (how: () => Promise<void>, limitMs: number | undefined) => {
      // Whoever asks twice does not want to wait.
      if (this.#ending) process.exit(ExitCode.FAILED)
      this.end(how, limitMs)
    }
    // Ctrl-C in a terminal reaches the whole process group; a supervised role waits for its supervisor's word.
    // So does the end of that terminal.
    for (const name of ['SIGINT', 'SIGHUP'] as const)
      process.on(name, () => (isSupervised() ? undefined : onSignal(close, CLOSE_LIMIT_MS)))
    process.on('SIGTERM', () => onSignal(drain, this.role?.drain === undefined ? CLOSE_LIMIT_MS : undefined))
    if (!isSupervised()) return
    process.on('message', (message: SupervisorMessage) => 'stop' in message && this.end(close, CLOSE_LIMIT_MS))
    // The supervisor is gone, and with it everything that this role belonged to.
    process.once('disconnect', () => this.end(close, ORPHAN_LIMIT_MS, vanish))
    // It went while this process was still loading: nobody listened for that yet, and it is not said twice.
    if (!process.connected) vanish()
  }

  /** Ends the process when `how` is done, or after `limitMs` if that is given. */
  end(how: () => Promise<void>, limitMs: number | undefined, exit: (code: ExitCode) => void = process.exit): void {
    this.#ending = true
    // Not unref'd: a role that is not ready yet has nothing to wait for and must end all the same.
    if (limitMs !== undefined) setTimeout(() => exit(ExitCode.FAILED), limitMs)
    how().then(
      () => exit(ExitCode.OK),
      (error: unknown) => {
        process.stderr.write(`sluice: ${describeError(error)}\n`)
        exit(ExitCode.FAILED)
      },
    )
  }
}

/**
 * Ends without the exit hooks. pino flushes in one of them, and with nobody at the other end of the pipe it tries for ever.
 */
function vanish(): void {
  process.kill(process.pid, 'SIGKILL')
}
