/** `--config FILE` on the commands that run something; what the file may say is read by `config-file.ts`. */

import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { CliError, ExitCode } from './cli-error.js'
import type { SettingKind } from './config-file.js'

/** Adds `--config` to a command that runs something; settings that are no flags reach its action as `settings`. */
export function withConfigFlag(command: Command, settings: Readonly<Record<string, SettingKind>> = {}): Command {
  return command
    .option('--config <file>', 'configuration file, YAML or JSON')
    .hook('preAction', async (_outer, running) => {
      const file = running.opts().config as string | undefined
      if (file === undefined) return
      // Loaded when it is needed: reading YAML is a third of what a worker's start would take.
      const { ConfigFile } = await import('./config-file.js')
      await new ConfigFile(file, await readText(file)).apply(running, settings)
    })
}

async function readText(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    const why = error.code === 'ENOENT' ? 'there is no such file' : error.code
    throw new CliError(`--config ${file} cannot be read: ${why}`, { exitCode: ExitCode.USAGE })
  })
}
