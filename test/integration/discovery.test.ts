/** Workers that register nowhere, found in a real etcd, under devices that must notice nothing. */

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { Etcd, hasEtcd } from '../agents/coordinator/discovery/etcd-server.js'
import { DeviceFleet } from './device-fleet.js'
import { eventually, SLUICE } from './product.js'

const HANDLER = fileURLToPath(new URL('counting-handler.js', import.meta.url))
const DEVICES = 40

/** One role in a process of its own; resolves when it says that it is ready. */
async function role(t: Test, ...args: string[]): Promise<{ child: ChildProcess; ready: Record<string, string> }> {
  const child = spawn(process.execPath, [SLUICE, ...args, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
  t.teardown(() => {
    child.kill('SIGKILL')
    return exited
  })
  const line = await Promise.race([
    new Promise<string>((resolve) => createInterface({ input: child.stdout }).once('line', resolve)),
    exited.then((code) => Promise.reject(new Error(`sluice ${args[0]} ended with ${code}`))),
  ])
  return { child, ready: JSON.parse(line) }
}

t.test(
  'a worker that leaves etcd hands its sessions on, and one that is killed is replaced: no device notices',
  { skip: hasEtcd ? false : 'etcd is not installed' },
  async (t) => {
    const etcd = await Etcd.start(t)
    const spawnWorker = (id: string) => role(t, 'worker', HANDLER, '--no-register', '--id', id, '--port', '0')
    const workers = await Promise.all(['w1', 'w2', 'w3'].map(spawnWorker))
    const [w1, w2, w3] = workers
    const list = (id: string, link: string | undefined) => etcd.put(`/sluice/${id}`, JSON.stringify({ link }))
    await list('w1', w1?.ready.link)
    await list('w2', w2?.ready.link)
    const source = `etcd:${etcd.url}/sluice/`
    const { ready: coordinator } = await role(t, 'coordinator', '--port', '0', '--discover', source)
    const base = coordinator.url as string
    const gateway = await role(t, 'gateway', '--port', '0', '--mqtt-port', '0', '--coordinator', base)
    /** Waits until exactly these are up and hold sessions. */
    const serving = (...ids: string[]) =>
      eventually(`${ids} serve`, 15_000, async () => {
        const answer = (await (await fetch(`${base}/v1/status`)).json()) as {
          workers: { id: string; sessions: number; state: string }[]
        }
        const now = answer.workers.map(({ id, sessions, state }) => `${id} ${state} ${sessions > 0}`).sort()
        return JSON.stringify(now) === JSON.stringify(ids.map((id) => `${id} up true`)) || undefined
      })
    const fleet = await DeviceFleet.connect([gateway.ready.ws as string], DEVICES)
    fleet.start(10)
    await serving('w1', 'w2')

    await list('w3', w3?.ready.link)
    await serving('w1', 'w2', 'w3')
    await etcd.delete('/sluice/w1')
    await serving('w2', 'w3')
    w2?.child.kill('SIGKILL')
    await serving('w3')
    await etcd.stop()
    const again = await eventually('the source is away', 10_000, async () => {
      const view = (await (await fetch(`${base}/v1/discovery`)).json()) as { sources: { problem?: string }[] }
      return view.sources[0]?.problem
    })
    t.match(again, /fetch failed|ended the watch|terminated/)
    await serving('w3')
    const { marked, doubled, stateLost, ...report } = await fleet.finish(5000)
    t.match(report, { lost: 0, reordered: 0, disconnects: 0, errors: [] })
    // What w2 had not acknowledged when it was killed comes again, marked; nothing else does.
    t.equal(doubled, 0)
    t.ok(stateLost <= DEVICES && marked >= 0)
  },
)
