/** `sluice explain DEVICE`: why its frames go where they go, connected or not. */

import { Command, Option } from 'commander'
import { type AdminOptions, createAdminClient } from '../admin-client.js'
import { renderExplanation } from '../explanation.js'
import { withAdminFlags } from '../flags.js'
import { outputWidth, print } from '../print.js'

interface ExplainFlags extends AdminOptions {
  readonly json: boolean
  readonly topic?: string
  readonly protocol?: string
  readonly type?: string
}

export function explainCommand(): Command {
  const command = new Command('explain')
    .description('why the frames of a device go where they go, whether it is connected or not')
    .argument('<device>', 'device id')
    .option('--topic <topic>', 'topic of the frame')
    .addOption(new Option('--type <type>', 'kind of frame; data unless given').choices(['data', 'publish']))
    .addOption(new Option('--protocol <protocol>', 'protocol of the device').choices(['websocket', 'mqtt']))
  return withAdminFlags(command).action(async (device: string, flags: ExplainFlags) => {
    const query = new URLSearchParams()
    for (const name of ['topic', 'protocol', 'type'] as const)
      if (flags[name] !== undefined) query.set(name, flags[name])
    const path = `/v1/explain/${encodeURIComponent(device)}${query.size > 0 ? `?${query}` : ''}`
    const answer = (await createAdminClient(flags).get(path)) as Record<string, unknown>
    print(flags.json, answer, (value) => renderExplanation(value, outputWidth()))
  })
}
