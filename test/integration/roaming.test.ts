/**
 * Devices that count, while gateways are killed and come back in turn: nothing acknowledged is lost, order is kept, and a
 * device is back within two seconds. The size that issue 7 measures: SLUICE_MINUTES=1 SLUICE_DEVICES=1000.
 */

import { fileURLToPath } from 'node:url'
import t from 'tap'
import { connect, type Device } from '../../agents/device/mod.js'
import type { Counted } from './counting-handler.js'
import { eventually, type Product, startProduct } from './product.js'

const HANDLER = fileURLToPath(new URL('counting-handler.js', import.meta.url))
const DEVICES = Number(process.env.SLUICE_DEVICES ?? 60)
const SECONDS = process.env.SLUICE_MINUTES === undefined ? 6 : Number(process.env.SLUICE_MINUTES) * 60
/** Time between two kills: a gateway is back within about two seconds. */
const KILL_EVERY_MS = 3000
const SEND_EVERY_MS = 100

// The whole file's limit, which is half a minute otherwise.
t.setTimeout((SECONDS + 100) * 1000)

/** One device: sends 1, 2, 3 ... acknowledged, and judges what comes back. */
class Roamer {
  readonly #device: Device
  sent = 0
  acked = 0
  highest = 0
  reordered = 0
  doubled = 0
  stateLost = 0
  readonly sessions = new Set<string>()
  readonly outages: number[] = []
  readonly failures: string[] = []
  #lostAt: number | undefined

  constructor(device: Device) {
    this.#device = device
    this.sessions.add(device.session)
    device.on('data', ({ payload }) => this.#judge(JSON.parse(Buffer.from(payload).toString()) as Counted))
    device.on('state', (state) => {
      if (state === 'connecting') this.#lostAt ??= performance.now()
      else if (state === 'connected' && this.#lostAt !== undefined) {
        this.outages.push(performance.now() - this.#lostAt)
        this.#lostAt = undefined
        this.sessions.add(device.session)
      }
    })
  }

  send(): void {
    const n = ++this.sent
    this.#device.send(String(n), { topic: 'count', acked: true }).then(
      () => this.acked++,
      (error: Error) => this.failures.push(`${n}: ${error.message}`),
    )
  }

  get done(): boolean {
    return this.acked + this.failures.length >= this.sent && this.highest >= this.sent
  }

  close(): void {
    this.#device.close()
  }

  #judge({ n, count, redelivered }: Counted): void {
    if (n <= this.highest) {
      if (!redelivered) this.doubled++
      return
    }
    if (n !== this.highest + 1) this.reordered++
    if (count !== n - 1 && !redelivered) this.stateLost++
    this.highest = n
  }
}

async function gatewaysUp(product: Product): Promise<{ id: string; pid: number }[]> {
  const { gateways } = await product.get<{ gateways: { id: string; pid: number; state: string }[] }>('/v1/status')
  return gateways.filter(({ state }) => state === 'up')
}

t.test(
  'while gateways are killed and come back, nothing acknowledged is lost and every device resumes',
  {
    timeout: (SECONDS + 90) * 1000,
  },
  async (t) => {
    const product = await startProduct('--handler', HANDLER, '--gateways', '3', '--workers', '2')
    t.teardown(() => product.stop())
    const bootstrap = [product.coordinator, ...product.gateways.map(({ http }) => http)]
    const roamers: Roamer[] = []
    for (let i = 0; i < DEVICES; i += 50) {
      const some = Array.from({ length: Math.min(50, DEVICES - i) }, (_, j) => `roam-${i + j}`)
      roamers.push(...(await Promise.all(some.map(async (device) => new Roamer(await connect({ bootstrap, device }))))))
    }
    t.teardown(() => {
      for (const roamer of roamers) roamer.close()
    })
    let turn = 0
    const sending = setInterval(() => {
      const slices = SEND_EVERY_MS / 10
      for (let i = turn++ % slices; i < roamers.length; i += slices) roamers[i]?.send()
    }, 10)
    let kills = 0
    for (const end = performance.now() + SECONDS * 1000; performance.now() < end; kills++) {
      const up = await eventually('every gateway is up', 10_000, async () => {
        const some = await gatewaysUp(product)
        return some.length === 3 ? some : undefined
      })
      const next = up.toSorted((a, b) => (a.id < b.id ? -1 : 1))[kills % 3]
      process.kill(next?.pid as number, 'SIGKILL')
      await new Promise((resolve) => setTimeout(resolve, KILL_EVERY_MS))
    }
    clearInterval(sending)
    const finished = Date.now() + 20_000
    while (roamers.some(({ done }) => !done) && Date.now() < finished) await new Promise((r) => setTimeout(r, 50))
    const sum = (read: (one: Roamer) => number) => roamers.reduce((all, one) => all + read(one), 0)
    const outages = roamers.flatMap(({ outages }) => outages).sort((a, b) => a - b)
    const p99 = outages[Math.floor(outages.length * 0.99)] ?? 0
    t.comment(
      `${kills} kills, ${sum(({ sent }) => sent)} frames, ${outages.length} outages: p50 ${Math.round(outages[outages.length >> 1] ?? 0)} ms, p99 ${Math.round(p99)} ms`,
    )
    t.ok(outages.length > 0, 'devices lost their gateway')
    t.same(
      roamers.flatMap(({ failures }) => failures),
      [],
      'no acknowledged send fails',
    )
    t.equal(
      sum(({ sent, acked }) => sent - acked),
      0,
      'everything was acknowledged',
    )
    t.equal(
      sum(({ sent, highest }) => sent - highest),
      0,
      'everything was answered',
    )
    t.equal(
      sum(({ reordered }) => reordered),
      0,
      'in order',
    )
    t.equal(
      sum(({ doubled }) => doubled),
      0,
      'nothing twice without being marked',
    )
    t.equal(
      sum(({ stateLost }) => stateLost),
      0,
      'workers kept their state',
    )
    t.equal(
      sum(({ sessions }) => sessions.size - 1),
      0,
      'every device kept its session',
    )
    t.ok(p99 < 2000, `p99 of the outages is ${Math.round(p99)} ms`)
  },
)
