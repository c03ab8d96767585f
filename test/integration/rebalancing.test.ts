/**
 * Live rebalancing as it is measured: counting devices stream while the pool grows, shrinks and loses workers.
 * Bounds on time are looser than what a quiet machine does; SLUICE_STRICT=1 SLUICE_DEVICES=600 holds the strict ones.
 */

import { fileURLToPath } from 'node:url'
import mqtt from 'mqtt'
import t, { type Test } from 'tap'
import { encodeFrame, FrameType } from '../../proto/frame.js'
import { DeviceFleet, type FleetReport } from './device-fleet.js'
import { PlainDevice } from './plain-device.js'
import { eventually, type Product, startProduct } from './product.js'

const HANDLER = fileURLToPath(new URL('counting-handler.js', import.meta.url))
const DEVICES = Number(process.env.SLUICE_DEVICES ?? 300)
const PER_SECOND = 10
/** A device that sends every 100 ms is answered within this, whatever moves; SLUICE_STRICT is for a quiet machine. */
const SILENCE_MS = process.env.SLUICE_STRICT === undefined ? 1000 : 150
/** How often the fleet's state is looked at: what the test asks takes the time of the cores that it measures. */
const LOOK_MS = 200
/** A fleet is measured when it has run for a while: whoever answers the first frames also compiles what they need. */
const WARM_MS = process.env.SLUICE_STRICT === undefined ? 0 : 3000
const PAUSE_MS = process.env.SLUICE_STRICT === undefined ? 100 : 10

interface Worker {
  id: string
  pid: number
  sessions: number
  state: string
}

interface Moves {
  running: { pool: string; planned: number; done: number; failed: number }[]
  recent: { cause: string; planned: number; done: number; failed: number; receipts: { pauseMs: number }[] }[]
}

async function workersOf(product: Product): Promise<Worker[]> {
  return (await product.get<{ workers: Worker[] }>('/v1/status')).workers
}

/** Waits until `count` workers share all sessions within 15 %, or another part of their mean. */
async function evenly(product: Product, count: number, ms: number, within = 0.15): Promise<number[]> {
  const even = async () => {
    const serving = (await workersOf(product)).filter(({ sessions, state }) => sessions > 0 && state === 'up')
    const mean = DEVICES / count
    const all = serving.every(({ sessions }) => Math.abs(sessions - mean) <= mean * within)
    return serving.length === count && all ? serving.map(({ sessions }) => sessions) : undefined
  }
  return eventually(`${count} even workers`, ms, even, LOOK_MS)
}

function streaming(fleet: DeviceFleet): Promise<true> {
  return eventually('answers to everybody', 10_000, async () => {
    const sent = fleet.devices.map((device) => device.sent)
    await new Promise((resolve) => setTimeout(resolve, 200))
    return fleet.devices.every(({ highest }, i) => highest >= (sent[i] ?? 0)) ? true : undefined
  })
}

/** Three workers, and devices that send to them through both gateways. */
async function startStreaming(t: Test): Promise<{ product: Product; fleet: DeviceFleet }> {
  const product = await startProduct('--workers', '3', '--handler', HANDLER)
  t.teardown(() => product.stop())
  const urls = product.gateways.map(({ ws }) => ws)
  const fleet = await DeviceFleet.connect(urls, DEVICES)
  fleet.start(PER_SECOND)
  await streaming(fleet)
  return { product, fleet }
}

const WHOLE: Partial<FleetReport> = { lost: 0, doubled: 0, reordered: 0, disconnects: 0, errors: [] }

t.test(
  'planned moves: growing and draining lose, double, reorder and disconnect nothing, and carry the state',
  async (t) => {
    const { product, fleet } = await startStreaming(t)
    // Where devices begin is their ids' chance, and nobody evens that out; what is planned afterwards is even.
    await evenly(product, 3, 10_000, 0.5)
    await movedSoFar(product)
    await new Promise((resolve) => setTimeout(resolve, WARM_MS))
    const before = await movedSoFar(product)
    let silence = fleet.takeLongestSilence()

    await product.post('/v1/pools/default/scale', { workers: 4 })
    t.comment(`four workers hold ${await evenly(product, 4, 20_000)}`)
    await settled(product)
    const moved = (await movedSoFar(product)) - before
    const optimum = DEVICES / 4
    t.ok(Math.abs(moved - optimum) <= optimum * 0.1, `${moved} sessions moved; the optimum is ${optimum}`)
    silence = fleet.takeLongestSilence()
    t.ok(silence < SILENCE_MS, `${Math.round(silence)} ms without an answer at most`)

    const leaving = product.workers[0]?.id ?? ''
    await product.post(`/v1/workers/${leaving}/drain`)
    await eventually('an empty worker', 20_000, async () =>
      (await workersOf(product)).find(({ id }) => id === leaving)?.sessions === 0 ? true : undefined,
    )
    await settled(product)
    silence = fleet.takeLongestSilence()
    t.ok(silence < SILENCE_MS, `${Math.round(silence)} ms without an answer at most`)
    const pauses = await pausesOf(product)
    t.ok(
      (pauses[pauses.length >> 1] ?? 0) < PAUSE_MS,
      `the median pause of ${pauses.length} moves is ${pauses[pauses.length >> 1]} ms`,
    )

    const report = await fleet.finish(10_000)
    t.match(report, { ...WHOLE, marked: 0, stateLost: 0 }, JSON.stringify(report))
    fleet.close()
  },
)

t.test(
  'kill -9 and a hang: nothing is lost or reordered, what is processed twice is marked, nobody is disconnected',
  async (t) => {
    const { product, fleet } = await startStreaming(t)

    fleet.takeLongestSilence()
    process.kill(product.workers[1]?.pid ?? 0, 'SIGKILL')
    await streaming(fleet)
    const afterKill = fleet.takeLongestSilence()
    t.ok(afterKill < 2000, `service was back ${Math.round(afterKill)} ms after kill -9`)

    const hung = product.workers[2]?.pid ?? 0
    process.kill(hung, 'SIGSTOP')
    await eventually('service without the hung worker', 8000, async () =>
      fleet.devices.every(({ lastAnswer }) => performance.now() - lastAnswer < 1000) ? undefined : true,
    )
    await streaming(fleet)
    const afterHang = fleet.takeLongestSilence()
    t.ok(afterHang < 4500, `service was back ${Math.round(afterHang)} ms after SIGSTOP`)
    process.kill(hung, 'SIGCONT')
    await streaming(fleet)

    const report = await fleet.finish(10_000)
    t.match(report, WHOLE, JSON.stringify(report))
    fleet.close()
  },
)

t.test(
  'without any worker frames wait, then the device hears no_worker; MQTT devices stay; nothing acknowledged is lost',
  async (t) => {
    const product = await startProduct('--workers', '1')
    t.teardown(() => product.stop())
    const [gateway] = product.gateways
    await product.post('/v1/pools/default/scale', { workers: 0 })
    await eventually('no worker', 10_000, async () => ((await workersOf(product)).length === 0 ? true : undefined))
    const device = new PlainDevice(`${gateway?.ws}?device=waiting`)
    await device.next(FrameType.WELCOME)
    const client = await mqtt.connectAsync(gateway?.mqtt ?? '', { protocolVersion: 4, reconnectPeriod: 0 })
    let closed = false
    client.once('close', () => {
      closed = true
    })
    const acknowledged = client.publishAsync('waiting', 'from mqtt', { qos: 1 })
    device.send(encodeFrame({ seq: 1, topic: 'waiting', payload: Buffer.from('kept') }))
    device.send(encodeFrame({ topic: 'waiting', payload: Buffer.from('dropped') }))
    const error = (await device.next(FrameType.ERROR)).headers()
    t.match(error, { code: 'no_worker', retryAfterMs: /^\d+$/ })
    await product.post('/v1/pools/default/scale', { workers: 1 })
    const answer = await device.next(FrameType.DATA)
    t.equal(Buffer.from(answer.payload()).toString(), 'kept')
    await acknowledged
    t.notOk(closed, 'the MQTT device was never disconnected')
    await client.endAsync(true)
    device.close()
  },
)

async function movedSoFar(product: Product): Promise<number> {
  const { running, recent } = await product.get<Moves>('/v1/moves')
  return [...running, ...recent].reduce((sum, { done }) => sum + done, 0)
}

/** Waits until no move is under way. */
async function settled(product: Product): Promise<void> {
  await eventually(
    'the end of all moves',
    20_000,
    async () => ((await product.get<Moves>('/v1/moves')).running.length === 0 ? true : undefined),
    LOOK_MS,
  )
}

async function pausesOf(product: Product): Promise<number[]> {
  const { recent } = await product.get<Moves>('/v1/moves')
  return recent.flatMap(({ receipts }) => receipts.map(({ pauseMs }) => pauseMs)).sort((a, b) => a - b)
}
