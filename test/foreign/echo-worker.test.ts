import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { LinkKind } from '../../proto/link.js'
import { CoordinatorEnd } from '../agents/worker/coordinator-end.js'
import { GatewayEnd } from '../agents/worker/gateway-end.js'

/** The script is not compiled: from the build it is two folders up. */
function script(): string {
  const here = dirname(fileURLToPath(import.meta.url))
  const places = [join(here, 'echo_worker.py'), join(here, '../../../test/foreign/echo_worker.py')]
  return places.find(existsSync) ?? join(process.cwd(), 'test/foreign/echo_worker.py')
}

const python = process.env.SLUICE_PYTHON ?? 'python3'
const ready = spawnSync(python, ['-c', 'import msgpack, websockets']).status === 0
const skip = ready ? false : `${python} has no msgpack and websockets; SLUICE_PYTHON names another one`

t.test(
  'a worker written in Python from the docs registers, echoes, and takes part in handoffs',
  { skip },
  async (t) => {
    const coordinator = await CoordinatorEnd.start()
    const child = spawn(python, [script(), coordinator.url, '--id', 'py'], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(async () => {
      child.kill()
      await once(child, 'exit')
      await coordinator.close()
    })
    const register = await coordinator.next('register_worker')
    t.match(register, { id: 'py', pool: 'default', protocol: 1 })
    const gateway = await GatewayEnd.open(register.link)
    gateway.attach(1, { session: 's', epoch: 3, acked: 1, sent: 4, attributes: { 'user-agent': 'x' } })
    gateway.frame(1, { topic: 'a/b', text: 'once' })
    gateway.frame(1, { seq: 1, topic: 'a/b', text: 'seen' })
    gateway.frame(1, { seq: 2, topic: 'a/b', text: 'acked', headers: { 'request-id': '7' } })
    const records = await gateway.settled()
    t.match(
      records.filter(([name]) => name !== 'ACK'),
      [
        ['ATTACHED', 1, { epoch: 3 }],
        ['FRAME', 1, 0, 'a/b', 'once'],
        ['FRAME', 1, 5, 'a/b', 'acked'],
      ],
    )
    t.same(records.at(-1), ['ACK', 1, 2])
    gateway.attach(2, { session: 's', epoch: 3 })
    t.match(await gateway.settled(), [['REFUSED', 2, { epoch: 3, code: 'stale_epoch' }]])
    t.ok((await coordinator.next('worker_heartbeat')).lagMs >= 0)
    gateway.control(LinkKind.DETACH, 1, { epoch: 3 })
    t.match(await gateway.settled(), [['DETACHED', 1, { epoch: 3, acked: 2, sent: 5 }]])
    gateway.close()
  },
)
