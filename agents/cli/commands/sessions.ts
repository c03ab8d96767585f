/** `sluice sessions find DEVICE`: where a device is and who owns it. */

import { Command } from 'commander'
import type { SessionView } from '../../../proto/control.js'
import { type AdminOptions, createAdminClient } from '../admin-client.js'
import { withAdminFlags } from '../flags.js'
import { outputWidth, print } from '../print.js'
import { renderSpan, renderTable } from '../table-view.js'

export function sessionsCommand(): Command {
  return new Command('sessions').description('sessions: find one').addCommand(find())
}

function find(): Command {
  const command = new Command('find')
    .description('where a device is, and which worker owns it')
    .argument('<device>', 'device id')
  return withAdminFlags(command).action(async (device: string, flags: AdminOptions & { json: boolean }) => {
    const found = (await createAdminClient(flags).get(`/v1/sessions/${encodeURIComponent(device)}`)) as SessionView
    print(flags.json, found, render)
  })
}

function render(found: SessionView): string {
  const bindings = Object.entries(found.bindings ?? {}).map(([pool, binding]) => ({ pool, ...binding }))
  const table = renderTable(
    bindings,
    [
      { title: 'POOL', value: (row) => row.pool, flexible: true },
      { title: 'WORKER', value: (row) => row.worker, flexible: true },
      { title: 'SLOT', value: (row) => (row.slot < 0 ? undefined : row.slot), align: 'right' },
      { title: 'EPOCH', value: (row) => row.epoch, align: 'right' },
    ],
    outputWidth(),
  )
  return [
    `device    ${found.device}`,
    `session   ${found.session}`,
    `gateway   ${found.gateway}, ${found.protocol}, for ${renderSpan(Date.now() - Date.parse(found.since))}`,
    '',
    bindings.length === 0 ? 'No worker owns it: it has not sent anything that a route takes.' : table,
  ].join('\n')
}
