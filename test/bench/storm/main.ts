/**
 * A reconnect storm: a gateway with thousands of devices is killed, and all of them come to the other one at once, where
 * some devices go on with their work. Prints how long those took for a round trip before and during the storm, and when
 * the devices were back.
 *
 *     node dist/test/bench/storm/main.js [--devices 10000] [--rate N] [--json]
 */

import { parseArgs } from 'node:util'
import { runStorm, type StormResult } from './storm.js'
import type { Quantiles } from './times.js'

const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '10000' },
    rate: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})
const rate = values.rate === undefined ? {} : { rate: Number(values.rate) }
const result = await runStorm({ devices: Number(values.devices), ...rate })
process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : describe(result))

function describe({ devices, connectMs, before, during, back, resumed, refused, lost }: StormResult): string {
  const line = ({ p50, p99, max }: Quantiles) => `p50 ${p50} ms, p99 ${p99} ms, max ${max} ms`
  return [
    `${devices} devices connected in ${connectMs} ms; their gateway was killed`,
    `round trips beside it, before: ${line(before)}`,
    `round trips beside it, during: ${line(during)}`,
    `devices were back after: ${line(back)}; ${resumed} resumed, ${lost} never, ${refused} attempts told to come later`,
    '',
  ].join('\n')
}
