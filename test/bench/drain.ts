/**
 * Drains one of four workers while many sessions send: how long it takes, what the devices notice.
 *
 *     npm run build && node dist/test/bench/drain.js [--sessions 50000] [--rate 3000]
 *
 * Sessions are spread over as many gateways and generators as the limit of open files asks for.
 */

import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { eventually, type Product, startProduct } from '../integration/product.js'
import { type Figures, findGenerator, runLoad } from './load-generator.js'

interface Status {
  sessions: number
  workers: { id: string; sessions: number }[]
}

interface Moves {
  recent: { planned: number; done: number; failed: number; receipts: { pauseMs: number }[] }[]
}

/** A gateway or a generator has a file descriptor per session, and some for itself. */
const SPARE_FILES = 1000
const WARM_S = 30
const MEASURED_S = 25
/** A DATA frame with 64 bytes of payload. */
const FRAME = `2a40${'61'.repeat(64)}`

const { values } = parseArgs({
  options: {
    sessions: { type: 'string', default: '50000' },
    rate: { type: 'string', default: '3000' },
    loadgen: { type: 'string' },
  },
})
const sessions = Number(values.sessions)
const openFiles = Number(execFileSync('sh', ['-c', 'ulimit -Hn']).toString().trim()) || Number.POSITIVE_INFINITY
const parts = Math.max(2, Math.ceil(sessions / (openFiles - SPARE_FILES)))
const each = Math.ceil(sessions / parts)

const product = await startProduct('--gateways', String(parts), '--workers', '4')
try {
  await measure(product)
} finally {
  await product.stop()
}

async function measure({ gateways, get, post }: Product): Promise<void> {
  const generator = findGenerator(values.loadgen)
  const loads = gateways.map(({ ws }, i) => runLoad(generator, loadOf(new URL(ws).port, i), undefined))
  await eventually(`${each * parts} sessions`, 90_000, async () =>
    (await get<Status>('/v1/status')).sessions >= each * parts ? true : undefined,
  )
  await new Promise((resolve) => setTimeout(resolve, (WARM_S + 2) * 1000))
  const { workers } = await get<Status>('/v1/status')
  const leaving = workers[0]?.id ?? ''
  const began = performance.now()
  await post(`/v1/workers/${leaving}/drain`)
  await eventually('an empty worker', 60_000, async () =>
    (await get<Status>('/v1/status')).workers.find(({ id }) => id === leaving)?.sessions === 0 ? true : undefined,
  )
  const seconds = (performance.now() - began) / 1000
  const figures = await Promise.all(loads)
  const { recent } = await get<Moves>('/v1/moves')
  report(seconds, recent, figures)
}

function loadOf(port: string, index: number): string[] {
  const path = `/v1/connect?device=drain-${index}-{i}`
  const rate = String(Math.round(Number(values.rate) / parts))
  return [
    ...['ws-echo', '--port', port, '--conns', String(each), '--path', path, '--skip', '1', '--hex', FRAME],
    ...['--rate', rate, '--warm', String(WARM_S), '--secs', String(MEASURED_S)],
  ]
}

function report(seconds: number, recent: Moves['recent'], figures: readonly Figures[]): void {
  const [move] = recent
  const pauses = (move?.receipts ?? []).map(({ pauseMs }) => pauseMs).sort((a, b) => a - b)
  console.log(`${each * parts} sessions on ${parts} gateways, four workers, ${values.rate} messages a second`)
  console.log(`drained in ${seconds.toFixed(1)} s: ${move?.done} of ${move?.planned} moved, ${move?.failed} failed`)
  console.log(
    `pause of a move (newest ${pauses.length}): median ${pauses[pauses.length >> 1]} ms, longest ${pauses.at(-1)} ms`,
  )
  console.log(
    `round trip of the devices, p99: ${figures.map(({ p99_us }) => `${((p99_us ?? 0) / 1000).toFixed(0)} ms`).join(', ')}`,
  )
}
