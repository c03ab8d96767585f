/** What the command line says when something fails, and the exit code that scripts see. docs/cli.md lists them. */

/** Exit codes of every command. */
export const ExitCode = {
  /** Done. */
  OK: 0,
  /** It failed; the message says why. */
  FAILED: 1,
  /** The command line or the configuration file is wrong. */
  USAGE: 2,
  /** The thing asked for does not exist. */
  NOT_FOUND: 3,
  /** The coordinator cannot be reached. */
  UNREACHABLE: 4,
  /** The coordinator refused: invalid routes, a conflict, missing rights. */
  REFUSED: 5,
  /** It was applied, but a gateway refused it or does not serve it in time, or the rollout went back. */
  NOT_SERVED: 6,
} as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

/** An error meant for a person: its message names the thing at fault, `fix` what to do about it. */
export class CliError extends Error {
  readonly exitCode: ExitCode
  readonly fix: string | undefined

  constructor(message: string, details: { exitCode?: ExitCode; fix?: string; cause?: unknown } = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'CliError'
    this.exitCode = details.exitCode ?? ExitCode.FAILED
    this.fix = details.fix
  }
}

/** The text under `sluice: ` for any error: message and fix for ours, one line without a stack for others. */
export function describeError(error: unknown): string {
  if (error instanceof CliError) return error.fix === undefined ? error.message : `${error.message}\n  ${error.fix}`
  if (!(error instanceof Error)) return String(error)
  const path = (error as { path?: unknown }).path
  return typeof path === 'string' && path !== '' && !error.message.includes(path)
    ? `${path}: ${error.message}`
    : error.message
}
