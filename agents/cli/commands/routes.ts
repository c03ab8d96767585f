/** `sluice routes`: get, plan, apply, rollback, history, test. */

import { readFile } from 'node:fs/promises'
import { Command } from 'commander'
import { stringify } from 'yaml'
import { type AdminClient, type AdminOptions, createAdminClient } from '../admin-client.js'
import { CliError, ExitCode } from '../cli-error.js'
import { integer, withAdminFlags } from '../flags.js'
import { outputWidth, print } from '../print.js'
import { type HistoryEntry, type Plan, renderHistory, renderPlan } from '../routes-view.js'
import { routesTestCommand } from './routes-test.js'

type Flags = AdminOptions & { readonly json: boolean; readonly message?: string; readonly yes?: boolean }

export function routesCommand(): Command {
  const routes = new Command('routes').description('the routes: see, plan, apply, undo')
  for (const command of [get(), plan(), apply(), rollback(), history(), routesTestCommand()]) routes.addCommand(command)
  return routes
}

function get(): Command {
  const command = new Command('get').description('the routes that apply now, as a routes file')
  return withAdminFlags(command).action(async (flags: Flags) => {
    const answer = (await createAdminClient(flags).get('/v1/routes')) as Record<string, unknown>
    print(
      flags.json,
      answer,
      ({ version, ...file }) => `# version ${version}\n${stringify(file, { lineWidth: 0 }).trimEnd()}`,
    )
  })
}

function plan(): Command {
  const command = new Command('plan')
    .description('what a routes file would move, without doing it')
    .argument('<file>', 'routes file')
  return withAdminFlags(command).action(async (file: string, flags: Flags) => {
    const answer = await planned(createAdminClient(flags), file)
    print(flags.json, answer, (value) => renderPlan(value, outputWidth()))
  })
}

function apply(): Command {
  const command = new Command('apply')
    .description('make a routes file the one that applies, and wait until every gateway serves it')
    .argument('<file>', 'routes file')
    .option('-m, --message <why>', 'why, for the history')
  return withAdminFlags(command).action(async (file: string, flags: Flags) => {
    const client = createAdminClient({ timeoutMs: 30_000, ...flags })
    const answer = (await inFile(file, async (body) => {
      const query = flags.message === undefined ? '' : `?message=${encodeURIComponent(flags.message)}`
      return client.send('PUT', `/v1/routes${query}`, body)
    })) as { version: number }
    const behind = await untilServed(client, answer.version)
    print(flags.json, { ...answer, behind }, () => served(answer.version, behind))
    if (behind.length > 0) throw new CliError(`table ${answer.version} is not served everywhere: ${behind.join(', ')}`)
  })
}

function rollback(): Command {
  const command = new Command('rollback')
    .description('go back to the routes of an earlier version')
    .argument('<version>', 'version, as `sluice routes history` lists it', integer(1, Number.MAX_SAFE_INTEGER))
    .option('-m, --message <why>', 'why, for the history')
  return withAdminFlags(command).action(async (version: number, flags: Flags) => {
    const client = createAdminClient({ timeoutMs: 30_000, ...flags })
    const { message } = flags
    const body = { version, ...(message === undefined ? {} : { message }) }
    const answer = (await client.send('POST', '/v1/routes/rollback', body)) as { version: number }
    const behind = await untilServed(client, answer.version)
    print(
      flags.json,
      { ...answer, behind },
      () => `The routes of ${version} apply again. ${served(answer.version, behind)}`,
    )
  })
}

function history(): Command {
  const command = new Command('history').description('which routes applied since when, by whom, and why')
  return withAdminFlags(command).action(async (flags: Flags) => {
    const answer = (await createAdminClient(flags).get('/v1/routes/history')) as { versions: HistoryEntry[] }
    print(flags.json, answer, ({ versions }) => renderHistory(versions, outputWidth()))
  })
}

function planned(client: AdminClient, file: string): Promise<Plan> {
  return inFile(file, (body) => client.send('POST', '/v1/routes/plan', body)) as Promise<Plan>
}

/** Sends a file's text, so that the coordinator's errors can name line and column; errors get the file's name. */
async function inFile(file: string, send: (body: unknown) => Promise<unknown>): Promise<unknown> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new CliError(`${file} cannot be read: ${error.code === 'ENOENT' ? 'there is no such file' : error.code}`, {
      exitCode: ExitCode.USAGE,
    })
  })
  try {
    return await send(text)
  } catch (error) {
    if (error instanceof CliError && error.exitCode === ExitCode.REFUSED) {
      const lines = error.message.split('\n').map((line) => `${file}: ${line}`)
      throw new CliError(lines.join('\n'), { exitCode: error.exitCode, cause: error })
    }
    throw error
  }
}

const CONVERGE_LIMIT_MS = 10_000

/** Waits until all gateways serve `version` or a later one; returns those that do not in time. */
async function untilServed(client: AdminClient, version: number): Promise<string[]> {
  const until = Date.now() + CONVERGE_LIMIT_MS
  for (;;) {
    const { gateways } = (await client.get('/v1/status')) as { gateways: { id: string; tableVersion: number }[] }
    const behind = gateways.filter((gateway) => gateway.tableVersion < version).map((gateway) => gateway.id)
    if (behind.length === 0 || Date.now() > until) return behind
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

function served(version: number, behind: readonly string[]): string {
  return behind.length === 0
    ? `Every gateway serves table ${version}.`
    : `Table ${version} is not served by ${behind.join(', ')} yet.`
}
