/** `sluice status`: the fleet at one glance. */

import { Command } from 'commander'
import { type AdminOptions, createAdminClient } from '../admin-client.js'
import { withAdminFlags } from '../flags.js'
import { renderStatus, type StatusView } from '../fleet-view.js'
import { outputWidth, print } from '../print.js'

export function statusCommand(): Command {
  const command = new Command('status').description('gateways, workers and the routing table they serve')
  return withAdminFlags(command).action(async (flags: AdminOptions & { json: boolean }) => {
    const status = (await createAdminClient(flags).get('/v1/status')) as StatusView
    print(flags.json, status, (view) => renderStatus(view, outputWidth()))
  })
}
