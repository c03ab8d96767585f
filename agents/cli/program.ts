/** Every command in one tree. */

import { Command } from 'commander'
import { completionCommand } from './commands/completion.js'
import { coordinatorCommand } from './commands/coordinator.js'
import { deviceCommand } from './commands/device.js'
import { discoveryCommand } from './commands/discovery.js'
import { explainCommand } from './commands/explain.js'
import { gatewayCommand } from './commands/gateway.js'
import { gatewaysCommand } from './commands/gateways.js'
import { movesCommand } from './commands/moves.js'
import { routesCommand } from './commands/routes.js'
import { rolloutCommand } from './commands/routes-apply.js'
import { scaleCommand } from './commands/scale.js'
import { sessionsCommand } from './commands/sessions.js'
import { statusCommand } from './commands/status.js'
import { topCommand } from './commands/top.js'
import { upCommand } from './commands/up.js'
import { workerCommand } from './commands/worker.js'
import { workersCommand } from './commands/workers.js'

/**
 * The whole command line.
 * @param script the JavaScript file that role processes run: the entry point itself
 * @param version what `--version` prints
 */
export function createProgram(script: string, version: string): Command {
  const sluice = new Command('sluice')
    .description('An edge gateway for device fleets. Start with `sluice up`.')
    .version(version)
    .showHelpAfterError('(add --help for the flags)')
    .exitOverride()
  sluice.commandsGroup('Run:')
  for (const command of [upCommand(script), coordinatorCommand(), gatewayCommand(), workerCommand(), deviceCommand()]) {
    sluice.addCommand(command)
  }
  sluice.commandsGroup('Look:')
  const look = [statusCommand(), topCommand(), sessionsCommand(), explainCommand(), movesCommand(), discoveryCommand()]
  for (const command of look) sluice.addCommand(command)
  sluice.commandsGroup('Change:')
  for (const command of [routesCommand(), rolloutCommand(), workersCommand(), gatewaysCommand(), scaleCommand()]) {
    sluice.addCommand(command)
  }
  sluice.commandsGroup('Other:')
  sluice.addCommand(completionCommand(sluice))
  for (const command of everyCommand(sluice)) command.exitOverride().showHelpAfterError('(add --help for the flags)')
  return sluice
}

function everyCommand(command: Command): Command[] {
  return command.commands.flatMap((child) => [child, ...everyCommand(child)])
}
