#!/usr/bin/env node
/** The command line: one file per command in `commands/`, joined here. */

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Command, CommanderError } from 'commander'
import { CliError, describeError, ExitCode } from './cli-error.js'
import { completionCommand } from './commands/completion.js'
import { coordinatorCommand } from './commands/coordinator.js'
import { deviceCommand } from './commands/device.js'
import { explainCommand } from './commands/explain.js'
import { gatewayCommand } from './commands/gateway.js'
import { gatewaysCommand } from './commands/gateways.js'
import { movesCommand } from './commands/moves.js'
import { routesCommand } from './commands/routes.js'
import { scaleCommand } from './commands/scale.js'
import { sessionsCommand } from './commands/sessions.js'
import { statusCommand } from './commands/status.js'
import { topCommand } from './commands/top.js'
import { upCommand } from './commands/up.js'
import { workerCommand } from './commands/worker.js'
import { workersCommand } from './commands/workers.js'

const script = fileURLToPath(import.meta.url)

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

function program(): Command {
  const sluice = new Command('sluice')
    .description('An edge gateway for device fleets. Start with `sluice up`.')
    .version(version())
    .showHelpAfterError('(add --help for the flags)')
    .exitOverride()
  sluice.commandsGroup('Run:')
  for (const command of [upCommand(script), coordinatorCommand(), gatewayCommand(), workerCommand(), deviceCommand()]) {
    sluice.addCommand(command)
  }
  sluice.commandsGroup('Look:')
  for (const command of [statusCommand(), topCommand(), sessionsCommand(), explainCommand(), movesCommand()]) {
    sluice.addCommand(command)
  }
  sluice.commandsGroup('Change:')
  for (const command of [routesCommand(), workersCommand(), gatewaysCommand(), scaleCommand()])
    sluice.addCommand(command)
  sluice.commandsGroup('Other:')
  sluice.addCommand(completionCommand(sluice))
  for (const command of everyCommand(sluice)) command.exitOverride().showHelpAfterError('(add --help for the flags)')
  return sluice
}

function everyCommand(command: Command): Command[] {
  return command.commands.flatMap((child) => [child, ...everyCommand(child)])
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
  await program().parseAsync()
  process.exitCode = ExitCode.OK
} catch (error) {
  // Commander has printed its own complaint already.
  if (!(error instanceof CommanderError)) process.stderr.write(`sluice: ${describeError(error)}\n`)
  if (process.env.SLUICE_DEBUG !== undefined) console.error(error)
  process.exitCode = exitCodeOf(error)
}
