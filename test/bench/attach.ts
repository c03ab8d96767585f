/**
 * What ATTACH and ATTACHED cost to write and read: by hand (proto/link-attach.ts) and by msgpackr (proto/link-control.ts),
 * warm, and in the first thousands, which is when a storm of connects meets them.
 *
 *     node dist/test/bench/attach.js
 */

import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type Attach, LinkKind, RecordBatch } from '../../proto/link.js'
import { writeAttach } from '../../proto/link-attach.js'
import { packLinkControl, readAttached, unpackLinkControl } from '../../proto/link-control.js'

const attributes = { host: 'gateway.example.net', 'user-agent': 'thermostat/4.2', upgrade: 'websocket' }
const attach = (i: number): Attach => ({
  session: `4fd0c2a1b9e8-${i}`,
  device: `device-${i}`,
  protocol: 'websocket',
  attributes,
  epoch: 1,
  table: 42,
  acked: 0,
  redelivered: false,
  sent: 0,
})

const batch = new RecordBatch()
const reply = packLinkControl({ epoch: 1 })
// Not one short enough for the hand-written way: a map that has to go through the library.
const generic = packLinkControl({ epoch: 1, resumed: false })

const ways: Record<string, (i: number) => number> = {
  'ATTACH, written by hand': (i) => {
    writeAttach(batch, i, attach(i))
    return batch.take().length
  },
  'ATTACH, msgpackr': (i) => {
    batch.add(LinkKind.ATTACH, i, packLinkControl(attach(i)))
    return batch.take().length
  },
  'ATTACHED, read by hand': () => readAttached(reply).epoch,
  'ATTACHED, msgpackr': () => Number(unpackLinkControl(generic).epoch),
}

const COLD = 2000
const WARM = 300_000
const [chosen] = process.argv.slice(2)
if (chosen === undefined) {
  // Each in a process of its own: what one has warmed up is cold for the next.
  for (const name of Object.keys(ways))
    execFileSync(process.execPath, [fileURLToPath(import.meta.url), name], { stdio: 'inherit' })
} else measure(chosen, ways[chosen] as (i: number) => number)

function measure(name: string, run: (i: number) => number): void {
  const cold = microseconds(run, COLD)
  microseconds(run, WARM)
  const warm = microseconds(run, WARM)
  console.log(`${name.padEnd(26)} ${cold.toFixed(2)} µs each in the first ${COLD}, ${warm.toFixed(2)} µs warm`)
}

function microseconds(run: (i: number) => number, times: number): number {
  let sum = 0
  const begun = performance.now()
  for (let i = 0; i < times; i++) sum += run(i)
  const took = performance.now() - begun
  if (sum <= 0) throw new Error('nothing was done')
  return (1000 * took) / times
}
