/** `sluice scale POOL N`: starts or retires workers of a running `sluice up`. */

import { Command } from 'commander'
import { type AdminOptions, createAdminClient } from '../admin-client.js'
import { followDrain } from '../drain-progress.js'
import { integer, withAdminFlags } from '../flags.js'
import { print } from '../print.js'

interface ScaleAnswer {
  readonly pool: string
  readonly workers: number
  readonly started: readonly string[]
  readonly draining: readonly string[]
}

export function scaleCommand(): Command {
  const command = new Command('scale')
    .description('bring a pool of a running `sluice up` to N workers; sessions move live')
    .argument('<pool>', 'pool')
    .argument('<n>', 'number of workers', integer(0, 256))
    .option('--no-wait', 'do not wait until workers that leave are empty')
  return withAdminFlags(command).action(
    async (pool: string, workers: number, flags: AdminOptions & { json: boolean; wait: boolean }) => {
      const client = createAdminClient({ timeoutMs: 30_000, ...flags })
      const path = `/v1/pools/${encodeURIComponent(pool)}/scale`
      const answer = (await client.send('POST', path, { workers })) as ScaleAnswer
      if (flags.wait) for (const id of answer.draining) await followDrain(client, 'workers', id, flags.json)
      print(flags.json, answer, render)
    },
  )
}

function render({ pool, workers, started, draining }: ScaleAnswer): string {
  const changes = [
    ...(started.length > 0 ? [`started ${started.join(', ')}`] : []),
    ...(draining.length > 0 ? [`retired ${draining.join(', ')}`] : []),
  ]
  return `Pool ${pool} has ${workers} workers${changes.length === 0 ? ' already' : `: ${changes.join('; ')}`}.`
}
