import t from 'tap'
import type { FleetAddresses, FleetOptions, FleetStatus } from '../../../agents/cli/fleet.js'
import { renderAddresses, renderStatusLine, UpScreen } from '../../../agents/cli/up-screen.js'

const OPTIONS: FleetOptions = {
  ...{ gateways: 1, workers: 1, devices: 10, handler: 'echo', host: '127.0.0.1', data: '/tmp', insecure: false },
  ...{ coordinatorPort: 0, gatewayPort: 0, mqttPort: 0, linkPort: 0 },
  extra: { coordinator: [], gateway: [], worker: [], device: [] },
}
const ADDRESSES: FleetAddresses = {
  coordinator: 'http://127.0.0.1:7000',
  coordinatorPid: 1,
  gateways: [
    {
      id: 'gateway-1',
      pid: 2,
      http: 'http://127.0.0.1:8080',
      ws: 'ws://127.0.0.1:8080/v1/connect',
      mqtt: 'mqtt://127.0.0.1:1883',
    },
  ],
  workers: [{ id: 'worker-1', pid: 3, pool: 'default', link: 'tcp://127.0.0.1:9000' }],
}

function status(gateways: number[], workers: number[]): FleetStatus {
  return {
    version: 7,
    gateways: gateways.map((sessions, i) => ({ id: `g${i}`, sessions, tableVersion: 7, state: 'up' })),
    workers: workers.map((sessions, i) => ({ id: `w${i}`, pool: 'default', sessions, state: 'up' })),
  }
}

t.test('the start-up screen has every address, says who can reach it, and fits 80 columns', async (t) => {
  const text = renderAddresses(ADDRESSES, OPTIONS, 1234)
  t.match(text, /^Sluice is up \(1\.2 s; this machine only, no authentication\)/)
  for (const url of [
    'http://127.0.0.1:7000',
    'mqtt://127.0.0.1:1883',
    'ws://127.0.0.1:8080/mqtt',
    'tcp://127.0.0.1:9000',
  ]) {
    t.ok(text.includes(url), url)
  }
  t.ok(text.split('\n').every((line) => line.length <= 80))
  t.match(renderAddresses(ADDRESSES, { ...OPTIONS, host: '0.0.0.0', insecure: true }, 1), /NO AUTHENTICATION/)
  t.match(renderAddresses(ADDRESSES, { ...OPTIONS, token: 'x' }, 1), /token required/)
})

t.test('the live line shows sessions per gateway and worker, and shortens many to their spread', async (t) => {
  t.equal(
    renderStatusLine(status([20, 20], [13, 13, 14]), 1234, 100),
    '40 devices   gateways 20+20   workers 13+13+14   1.2 k msg/s   table 7',
  )
  t.match(
    renderStatusLine(
      status(
        [9],
        Array.from({ length: 20 }, (_, i) => i),
      ),
      undefined,
      100,
    ),
    /workers 20 x 0 to 19 {3}table 7$/,
  )
  t.equal(renderStatusLine(status([20, 20], [40]), 80, 20).length, 20)
})

t.test('lines scroll above the live line on a terminal', async (t) => {
  let out = ''
  const screen = new UpScreen({ isTTY: true, columns: 80, write: (text) => (out += text) }, true)
  screen.status('live 1')
  screen.print('something happened')
  screen.end()
  t.equal(out, 'live 1\r\u001b[2Ksomething happened\nlive 1\r\u001b[2K')
})

t.test('a pipe gets no live line', async (t) => {
  let out = ''
  const screen = new UpScreen({ write: (text) => (out += text) }, true)
  screen.status('live 1')
  screen.print('a line')
  screen.end()
  t.equal(out, 'a line\n')
  t.equal(screen.live, false)
})
