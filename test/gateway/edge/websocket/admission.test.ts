import t from 'tap'
import { Admission } from '../../../../gateway/edge/websocket/admission.js'
import type { Clock } from '../../../../gateway/ports.js'
import { SluiceError } from '../../../../proto/errors.js'

class StoppedClock implements Clock {
  ms = 0
  now = () => this.ms
  wall = () => this.ms
  after = () => () => undefined
}

/** Milliseconds that a refusal tells to wait, or 0 when admitted. */
function ask(admission: Admission): number {
  try {
    admission.admit()
    return 0
  } catch (error) {
    if (error instanceof SluiceError && error.code === 'overloaded') return error.retryAfterMs ?? -1
    throw error
  }
}

t.test('a second admits its rate, and time earns more, up to one second of it', async (t) => {
  const clock = new StoppedClock()
  const admission = new Admission({ connectsPerSecond: 100 }, clock, () => 0.5)
  const admitted = (asked: number) =>
    Array.from({ length: asked }, () => ask(admission)).filter((ms) => ms === 0).length
  t.equal(admitted(150), 100)
  clock.ms = 500
  t.equal(admitted(100), 50)
  clock.ms = 10_000
  t.equal(admitted(300), 100)
})

t.test('who is refused is spread over the time that the queue takes, with jitter', async (t) => {
  const clock = new StoppedClock()
  let draw = 0
  const admission = new Admission({ connectsPerSecond: 100 }, clock, () => (draw++ % 100) / 100)
  const waits = Array.from({ length: 1100 }, () => ask(admission)).filter((ms) => ms > 0)
  t.equal(waits.length, 1000)
  const sorted = waits.toSorted((a, b) => a - b)
  t.ok((sorted[0] as number) >= 500, 'nobody at once')
  t.ok((sorted.at(-1) as number) > 8000, 'the last in ten seconds or so')
  t.ok(new Set(waits).size > 500, 'hardly two together')
  t.ok(waits.every((ms) => ms <= 45_000))
})

/** Callbacks run when the test says so. */
class HandClock extends StoppedClock {
  due: (() => void)[] = []
  override after = (_ms?: number, fn: () => void = () => {}) => {
    this.due.push(fn)
    return () => undefined
  }
  /** The loop comes round after `ms`. */
  pass(ms: number): void {
    this.ms += ms
    for (const fn of this.due.splice(0)) fn()
  }
}

t.test('a storm that makes the loop lag is held back, and let in again when it does not', async (t) => {
  const clock = new HandClock()
  const admission = new Admission({ maxLagMs: 100 }, clock, () => 0.5)
  const admitted = (asked: number) =>
    Array.from({ length: asked }, () => ask(admission)).filter((ms) => ms === 0).length
  t.equal(admitted(600), 600)
  clock.ms += 200
  t.equal(admitted(50), 0, 'this turn takes too long already')
  clock.pass(0)
  t.equal(admitted(50), 0, 'the one before did')
  clock.pass(20)
  t.equal(admitted(50), 50)
  t.ok(ask(new Admission({ maxConnections: 0 }, clock, () => 0.5)) > 0)
})

t.test('a slow machine refuses nobody while few connect', async (t) => {
  const clock = new HandClock()
  const admission = new Admission({ maxLagMs: 100 }, clock, () => 0.5)
  for (let i = 0; i < 20; i++) {
    for (let j = 0; j < 100; j++) t.equal(ask(admission), 0)
    clock.pass(400)
  }
})

t.test('places are limited, and no limit means none', async (t) => {
  const clock = new StoppedClock()
  const admission = new Admission({ maxConnections: 1 }, clock, () => 0)
  t.equal(ask(admission), 0)
  admission.connections++
  t.equal(ask(admission), 2500)
  admission.connections--
  t.equal(ask(admission), 0)
  const free = new Admission({}, clock, () => 0)
  for (let i = 0; i < 100_000; i++) free.admit()
})
