/** `sluice gateways`: list, drain, undrain. */

import { Command } from 'commander'
import { type AdminOptions, createAdminClient } from '../admin-client.js'
import { followDrain } from '../drain-progress.js'
import { withAdminFlags } from '../flags.js'
import { renderGateways, type StatusView } from '../fleet-view.js'
import { outputWidth, print } from '../print.js'

type Flags = AdminOptions & { readonly json: boolean; readonly wait?: boolean }

export function gatewaysCommand(): Command {
  return new Command('gateways')
    .description('gateways: list, drain')
    .addCommand(list())
    .addCommand(drain())
    .addCommand(undrain())
}

function list(): Command {
  const command = new Command('list').description('all gateways and the table each one serves')
  return withAdminFlags(command).action(async (flags: Flags) => {
    const { gateways } = (await createAdminClient(flags).get('/v1/status')) as StatusView
    print(flags.json, gateways, (rows) => renderGateways(rows, outputWidth()))
  })
}

function drain(): Command {
  const command = new Command('drain')
    .description('ask the devices of a gateway to move to the next nearest one, spread over time')
    .argument('<id>', 'gateway')
    .option('--no-wait', 'return at once instead of showing the progress')
  return withAdminFlags(command).action(async (id: string, flags: Flags) => {
    const client = createAdminClient(flags)
    const answer = await client.send('POST', `/v1/gateways/${encodeURIComponent(id)}/drain`)
    const sessions = flags.wait === false ? undefined : await followDrain(client, 'gateways', id, flags.json)
    print(flags.json, { id, ...(answer as object | undefined) }, () =>
      sessions === undefined ? `${id} is draining.` : `${id} is drained: no device is connected to it any more.`,
    )
  })
}

function undrain(): Command {
  const command = new Command('undrain')
    .description('let a draining gateway take devices again')
    .argument('<id>', 'gateway')
  return withAdminFlags(command).action(async (id: string, flags: Flags) => {
    const answer = await createAdminClient(flags).send('POST', `/v1/gateways/${encodeURIComponent(id)}/undrain`)
    print(flags.json, { id, ...(answer as object | undefined) }, () => `${id} takes devices again.`)
  })
}
