/** `sluice discovery`: what the coordinator's sources list, and why a worker that they list is not in the fleet. */

import { Command } from 'commander'
import { type AdminOptions, createAdminClient } from '../admin-client.js'
import { type DiscoveryView, renderDiscovery } from '../discovery-view.js'
import { withAdminFlags } from '../flags.js'
import { outputWidth, print } from '../print.js'

export function discoveryCommand(): Command {
  const command = new Command('discovery').description('workers that the coordinator discovers, and where')
  return withAdminFlags(command).action(async (flags: AdminOptions & { json: boolean }) => {
    const view = (await createAdminClient(flags).get('/v1/discovery')) as DiscoveryView
    print(flags.json, view, (found) => renderDiscovery(found, outputWidth()))
  })
}
