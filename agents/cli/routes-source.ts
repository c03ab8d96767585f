/** A routes file on its way to the coordinator. */

import { readFile } from 'node:fs/promises'
import { CliError, ExitCode } from './cli-error.js'

/** The text of a routes file. @throws CliError (usage) when it cannot be read, or is not text */
export async function readRoutesText(file: string): Promise<string> {
  const bytes = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    const why =
      error.code === 'ENOENT' ? 'there is no such file' : error.code === 'EISDIR' ? 'it is a directory' : error.code
    throw new CliError(`${file} cannot be read: ${why}`, { exitCode: ExitCode.USAGE })
  })
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new CliError(`${file} is not UTF-8 text`, { exitCode: ExitCode.REFUSED, cause })
  }
}
