#!/usr/bin/env node
/** The command line's process: arguments in, exit code out. */

import './young-generation.js'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { CommanderError } from 'commander'
import { CliError, describeError, ExitCode } from './cli-error.js'
import { createProgram } from './program.js'

function version(): string {
  // dist/agents/cli/main.js and agents/cli/main.ts are not equally deep.
  for (const up of ['../../../package.json', '../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8'))
      if (name === 'sluice') return String(version)
    } catch {}
  }
  return 'unknown'
}

function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof CliError) return error.exitCode
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE
  return ExitCode.FAILED
}

// A reader that closed its end, such as `sluice status | head -1`, is no failure.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) =>
    process.exit(error.code === 'EPIPE' ? ExitCode.OK : ExitCode.FAILED),
  )
}

try {
  await createProgram(fileURLToPath(import.meta.url), version()).parseAsync()
  process.exitCode = ExitCode.OK
} catch (error) {
  // Commander has printed its own complaint already.
  if (!(error instanceof CommanderError)) process.stderr.write(`sluice: ${describeError(error)}\n`)
  if (process.env.SLUICE_DEBUG !== undefined) console.error(error)
  process.exitCode = exitCodeOf(error)
}
