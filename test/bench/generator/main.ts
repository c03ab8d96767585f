/**
 * The bench's own load generator, for where loadgen.c is not at hand: same flags, same fields in its one line of JSON.
 * One thread of JavaScript: it reaches its own limit well before the gateway's, so its figures are a floor.
 */

import { Crowd } from './crowd.js'
import { EchoLoad } from './echo-load.js'
import { FanOutLoad } from './fan-out-load.js'
import { type LoadOptions, readOptions } from './load-options.js'
import { Meter, rssKb } from './meter.js'
import { MqttClient } from './mqtt-client.js'
import { MqttLoad } from './mqtt-load.js'
import { WebSocketClient } from './web-socket-client.js'

interface Load {
  readonly crowd: Crowd<unknown>
  readonly sent: number
  readonly answered: number
  start(): void
  stop(): void
}

/** How long answers may still come in at the end, in milliseconds. */
const DRAIN_MS = 2000

const options = readOptions(process.argv.slice(2))
const meter = new Meter(options.pids)
if (options.command === 'ws-idle' || options.command === 'mqtt-idle') await idle()
else await measure(createLoad())
process.exit(meter.errors > 0 ? 1 : 0)

function createLoad(): Load {
  if (options.command === 'ws-echo') return new EchoLoad(options, meter)
  if (options.command === 'ws-fanout') return new FanOutLoad(options, meter)
  return new MqttLoad(options, meter)
}

async function measure(load: Load): Promise<void> {
  await load.crowd.gather()
  if (load.crowd.ready === 0) throw new Error('no connection came up')
  load.start()
  await seconds(options.warm)
  meter.start()
  const from = performance.now()
  await seconds(options.secs)
  meter.measuring = false
  const took = (performance.now() - from) / 1000
  const figures = meter.figures(took)
  load.stop()
  const deadline = performance.now() + DRAIN_MS
  while (load.answered < load.sent && performance.now() < deadline) await seconds(0.02)
  print({
    conns: load.crowd.ready,
    failed: load.crowd.failed,
    window: options.window,
    size: options.hex?.length ?? options.size,
    secs: took,
    [options.command === 'ws-echo' ? 'msgs_per_s' : 'deliveries_per_s']: Math.round(meter.messages / took),
    ...figures,
    lost: Math.max(0, load.sent - load.answered),
  })
}

async function idle(): Promise<void> {
  const before = options.pids.map(rssKb)
  const crowd = createIdleCrowd(options)
  await crowd.gather()
  await seconds(1)
  const after = options.pids.map(rssKb)
  print({
    open: crowd.ready,
    failed: crowd.failed,
    conns_per_s: Math.round((crowd.ready * 1000) / (crowd.lastAt - crowd.firstAt)),
    rss_per_conn_b: after.map((kb, i) => Math.round(((kb - (before[i] ?? 0)) * 1024) / crowd.ready)),
    rss_kb: after,
  })
  await seconds(options.hold)
}

function createIdleCrowd({ command, host, port, path, skip, conns, conc }: LoadOptions): Crowd<unknown> {
  const ignore = () => {}
  const settled = { ready: () => crowd.became(true), lost: () => crowd.became(false), publish: ignore, puback: ignore }
  const open = (number: number) =>
    command === 'mqtt-idle'
      ? new MqttClient(number, { host, port, filter: undefined, qos: 0 }, settled)
      : new WebSocketClient(number, { host, port, path, skip, first: undefined }, { ...settled, message: ignore })
  const crowd: Crowd<unknown> = new Crowd<unknown>(conns, conc, open)
  return crowd
}

function seconds(count: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, count * 1000))
}

function print(figures: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify({ cmd: options.command, ...figures, errors: meter.errors })}\n`)
}
