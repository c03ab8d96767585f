import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import t from 'tap'
import { CliError } from '../../../agents/cli/cli-error.js'
import {
  chooseFreePort,
  isLoopback,
  requireAuthBeyondLoopback,
  requireFreePorts,
} from '../../../agents/cli/listen-guard.js'

t.test('loopback is what only this machine reaches', async (t) => {
  for (const host of ['127.0.0.1', '127.1.2.3', 'localhost', '::1']) t.ok(isLoopback(host), host)
  for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.evil.example', 'example.com'])
    t.notOk(isLoopback(host), host)
})

t.test('beyond loopback a token or --insecure is needed', async (t) => {
  const check = (flags: { host: string; token?: string; insecure: boolean }) => () =>
    requireAuthBeyondLoopback('gateway', flags)
  t.throws(check({ host: '0.0.0.0', insecure: false }), {
    message: /gateway would listen on 0\.0\.0\.0 \(--host\)/,
  } as never)
  t.doesNotThrow(check({ host: '0.0.0.0', insecure: true }))
  t.doesNotThrow(check({ host: '0.0.0.0', token: 'x', insecure: false }))
  t.doesNotThrow(check({ host: '127.0.0.1', insecure: false }))
})

t.test('all taken ports are named at once, those wanted twice too, and 0 is always free', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const { port } = taken.address() as AddressInfo
  const free = await chooseFreePort('127.0.0.1', Math.random)
  const use = (who: string, port: number) => ({ who, port, flag: `--${who}` })
  await requireFreePorts('127.0.0.1', [use('a', 0), use('b', 0), use('c', free)])
  const failed = await requireFreePorts('127.0.0.1', [use('a', port), use('b', free), use('c', free)]).catch(
    (error) => error,
  )
  t.ok(failed instanceof CliError)
  t.same(failed.message.split('\n'), [
    `port ${port} for a is taken: choose another with --a`,
    `port ${free} for c is wanted twice: choose another with --c`,
  ])
})

t.test('a chosen port is free, and a taken one is passed over', async (t) => {
  const first = await chooseFreePort('127.0.0.1', () => 0.5)
  const taken = createServer().listen(first, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const randoms = [0.5, 0.25]
  const second = await chooseFreePort('127.0.0.1', () => randoms.shift() ?? Math.random())
  t.not(second, first)
})
