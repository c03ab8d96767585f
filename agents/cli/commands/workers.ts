/** `sluice workers`: list, drain, undrain, weight. */

import { Command, InvalidArgumentError } from 'commander'
import { type AdminOptions, createAdminClient } from '../admin-client.js'
import { followDrain } from '../drain-progress.js'
import { withAdminFlags } from '../flags.js'
import { renderWorkers, type StatusView } from '../fleet-view.js'
import { outputWidth, print } from '../print.js'

type Flags = AdminOptions & { readonly json: boolean; readonly wait?: boolean }

export function workersCommand(): Command {
  return new Command('workers')
    .description('workers: list, drain, weigh')
    .addCommand(list())
    .addCommand(drain())
    .addCommand(undrain())
    .addCommand(weight())
}

function list(): Command {
  const command = new Command('list').description('all workers, by pool').option('--pool <name>', 'only this pool')
  return withAdminFlags(command).action(async (flags: Flags & { pool?: string }) => {
    const { workers } = (await createAdminClient(flags).get('/v1/status')) as StatusView
    const shown = flags.pool === undefined ? workers : workers.filter((worker) => worker.pool === flags.pool)
    print(flags.json, shown, (rows) => renderWorkers(rows, outputWidth()))
  })
}

function drain(): Command {
  const command = new Command('drain')
    .description('move all sessions of a worker to the others of its pool, live')
    .argument('<id>', 'worker')
    .option('--no-wait', 'return at once instead of showing the progress')
  return withAdminFlags(command).action(async (id: string, flags: Flags) => {
    const client = createAdminClient(flags)
    const answer = await client.send('POST', `/v1/workers/${encodeURIComponent(id)}/drain`)
    const sessions = flags.wait === false ? undefined : await followDrain(client, 'workers', id, flags.json)
    print(flags.json, { id, ...(answer as object | undefined) }, () =>
      sessions === undefined ? `${id} is draining.` : `${id} is drained: nothing is bound to it any more.`,
    )
  })
}

function undrain(): Command {
  const command = new Command('undrain')
    .description('let a draining worker take sessions again')
    .argument('<id>', 'worker')
  return withAdminFlags(command).action(async (id: string, flags: Flags) => {
    const answer = await createAdminClient(flags).send('POST', `/v1/workers/${encodeURIComponent(id)}/undrain`)
    print(flags.json, { id, ...(answer as object | undefined) }, () => `${id} takes sessions again.`)
  })
}

function weight(): Command {
  const command = new Command('weight')
    .description('change the share of sessions that a worker gets')
    .argument('<id>', 'worker')
    .argument('<weight>', 'relative capacity, 0 to 1000; 1 is usual', weightValue)
  return withAdminFlags(command).action(async (id: string, value: number, flags: Flags) => {
    const answer = await createAdminClient(flags).send('PUT', `/v1/workers/${encodeURIComponent(id)}/weight`, {
      weight: value,
    })
    print(flags.json, { id, weight: value, ...(answer as object | undefined) }, () => `${id} has weight ${value} now.`)
  })
}

function weightValue(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !(value >= 0 && value <= 1000))
    throw new InvalidArgumentError('A number from 0 to 1000 is needed.')
  return value
}
