/** `top`, `moves` and the progress of a drain, against a coordinator that answers as told. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { AdminClient } from '../../../agents/cli/admin-client.js'
import { followDrain } from '../../../agents/cli/drain-progress.js'

const MAIN = fileURLToPath(new URL('../../../agents/cli/main.js', import.meta.url))
const gateway = { id: 'g1', region: 'eu', sessions: 3, tableVersion: 7, state: 'up', lastNack: null }
const worker = { id: 'w1', pool: 'default', sessions: 3, weight: 1, state: 'up' }
const STATUS = { version: 7, gateways: [gateway], workers: [worker] }

async function sluice(t: Test, answer: unknown, ...args: string[]) {
  const server = createServer((_, response) => response.end(JSON.stringify(answer))).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const child = spawn(process.execPath, [MAIN, ...args, '--coordinator', url])
  const [out, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
  return { out, errors, code }
}

function clientOf(answers: readonly number[]): AdminClient {
  const left = [...answers]
  const get = async () => ({ ...STATUS, workers: left.length > 0 ? [{ ...worker, sessions: left.shift() }] : [] })
  return { url: '', get, send: get }
}

t.test('a drain is followed until nothing is left, or the worker has gone', async (t) => {
  t.equal(await followDrain(clientOf([40, 10, 0]), 'workers', 'w1', true), 0)
  t.equal(await followDrain(clientOf([40]), 'workers', 'w1', true), 0)
})

t.test('top shows the fleet as often as it is asked to, and as JSON lines', async (t) => {
  const shown = await sluice(t, STATUS, 'top', '--count', '2', '--interval', '0.01')
  t.equal(shown.code, 0, shown.errors)
  t.equal(shown.out.match(/^Table 7, served by every gateway\. 3 sessions/gm)?.length, 2)
  t.notOk(shown.out.includes('\x1b'), 'a pipe gets no control characters')
  const json = await sluice(t, STATUS, 'top', '--count', '2', '--interval', '0.01', '--json')
  t.same(
    json.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
    [STATUS, STATUS],
  )
})

t.test('moves fit 80 columns: the cause gives way', async (t) => {
  const receipt = { device: 'd', from: 'w1', to: 'w2', lastSeq: 1, firstSeq: 2 }
  const startedAt = '2026-11-22T20:00:00.000Z'
  const move = {
    id: '7-default',
    cause: 'a cause '.repeat(20),
    pool: 'default',
    planned: 12,
    done: 10,
    failed: 1,
    startedAt,
  }
  const done = {
    ...move,
    finishedAt: '2026-11-22T20:00:02.500Z',
    receipts: [1, 2, 9].map((pauseMs) => ({ ...receipt, pauseMs })),
  }
  const { out } = await sluice(t, { running: [move], recent: [done] }, 'moves')
  t.ok(out.split('\n').every((line) => line.length <= 80))
  t.match(out, /^Running:\nMOVE .*\n7-default +default +10\/12 +1 /)
  t.match(out, /Before:\nMOVE .*\n7-default +default +10\/12 +1 +3 s +2\.0 ms +a cause .*…/)
  t.equal((await sluice(t, { running: [], recent: [] }, 'moves')).out, 'Nothing is being moved.\n')
})
