import t from 'tap'
import { SILENT_LOG } from '../../../../agents/coordinator/clock.js'
import { SourceLoop } from '../../../../agents/coordinator/discovery/source-loop.js'

/** A clock whose timers fire when they are told to; it keeps what was asked for. */
function stepClock() {
  const waits: number[] = []
  let fire: (() => void) | undefined
  const asked: (() => void)[] = []
  return {
    waits,
    clock: {
      now: () => 0,
      wall: () => 0,
      after: (ms: number, fn: () => void) => {
        waits.push(ms)
        fire = fn
        for (const tell of asked.splice(0)) tell()
        return () => {}
      },
    },
    /** Waits until a timer stands, then fires it. */
    async step() {
      if (fire === undefined) await new Promise<void>((resolve) => void asked.push(resolve))
      const fn = fire
      fire = undefined
      fn?.()
    },
  }
}

t.test(
  'waits double from half a second to 15 s while a source is away, and are what it says once it answers',
  async (t) => {
    const { clock, waits, step } = stepClock()
    let away = true
    const loop = new SourceLoop('x', { clock, random: () => 1, log: SILENT_LOG }, async () => {
      if (away) throw new Error('away')
      return 77
    })
    loop.start()
    for (let i = 0; i < 8; i++) await step()
    away = false
    await step()
    await step()
    away = true
    await step()
    await step()
    await loop.close()
    t.same(waits.slice(0, 12), [500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000, 15_000, 77, 77, 500])
  },
)

t.test('closing ends an attempt that runs, and a wait', async (t) => {
  const { clock } = stepClock()
  const context = { clock, random: () => 0, log: SILENT_LOG }
  const running = new SourceLoop('x', context, (signal) => {
    return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))))
  })
  running.start()
  await running.close()
  const waiting = new SourceLoop('x', context, async () => 1000)
  waiting.start()
  await new Promise((resolve) => setImmediate(resolve))
  await waiting.close()
  t.pass('both ended')
})
