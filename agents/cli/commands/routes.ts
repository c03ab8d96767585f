/** `sluice routes`: get, plan, apply, rollback, history, test, schema. */

import { Command } from 'commander'
import { type AdminOptions, createAdminClient } from '../admin-client.js'
import { CliError, ExitCode } from '../cli-error.js'
import { withAdminFlags } from '../flags.js'
import { outputWidth, print } from '../print.js'
import { readRoutesText } from '../routes-source.js'
import { type HistoryEntry, type Plan, renderHistory, renderPlan, renderProblem } from '../routes-view.js'
import { applyCommand, rollbackCommand } from './routes-apply.js'
import { routesTestCommand } from './routes-test.js'

type Flags = AdminOptions & { readonly json: boolean }

export function routesCommand(): Command {
  const routes = new Command('routes').description('the routes: see, plan, apply, undo')
  const commands = [get(), plan(), applyCommand(), rollbackCommand(), history(), routesTestCommand(), schema()]
  for (const command of commands) routes.addCommand(command)
  return routes
}

function get(): Command {
  const command = new Command('get').description('the routes that apply now, as a routes file')
  return withAdminFlags(command).action(async (flags: Flags) => {
    const answer = (await createAdminClient(flags).get('/v1/routes')) as Record<string, unknown>
    // Here and not above: every role starts with this module, and seldom needs YAML.
    const { stringify } = await import('yaml')
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
    const text = await readRoutesText(file)
    const answer = (await createAdminClient(flags).send('POST', '/v1/routes/plan', text)) as Plan
    if (answer.errors.length > 0) {
      if (flags.json) print(true, answer, String)
      const lines = answer.errors.map((problem) => renderProblem(problem, file))
      throw new CliError(['it would be refused:', ...lines].join('\n'), { exitCode: ExitCode.REFUSED })
    }
    for (const warning of answer.warnings ?? []) process.stderr.write(`warning: ${renderProblem(warning, file)}\n`)
    print(flags.json, answer, (plan) => renderPlan(plan, outputWidth()))
  })
}

function history(): Command {
  const command = new Command('history').description('which routes applied since when, by whom, and why')
  return withAdminFlags(command).action(async (flags: Flags) => {
    const answer = (await createAdminClient(flags).get('/v1/routes/history')) as { versions: HistoryEntry[] }
    print(flags.json, answer, ({ versions }) => renderHistory(versions, outputWidth()))
  })
}

function schema(): Command {
  return new Command('schema').description('the JSON Schema of routes files, for editors').action(async () => {
    const { routesJsonSchema } = await import('../../coordinator/routes-file.js')
    process.stdout.write(`${JSON.stringify(routesJsonSchema(), undefined, 2)}\n`)
  })
}
