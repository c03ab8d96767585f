/** `sluice up` as a user runs it: real processes, real sockets. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import type { FleetAddresses, FleetStatus } from '../../../agents/cli/fleet.js'
import { FrameType, FrameView } from '../../../proto/frame.js'
import { sluice } from '../../../proto/generated/frame.js'

type Status = Omit<FleetStatus, 'workers'> & { workers: (FleetStatus['workers'][number] & { pid: number })[] }

// Every test starts a dozen processes; a busy machine takes its time.
t.setTimeout(120_000)

const MAIN = fileURLToPath(new URL('../../../agents/cli/main.js', import.meta.url))
const EXAMPLE = join(repository(), 'docs/examples/counter.ts')
const ANY_PORTS = ['--coordinator-port', '--gateway-port', '--mqtt-port', '--link-port'].flatMap((flag) => [flag, '0'])

/** The tests run from dist/ as well as from a build elsewhere. */
function repository(): string {
  const found = ['../../..', '../../../..'].find((up) => existsSync(new URL(`${up}/docs`, import.meta.url)))
  return found === undefined ? process.cwd() : fileURLToPath(new URL(found, import.meta.url))
}

interface Running {
  readonly process: ChildProcess
  readonly ready: FleetAddresses
  readonly exited: Promise<unknown[]>
}

function run(...args: string[]): ChildProcess {
  return spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
}

async function up(t: Test, ...args: string[]): Promise<Running> {
  const child = run('up', '--json', '--devices', '0', ...ANY_PORTS, ...args)
  const exited = once(child, 'exit')
  const errors = text(child.stderr as NodeJS.ReadableStream)
  t.teardown(async () => {
    child.kill('SIGINT')
    await exited
  })
  const line = once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line')
  const first = await Promise.race([line, exited.then(() => undefined)])
  if (first === undefined) throw new Error(`up ended before it was ready: ${await errors}`)
  return { process: child, ready: JSON.parse(first[0]), exited }
}

function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function until<Value>(what: string, look: () => Promise<Value | undefined> | Value | undefined): Promise<Value> {
  const limit = Date.now() + 10_000
  for (;;) {
    const value = await look()
    if (value !== undefined && value !== false) return value
    if (Date.now() > limit) throw new Error(`not within 10 s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function status(ready: FleetAddresses): Promise<Status> {
  return (await fetch(`${ready.coordinator}/v1/status`)).json() as Promise<Status>
}

/** Sends one acknowledged DATA frame and resolves with the payload that comes back. */
async function echo(ws: string, device: string, payload: Uint8Array): Promise<Uint8Array> {
  const socket = new WebSocket(`${ws}?device=${device}`)
  const view = new FrameView()
  const answer = new Promise<Uint8Array>((resolve, reject) => {
    socket.on('error', reject)
    socket.on('close', (code, reason) => reject(new Error(`closed with ${code} ${reason}`)))
    socket.on('message', (data: Buffer) => {
      if (view.read(data) && view.type === FrameType.DATA) resolve(Uint8Array.from(view.payload()))
    })
  })
  socket.on('open', () => socket.send(sluice.v1.Frame.encode({ seq: 1, topic: 'a/b', payload }).finish()))
  const got = await answer
  socket.terminate()
  return got
}

const pidsOf = ({ coordinatorPid, gateways, workers }: FleetAddresses) => [
  coordinatorPid,
  ...[...gateways, ...workers].map(({ pid }) => pid),
]

t.test(
  'up prints one line when everything accepts traffic, echoes on every gateway, and Ctrl-C ends all of it',
  async (t) => {
    const { process: child, ready, exited } = await up(t)
    t.same(
      ready.gateways.map(({ id }) => id),
      ['gateway-1', 'gateway-2'],
    )
    t.same(
      ready.workers.map(({ id, pool }) => [id, pool]),
      [
        ['worker-1', 'default'],
        ['worker-2', 'default'],
        ['worker-3', 'default'],
      ],
    )
    const payload = Uint8Array.of(0, 1, 254, 255)
    for (const { ws, id } of ready.gateways) t.same(await echo(ws, `device-${id}`, payload), payload, id)
    t.ok(pidsOf(ready).every(alive))
    const asked = Date.now()
    child.kill('SIGINT')
    t.same(await exited, [0, null])
    t.ok(Date.now() - asked < 5000)
    t.notOk(pidsOf(ready).some(alive), 'no process is left')
  },
)

t.test('whichever role is killed comes back where it was', async (t) => {
  const { ready } = await up(t, '--workers', '2', '--gateways', '1')
  const gateway = ready.gateways[0] as FleetAddresses['gateways'][number]
  const payload = Uint8Array.of(7)
  process.kill(ready.workers[0]?.pid as number, 'SIGKILL')
  await until('the worker is back', async () => {
    const worker = (await status(ready)).workers.find(({ id }) => id === 'worker-1')
    return worker?.state === 'up' && (worker.pid !== ready.workers[0]?.pid || undefined)
  })
  process.kill(gateway.pid, 'SIGKILL')
  const back = await until('the gateway answers at its old address', () =>
    echo(gateway.ws, 'd1', payload).catch(() => undefined),
  )
  t.same(back, payload)
  const before = await status(ready)
  process.kill(ready.coordinatorPid, 'SIGKILL')
  const after = await until('the coordinator knows everybody again', async () => {
    const now = await status(ready).catch(() => undefined)
    return now?.workers.filter(({ state }) => state === 'up').length === 2 && now.gateways.length === 1
      ? now
      : undefined
  })
  t.ok(after.version >= before.version, `the version never goes back: ${before.version}, ${after.version}`)
  t.same(await echo(gateway.ws, 'd2', payload), payload)
})

t.test('scale starts workers with the same handler, a TypeScript file, and retires them again', async (t) => {
  const { ready } = await up(t, '--workers', '1', '--gateways', '1', '--handler', EXAMPLE)
  const ask = async (device: string) => {
    const payload = await echo(ready.gateways[0]?.ws ?? '', device, Buffer.from('hello'))
    return Buffer.from(payload).toString()
  }
  t.equal(await ask('d1'), 'message 1 from d1: hello')
  const scale = async (n: number) => {
    const child = run('scale', 'default', String(n), '--json', '--coordinator', ready.coordinator)
    const [out, errors, [code]] = await Promise.all([
      text(child.stdout as never),
      text(child.stderr as never),
      once(child, 'exit'),
    ])
    t.equal(code, 0, errors)
    return JSON.parse(out)
  }
  t.same(await scale(3), { pool: 'default', workers: 3, started: ['worker-2', 'worker-3'], draining: [] })
  t.same(await scale(1), { pool: 'default', workers: 1, started: [], draining: ['worker-2', 'worker-3'] })
  t.equal(await ask('d2'), 'message 1 from d2: hello')
  await until('only one worker is left', async () => (await status(ready)).workers.length === 1 || undefined)
})

t.test('a taken port is named together with the flag that moves it, and nothing is left running', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const { port } = taken.address() as { port: number }
  const child = run('up', '--json', ...ANY_PORTS, '--mqtt-port', String(port), '--gateways', '1')
  const [out, errors, [code]] = await Promise.all([
    text(child.stdout as never),
    text(child.stderr as never),
    once(child, 'exit'),
  ])
  t.equal(code, 1)
  t.equal(out, '')
  t.match(errors, new RegExp(`port ${port} for gateway-1 \\(MQTT\\) is taken: choose another with --mqtt-port`))
  t.notMatch(errors, /^\s+at /m, 'no stack trace')
})

t.test('killing up itself leaves no process', async (t) => {
  const { process: child, ready } = await up(t, '--workers', '2', '--gateways', '1')
  child.kill('SIGKILL')
  await until('every role has ended', () => !pidsOf(ready).some(alive) || undefined)
})

t.test('a signal while everything is starting ends all of it, whenever it comes', async (t) => {
  for (const [signals, afterMs] of [
    [['SIGTERM'], 700],
    [['SIGHUP'], 1200],
    [['SIGTERM', 'SIGTERM'], 1700],
  ] as const) {
    const data = t.testdir({})
    const child = run('up', '--json', '--devices', '20', ...ANY_PORTS, '--data', data)
    const exited = once(child, 'exit')
    // The moment is arbitrary on purpose: how far the start is by then depends on the machine.
    await new Promise((resolve) => setTimeout(resolve, afterMs))
    for (const signal of signals) child.kill(signal)
    const asked = Date.now()
    const [code] = await exited
    t.ok(Date.now() - asked < 5000, `${signals} after ${afterMs} ms`)
    // 1: the second signal found something to kill.
    t.ok(code === 0 || signals.length > 1, `exit code ${code}`)
    t.same(processesIn(data), [], 'no process is left')
  }
})

t.test('two signals under load kill what has not ended, and leave nothing', async (t) => {
  const data = t.testdir({})
  const { process: child, ready, exited } = await up(t, '--data', data, '--devices', '200', '--rate', '50')
  child.kill('SIGINT')
  child.kill('SIGTERM')
  await exited
  t.notOk(pidsOf(ready).some(alive))
  t.same(processesIn(data), [])
})

/** Processes with this directory among their arguments. */
function processesIn(directory: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(`${directory}/`)
    } catch {
      return false
    }
  })
}

t.test('beyond loopback without a token it refuses, and names the flags', async (t) => {
  const child = run('up', '--host', '0.0.0.0')
  const [errors, [code]] = await Promise.all([text(child.stderr as never), once(child, 'exit')])
  t.equal(code, 2)
  t.match(errors, /--host/)
  t.match(errors, /--token .* --insecure/s)
})

t.test('a handler that cannot be loaded is named, and nothing is left running', async (t) => {
  const child = run('up', '--json', ...ANY_PORTS, '--handler', './no-such-handler.ts')
  const [errors, [code]] = await Promise.all([text(child.stderr as never), once(child, 'exit')])
  t.equal(code, 1)
  t.match(errors, /no-such-handler\.ts: there is no such file/)
})
