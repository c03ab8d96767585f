import t from 'tap'
import { readMessage, readRegistration } from '../../../agents/coordinator/control-messages.js'
import { packControl, type ToCoordinator } from '../../../proto/control.js'
import { SluiceError } from '../../../proto/errors.js'

const messages: ToCoordinator[] = [
  { t: 'worker_heartbeat', sessions: 3, lagMs: 1.5 },
  {
    t: 'gateway_heartbeat',
    sessions: 9,
    lagMs: 0,
    pools: { default: { workers: { w1: 9 }, slots: [0, 4, 16383, 5] } },
    counters: { connects: 1, disconnects: 2, errors: 3, framesUp: 4, framesDown: 5 },
    p99Ms: 7.5,
  },
  { t: 'link_report', worker: 'w1', event: 'timeout', detail: 'slow' },
  { t: 'ack', version: 7 },
  { t: 'nack', version: 8, serving: 7, code: 'table_rejected', message: 'no' },
  { t: 'answer', id: 1, body: { any: [1, 'x'] } },
  { t: 'drain', id: 'w1' },
  {
    t: 'move_report',
    version: 3,
    pool: 'p',
    planned: -1,
    done: 2,
    failed: 0,
    receipts: [{ device: 'd', from: 'a', to: 'b', lastSeq: 1, firstSeq: 2, pauseMs: 0.5 }],
  },
]

t.test('every message that a peer may send is read as it was meant', async (t) => {
  for (const message of messages) t.strictSame(readMessage(packControl(message)), message)
})

t.test('each field is checked and named', async (t) => {
  const refused = (message: object, path: string): void => {
    t.throws(() => readMessage(packControl(message)), { name: 'SluiceError', code: 'bad_request', path })
  }
  refused({ t: 'worker_heartbeat', sessions: -1, lagMs: 0 }, 'sessions')
  refused({ t: 'worker_heartbeat', sessions: 0, lagMs: Number.NaN }, 'lagMs')
  refused({ ...messages[1], pools: { default: { workers: {}, slots: [1] } } }, 'pools.default.slots')
  refused({ ...messages[1], pools: { default: { workers: {}, slots: [16384, 1] } } }, 'pools.default.slots')
  refused({ ...messages[1], pools: { default: { workers: { w: 0.5 }, slots: [] } } }, 'pools.default.workers.w')
  refused({ ...messages[1], counters: {} }, 'counters.connects')
  refused({ t: 'link_report', worker: 'w', event: 'sideways' }, 'event')
  refused(
    { t: 'move_report', version: 1, pool: 'p', planned: 0, done: 0, failed: 0, receipts: [{}] },
    'receipts[0].device',
  )
  refused({ t: 'register_worker' }, 't')
  refused({ t: 'toString' }, 't')
  refused({ t: 5 }, 't')
})

t.test('damaged messages give a SluiceError or a message, never another error', async (t) => {
  let seed = 2026
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return seed % below
  }
  const inputs = messages.map((message) => packControl(message))
  inputs.push(
    packControl({
      t: 'register_worker',
      protocol: 1,
      id: 'w',
      pool: 'p',
      link: 'tcp://h:1',
      weight: 1,
      pid: 1,
      incarnation: 'x',
      sessions: 0,
    }),
  )
  for (let run = 0; run < 5000; run++) {
    const bytes = (inputs[random(inputs.length)] as Uint8Array).slice()
    for (let hits = 1 + random(4); hits > 0; hits--) bytes[random(bytes.length)] = random(256)
    for (const read of [readMessage, readRegistration]) {
      try {
        read(bytes)
      } catch (error) {
        if (!(error instanceof SluiceError)) return t.fail(`run ${run}`, { error })
      }
    }
  }
  t.pass('5,000 damaged messages')
})
