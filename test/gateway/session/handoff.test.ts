import t from 'tap'
import { seededRandom } from '../../seeded-random.js'
import { Fleet, type ModelDevice, ModelPort, type ModelWorker } from './fleet-model.js'

const WORKERS = ['a', 'b', 'c', 'd']

/** One random history of a fleet; everything that happens follows from `seed`. */
function history(seed: number, steps: number): Fleet {
  const random = seededRandom(seed)
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
  const fleet = new Fleet()
  for (const id of WORKERS) fleet.addWorker(id)
  for (let i = 0; i < 3; i++) {
    const device = fleet.addDevice(`d${i}`)
    fleet.owner.set(device.id, pick(WORKERS))
  }
  fleet.publish()
  for (const device of fleet.devices) device.connect()
  for (let i = 0; i < steps && fleet.broken.length === 0; i++) chance(fleet, random, pick)
  settle(fleet, random)
  return fleet
}

function chance(fleet: Fleet, random: () => number, pick: <T>(items: readonly T[]) => T): void {
  const roll = random()
  const device = pick(fleet.devices)
  const worker = pick([...fleet.workers.values()])
  if (roll < 0.3) device.send()
  else if (roll < 0.6) worker.step(random)
  else if (roll < 0.84) worker.outbox.shift()?.()
  else if (roll < 0.9) reown(fleet, device, pick(WORKERS))
  else if (roll < 0.93) device.session === undefined ? device.connect() : device.disconnect()
  else if (roll < 0.95) kill(fleet, worker)
  else if (roll < 0.96) worker.hung = !worker.hung
  else if (roll < 0.97) relink(fleet, worker, random() < 0.5)
  else fleet.clock.advance(random() * 800)
}

function reown(fleet: Fleet, device: ModelDevice, owner: string): void {
  fleet.owner.set(device.id, owner)
  fleet.publish()
}

/** kill -9: the process and all it knew are gone; another one starts in its place. */
function kill(fleet: Fleet, worker: ModelWorker): void {
  const { port } = worker
  fleet.addWorker(worker.id)
  port?.break()
  fleet.table.retryWaiting()
}

/** The connection breaks, the process lives: it keeps what it knows. */
function relink(fleet: Fleet, worker: ModelWorker, hung: boolean): void {
  const { port } = worker
  const next = new ModelPort(worker)
  worker.port = next
  worker.inbox.length = 0
  worker.owned.clear()
  port?.break(hung)
  fleet.table.retryWaiting()
}

/** Everybody gets well, and what is under way ends. */
function settle(fleet: Fleet, random: () => number): void {
  for (const worker of fleet.workers.values()) worker.hung = false
  for (const device of fleet.devices) if (device.session === undefined) device.connect()
  for (let round = 0; round < 4000; round++) {
    for (const worker of fleet.workers.values()) {
      worker.step(random)
      worker.outbox.shift()?.()
    }
    if (round % 50 === 0) fleet.clock.advance(200)
  }
}

function verdict(fleet: Fleet): string[] {
  const wrong = [...fleet.broken]
  for (const device of fleet.devices) {
    if (device.gaps > 0) wrong.push(`${device.id}: a downlink frame was skipped`)
    if (device.acked !== device.sent) wrong.push(`${device.id}: ${device.acked} of ${device.sent} acknowledged`)
  }
  return wrong
}

t.test('thousands of random interleavings of moves, deaths, hangs and reconnects keep every promise', async (t) => {
  const from = Number(process.env.SLUICE_SEED ?? 1)
  const count = process.env.SLUICE_SEED === undefined ? 1500 : 1
  let moved = 0
  for (let seed = from; seed < from + count; seed++) {
    const fleet = history(seed, 400)
    const wrong = verdict(fleet)
    moved += fleet.table.counters.movedClean + fleet.table.counters.movedLost
    if (wrong.length > 0) {
      t.same(wrong, [], `seed ${seed}: run again with SLUICE_SEED=${seed}`)
      return
    }
  }
  t.ok(moved > count, `${moved} handoffs in ${count} histories`)
})
